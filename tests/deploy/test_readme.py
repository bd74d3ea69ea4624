"""The commands and manifests in deploy/README.md, run as they are written there."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from broker.inject.sidecar_request import KEYS
from broker.manifests.pod_templates import KINDS
from tests.deploy.rendering import DEPLOY, KUBECTL, kustomize, needs_kubectl
from tests.deploy.test_component import README, make_bare_pod, make_workload

if TYPE_CHECKING:
    from tests.deploy.api_server import ApiServer


def find_blocks(heading: str, language: str) -> list[str]:
    """Return the code blocks of a section."""
    section = README.split(f"## {heading}\n")[1].split("\n## ")[0]
    return re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)


def test_inject_commands_work_as_written(tmp_path: Path) -> None:
    shutil.copytree(DEPLOY / "examples", tmp_path / "examples")
    (block,) = find_blocks("sts-broker inject", "sh")
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    done = subprocess.run(
        ["bash", "-ec", block],
        cwd=tmp_path,
        env={"PATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    first = (tmp_path / "with.yaml").read_text()
    original = iter((DEPLOY / "examples/self-managed/app.yaml").read_text().splitlines())
    lines = iter(first.splitlines())
    assert all(line in lines for line in original), "every line is kept, in order"
    assert done.stdout.startswith(first)
    jobs = [each for each in yaml.safe_load_all(done.stdout) if each["kind"] == "Job"]
    assert [each["spec"]["template"]["spec"]["initContainers"][0]["name"] for each in jobs] == ["sts-broker"]


def test_readme_names_every_kind_and_annotation() -> None:
    section = README.split("## sts-broker inject\n")[1].split("\n## ")[0]
    listed = re.search(r"It knows (.*?), and any List", section, re.DOTALL)
    assert listed is not None
    assert tuple(re.split(r",\s+", listed[1])) == KINDS
    assert set(re.findall(r"`sts-broker/([a-z-]+)`", section)) == {key.replace("_", "-") for key in KEYS}


class TestAdmission:
    """The section "Admission policies"."""

    @pytest.fixture
    def server(self, tmp_path: Path) -> ApiServer:
        api_server = pytest.importorskip("tests.deploy.api_server")
        for name in ("admission", "admission-v1beta1"):
            shutil.copytree(DEPLOY / name, tmp_path / name)
        root = tmp_path / "a" / "b"
        root.mkdir(parents=True)
        (block,) = find_blocks("Admission policies", "yaml")
        (root / "kustomization.yaml").write_text(block)
        result: ApiServer = api_server.ApiServer(documents=kustomize(root))
        return result

    @needs_kubectl
    def test_patched_deployment_gets_the_image_and_no_group(self, server: ApiServer, tmp_path: Path) -> None:
        (block,) = find_blocks("Admission policies", "sh")
        (patch,) = re.findall(r"-p '(.*?)'", block, re.DOTALL)
        (tmp_path / "api.json").write_text(json.dumps(make_workload("Deployment", make_bare_pod())))
        command = [KUBECTL, "patch", "--local", "-f", str(tmp_path / "api.json"), "-p", patch, "-o", "json"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        template = json.loads(done.stdout)["spec"]["template"]
        labels = dict([re.findall(r"kubectl label namespace \S+ (\S+)=(\S+)", block)[0]])
        created = server.create({"apiVersion": "v1", "kind": "Pod", **template}, labels=labels)["spec"]
        assert created["initContainers"][0]["image"] == "registry.example/sts-federation-broker:0.1.0"
        assert "fsGroup" not in created.get("securityContext", {})
