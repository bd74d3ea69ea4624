"""The image, built twice for all of these tests, and a pod of containers for each; skipped where they cannot be."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from sandbox import Sandbox
from tests.image.container_pod import ContainerPod
from tests.support.broker_image import REPOSITORY, build, copy_tree, make_base
from tests.support.containers import Containers, NoContainers, containers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """Two builds of one tree, and where the first one's files are."""

    image: str
    again: str
    files: Path


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let one worker run all that needs the image, so that it is built for one."""
    for item in items:
        if isinstance(item, pytest.Function) and "tools" in item.fixturenames:
            item.add_marker(pytest.mark.xdist_group("image"))


@pytest.fixture(scope="session")
def tools() -> Iterator[Containers]:
    try:
        with containers(in_memory=True) as tools:
            make_base(tools)
            yield tools
    except NoContainers as error:
        pytest.skip(f"THE IMAGE IS NOT TESTED: {error}")


@pytest.fixture(scope="session")
def built(tools: Containers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    """Build from two copies of the tree as it is now, in unlike places, of unlike age."""
    tree = copy_tree(REPOSITORY, tmp_path_factory.mktemp("tree"))
    elsewhere = copy_tree(tree, tmp_path_factory.mktemp("elsewhere") / "another")
    for path in elsewhere.rglob("*"):
        os.utime(path, (0, 0))
    try:
        image, again = build(tools, "image", tree), build(tools, "again", elsewhere)
    except NoContainers as error:
        pytest.skip(f"THE IMAGE IS NOT TESTED: {error}")
    with tools.files_of(image) as files:
        yield Built(image=image, again=again, files=files)


@pytest.fixture(scope="session")
def shared_box() -> Iterator[Sandbox]:
    with Sandbox(issuer="https://oidc.image.example/cluster") as box:
        yield box


@pytest.fixture
def box(shared_box: Sandbox) -> Sandbox:
    shared_box.sts.clear_faults()
    shared_box.sts.clear_calls()
    return shared_box


@pytest.fixture
def pod(tools: Containers, built: Built, box: Sandbox, tmp_path: Path) -> Iterator[ContainerPod]:
    """Make a pod on the machine's own network, where the sandbox is."""
    token = box.projected_token(tmp_path / "volume")
    pod = ContainerPod(
        tools=tools,
        image=built.image,
        root=tmp_path,
        token_directory=token.directory,
        settings=box.environment(token),
    )
    yield pod
    pod.close()
