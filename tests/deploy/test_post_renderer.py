"""The post-renderer adds the sidecar to what a chart renders. Helm runs it as a program or as a plugin."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.deploy.rendering import DEPLOY, Document, find_template

helm = pytest.importorskip("helm_python", reason="SKIPPED: helm-python-sdk is not available for this platform")

PLUGIN = DEPLOY / "charts/post-renderer"
ROLE = ("--role-arn=arn:aws:iam::123456789012:role/app", "--region=eu-west-1")
FILE_ANNOTATION = "postrenderer.helm.sh/postrender-filename"
"""Helm 4 adds it before the post-renderer, to find the file that an object is from, and removes it after."""


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Render the chart that `helm create` makes, in the form in which Helm passes it to a post-renderer."""
    with helm.Chart.create("app", tmp_path_factory.mktemp("charts")) as chart:
        files = chart.render(name="web", namespace="shop")
    return "".join(
        f"---\n# Source: {name}\n{text.strip()}\n" for name, text in sorted(files.items()) if name.endswith(".yaml")
    )


def post_render(manifests: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the post-renderer as Helm does: manifests on standard input, options as arguments."""
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    return subprocess.run(
        [PLUGIN / "inject.sh", *arguments],
        input=manifests,
        env={"PATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def read(manifests: str) -> list[Document]:
    """Return the objects."""
    return [document for document in yaml.safe_load_all(manifests) if document]


def of_kind(documents: list[Document], kind: str) -> Document:
    """Return the only object of a kind."""
    (document,) = (each for each in documents if each["kind"] == kind)
    return document


def test_rendered_deployment_gets_the_sidecar(rendered: str) -> None:
    done = post_render(rendered, *ROLE, "--image=registry.example/platform/sts-federation-broker:0.1.0")
    assert done.returncode == 0, done.stderr
    spec = find_template(of_kind(read(done.stdout), "Deployment"))["spec"]
    assert [each["image"] for each in spec["initContainers"]] == [
        "registry.example/platform/sts-federation-broker:0.1.0"
    ]
    assert "AWS_CONTAINER_CREDENTIALS_FULL_URI" in {each["name"] for each in spec["containers"][0]["env"]}


def test_other_objects_stay_as_they_are(rendered: str) -> None:
    before, after = read(rendered), read(post_render(rendered, *ROLE).stdout)
    assert len(before) == len(after)
    for kind in ("Service", "ServiceAccount"):
        assert of_kind(before, kind) == of_kind(after, kind)


def test_second_run_changes_nothing(rendered: str) -> None:
    once = post_render(rendered, *ROLE).stdout
    assert post_render(once, *ROLE).stdout == once


def test_chart_without_annotations_and_arguments_stays_unchanged(rendered: str) -> None:
    done = post_render(rendered)
    assert (done.returncode, done.stdout) == (0, rendered)


def test_annotation_of_helm_4_is_kept(rendered: str) -> None:
    documents = read(rendered)
    for document in documents:
        document["metadata"].setdefault("annotations", {})[FILE_ANNOTATION] = "app/templates/x.yaml"
    done = post_render(yaml.safe_dump_all(documents), *ROLE)
    assert done.returncode == 0, done.stderr
    assert {each["metadata"]["annotations"][FILE_ANNOTATION] for each in read(done.stdout)} == {"app/templates/x.yaml"}


def test_commands_of_the_readme_add_the_sidecar_of_the_registry(rendered: str) -> None:
    section = (DEPLOY / "README.md").read_text().split("\n## Charts of apps\n")[1].split("\n## ")[0]
    commands = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    programs = [re.findall(r"--post-renderer (\S+)", command)[0] for command in commands]
    assert programs == ["deploy/charts/post-renderer/inject.sh", "sts-broker-inject"]
    for command in commands:
        done = post_render(rendered, *re.findall(r"--post-renderer-args=(\S+)", command))
        assert done.returncode == 0, done.stderr
        assert "image: registry.example/platform/sts-federation-broker:0.1.0\n" in done.stdout


def test_fault_stops_helm(rendered: str) -> None:
    done = post_render(rendered, "--role-arn=app", "--region=eu-west-1")
    assert (done.returncode, done.stdout) == (2, "")
    assert "role" in done.stderr


def test_plugin_runs_the_same_script() -> None:
    """The fields of a subprocess plugin. Source: https://helm.sh/docs/plugins/migrate."""
    plugin = yaml.safe_load((PLUGIN / "plugin.yaml").read_text())
    assert plugin.keys() == {"apiVersion", "type", "name", "version", "runtime", "runtimeConfig"}
    assert (plugin["apiVersion"], plugin["type"], plugin["runtime"]) == ("v1", "postrenderer/v1", "subprocess")
    (command,) = plugin["runtimeConfig"]["platformCommand"]
    script = PLUGIN / command["command"].removeprefix("${HELM_PLUGIN_DIR}/")
    assert os.access(script, os.X_OK)
    assert f"--post-renderer {plugin['name']} " in (DEPLOY / "README.md").read_text()
