"""The image has one name in the whole repository. For each delivery, one setting adds the registry to it.

A name without a registry makes nodes pull from the default registry of their runtime, where the image does not exist.
"""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from broker.core.images import OPERATOR_IMAGE, SIDECAR_IMAGE
from broker.inject.injection import run
from broker.inject.sidecar_request import Request
from tests.deploy.rendering import DEPLOY, EXAMPLES, Document, Pod, Rendered, kustomize, needs_kubectl

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = DEPLOY.parent
REGISTRY = "registry.example/platform"
NAME = SIDECAR_IMAGE.partition(":")[0]
TAGGED = re.compile(rf"{NAME}(?:-operator)?:[0-9][\w.-]*")
NAMED_IN = {
    "README.md",
    "deploy/README.md",
    "deploy/admission/injection.yaml",
    "deploy/charts/sts-broker-platform/files/injection.yaml",  # a copy, which a test compares
    "deploy/component/cronjob.yaml",
    "deploy/component/pod-template.yaml",
    "deploy/examples/before-native-sidecars/two-containers.yaml",
}
"""The files that name the image with its tag. A release changes these."""
WITHOUT_SIDECAR = {"exec", "network-policy"}
"""Examples without a container of the broker's own."""


def read_sources() -> Iterator[tuple[str, str]]:
    """Yield the path and the text of each file that users or the build read."""
    for directory in ("broker", "deploy", "docs", "image", "terraform", ".github"):
        for path in (ROOT / directory).rglob("*"):
            if path.suffix in {".py", ".yaml", ".yml", ".md", ".json", ".tf", ".txt", ".sh", ".tpl"}:
                yield str(path.relative_to(ROOT)), path.read_text()
    for name in ("README.md", "Makefile", "Dockerfile", "CONTRIBUTING.md"):
        yield name, (ROOT / name).read_text()


def test_image_is_named_with_its_tag_in_the_listed_files_only() -> None:
    found = {path: TAGGED.findall(text) for path, text in read_sources()}
    assert {path for path, names in found.items() if names} == NAMED_IN
    assert {name for names in found.values() for name in names} == {SIDECAR_IMAGE}


def test_no_container_of_the_broker_has_another_spelling() -> None:
    images = {
        match
        for path, text in read_sources()
        if path.endswith((".yaml", ".md"))
        for match in re.findall(r"image: *[\"']?([\w./:-]*broker[\w./:-]*)", text)
    }
    assert images == {SIDECAR_IMAGE}


def test_makefile_builds_both_images_under_their_names() -> None:
    text = (ROOT / "Makefile").read_text()
    built = re.findall(r"\$\(PREFIX\)(\S+?):\$\(VERSION\)", text)
    assert set(built) == {SIDECAR_IMAGE.partition(":")[0], OPERATOR_IMAGE.partition(":")[0]}


def find_broker_images(documents: list[Document]) -> set[str]:
    """Return the images of the broker's containers in rendered workloads."""
    rendered = Rendered(documents=tuple(documents))
    pods: list[Pod] = rendered.pods
    return {each["image"] for pod in pods for each in pod.containers if each["name"].startswith("sts-broker")}


@needs_kubectl
@pytest.mark.parametrize("name", sorted({*EXAMPLES} - WITHOUT_SIDECAR))
def test_images_entry_of_a_kustomization_sets_every_image(name: str, tmp_path: Path) -> None:
    example = Path("../" * len(tmp_path.parts[1:]), *DEPLOY.parts[1:], "examples", name)
    images = [{"name": NAME, "newName": f"{REGISTRY}/{NAME}"}]
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump({"resources": [str(example)], "images": images}))
    assert find_broker_images(kustomize(tmp_path)) == {f"{REGISTRY}/{SIDECAR_IMAGE}"}


def test_image_option_of_inject_sets_every_image() -> None:
    output = io.BytesIO()
    options = {"role_arn": "arn:aws:iam::123456789012:role/app", "region": "eu-west-1"}
    request = Request(options=options, image=f"{REGISTRY}/{SIDECAR_IMAGE}")
    run([str(DEPLOY / "examples/job/app.yaml")], request, check=False, stdin=io.BytesIO(), output=output)
    assert find_broker_images(list(yaml.safe_load_all(output.getvalue()))) == {f"{REGISTRY}/{SIDECAR_IMAGE}"}


def test_readme_names_the_setting_of_each_delivery() -> None:
    section = (DEPLOY / "README.md").read_text().split("\n## Name the image\n")[1].split("\n## ")[0]
    for setting in ("`images`", "`--image`", "`image`", "`image.registry`"):
        assert setting in section
