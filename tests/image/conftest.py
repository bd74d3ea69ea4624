"""Fixtures: the two images, built once for all tests, and a pod of containers for each test.

The sidecar's image is built twice, to compare the builds. Where images cannot be built, the tests are skipped.
"""

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
    """The images of one tree, and their mounted files. `again` is a second build of the sidecar's image."""

    sidecar: str
    again: str
    operator: str
    sidecar_files: Path
    operator_files: Path


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run all tests that need an image on one worker, so that the images are built once."""
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
        pytest.skip(f"THE IMAGES ARE NOT TESTED: {error}")


@pytest.fixture(scope="session")
def built(tools: Containers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    """Build from two copies of the current tree, in different directories and with different file times."""
    tree = copy_tree(REPOSITORY, tmp_path_factory.mktemp("tree"))
    elsewhere = copy_tree(tree, tmp_path_factory.mktemp("elsewhere") / "another")
    for path in elsewhere.rglob("*"):
        os.utime(path, (0, 0))
    try:
        sidecar = build(tools, "first", tree, target="sidecar")
        again = build(tools, "again", elsewhere, target="sidecar")
        operator = build(tools, "first", tree, target="operator")
    except NoContainers as error:
        pytest.skip(f"THE IMAGES ARE NOT TESTED: {error}")
    with tools.files_of(sidecar) as sidecar_files, tools.files_of(operator) as operator_files:
        yield Built(
            sidecar=sidecar,
            again=again,
            operator=operator,
            sidecar_files=sidecar_files,
            operator_files=operator_files,
        )


@pytest.fixture(scope="session")
def shared_simulator() -> Iterator[Sandbox]:
    with Sandbox(issuer="https://oidc.image.example/cluster") as simulator:
        yield simulator


@pytest.fixture
def simulator(shared_simulator: Sandbox) -> Sandbox:
    shared_simulator.sts.clear_faults()
    shared_simulator.sts.clear_calls()
    return shared_simulator


@pytest.fixture
def pod(tools: Containers, built: Built, simulator: Sandbox, tmp_path: Path) -> Iterator[ContainerPod]:
    """Create a pod on the machine's own network, where the simulator listens."""
    token = simulator.projected_token(tmp_path / "volume")
    pod = ContainerPod(
        tools=tools,
        image=built.sidecar,
        root=tmp_path,
        token_directory=token.directory,
        settings=simulator.environment(token),
    )
    yield pod
    pod.close()
