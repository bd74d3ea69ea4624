"""Render kustomizations with the real kubectl, and find parts of the output."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"
EXAMPLES = sorted(path.name for path in (DEPLOY / "examples").iterdir() if path.is_dir())
KUBECTL = shutil.which("kubectl") or ""
WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob")

needs_kubectl = pytest.mark.skipif(not KUBECTL, reason="SKIPPED: kubectl is not installed")

Document = dict[str, Any]


def kustomize(directory: Path) -> list[Document]:
    """Return the documents that `kubectl kustomize` prints for a directory. Fails the test on any error or warning."""
    done = subprocess.run(
        [KUBECTL, "kustomize", str(directory)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr, "kustomize warns of deprecated fields"
    return list(yaml.safe_load_all(done.stdout))


@cache
def _render_example(name: str) -> Rendered:
    return Rendered(documents=tuple(kustomize(DEPLOY / "examples" / name)))


def example(name: str) -> Rendered:
    """Return a rendered example. Each test worker renders it once."""
    return _render_example(name)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rendered:
    """All documents of a kustomization."""

    documents: tuple[Document, ...]

    def of_kind(self, *kinds: str) -> list[Document]:
        """Return the documents of these kinds."""
        return [document for document in self.documents if document["kind"] in kinds]

    @property
    def pods(self) -> list[Pod]:
        """The pods of all workloads."""
        return [Pod(rendered=self, template=find_template(document)) for document in self.of_kind(*WORKLOADS)]

    @property
    def pod(self) -> Pod:
        """The pod of the only workload."""
        (pod,) = self.pods
        return pod

    def config_map(self, name: str) -> dict[str, str]:
        """Return the data of a ConfigMap."""
        (data,) = (each["data"] for each in self.of_kind("ConfigMap") if each["metadata"]["name"] == name)
        return dict(data)


def find_template(workload: Document) -> Document:
    """Return the pod template of a workload."""
    spec = workload["spec"]["jobTemplate"]["spec"] if workload["kind"] == "CronJob" else workload["spec"]
    template: Document = spec["template"]
    return template


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pod:
    """The pod of one workload."""

    rendered: Rendered
    template: Document

    @property
    def spec(self) -> Document:
        """The pod's spec."""
        spec: Document = self.template["spec"]
        return spec

    @property
    def containers(self) -> list[Document]:
        """All containers, in the order in which the kubelet starts them."""
        return [*self.spec.get("initContainers", ()), *self.spec["containers"]]

    @property
    def brokers(self) -> list[Document]:
        """The containers that run the broker, as a sidecar or around the app."""
        exec_command = ["sts-broker", "exec"]
        return [
            each
            for each in self.containers
            if each["image"].startswith("sts-federation-broker:") or each.get("command", [])[:2] == exec_command
        ]

    @property
    def app(self) -> Document:
        """The first container, which is the app to the component."""
        app: Document = self.spec["containers"][0]
        return app

    @property
    def volumes(self) -> dict[str, Document]:
        """The volumes, by name."""
        return {volume["name"]: volume for volume in self.spec["volumes"]}

    def environment(self, container: Document) -> dict[str, str]:
        """Return the environment as the kubelet builds it: `env` takes precedence over `envFrom`."""
        values: dict[str, str] = {}
        for source in container.get("envFrom", ()):
            values |= self.rendered.config_map(source["configMapRef"]["name"])
        for variable in container.get("env", ()):
            if "value" in variable:
                values[variable["name"]] = variable["value"]
            else:
                key = variable["valueFrom"]["configMapKeyRef"]
                values[variable["name"]] = self.rendered.config_map(key["name"])[key["key"]]
        return values


def mounts(container: Document) -> dict[str, Document]:
    """Return the mounts of a container, by the name of the volume."""
    return {mount["name"]: mount for mount in container.get("volumeMounts", ())}
