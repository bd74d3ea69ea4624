"""The component in another kustomization, and the statements of deploy/README.md about it."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING, Any

import kubernetes_validate
import pytest
import yaml

from broker.settings.variables import ENVIRONMENT
from tests.deploy.rendering import DEPLOY, EXAMPLES, WORKLOADS, Rendered, example, kustomize, mounts, needs_kubectl
from tests.docs.anchors import anchors

if TYPE_CHECKING:
    from pathlib import Path

README = (DEPLOY / "README.md").read_text()
LABELS = {"app": "x"}
NAMES = {
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
}


def make_workload(kind: str, pod: dict[str, Any]) -> dict[str, Any]:
    """Return a valid workload of this kind with this pod."""
    template = {"metadata": {"labels": LABELS}, "spec": pod}
    spec: dict[str, Any] = {"template": template}
    if kind in {"Job", "CronJob"}:
        pod["restartPolicy"] = "OnFailure"
    else:
        spec["selector"] = {"matchLabels": LABELS}
    if kind == "StatefulSet":
        spec["serviceName"] = "x"
    if kind == "CronJob":
        spec = {"schedule": "0 0 * * *", "jobTemplate": {"spec": spec}}
    version = "batch/v1" if kind in {"Job", "CronJob"} else "apps/v1"
    return {"apiVersion": version, "kind": kind, "metadata": {"name": f"x-{kind.lower()}"}, "spec": spec}


def render(directory: Path, *workloads: dict[str, Any], **more: Any) -> Rendered:  # noqa: ANN401 - any kustomize field
    """Return these workloads with the component, added through the three lines of the README."""
    shutil.copytree(DEPLOY / "component", directory / "component")
    root = directory / "a" / "b"
    root.mkdir(parents=True)
    (root / "app.yaml").write_text(yaml.safe_dump_all(workloads))
    lines, *_ = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    (root / "kustomization.yaml").write_text(
        yaml.safe_dump({"resources": ["app.yaml"], **yaml.safe_load(lines), **more})
    )
    return Rendered(documents=tuple(kustomize(root)))


def make_bare_pod() -> dict[str, Any]:
    return {"containers": [{"name": "x", "image": "x"}]}


def make_busy_pod() -> dict[str, Any]:
    """Return a pod that has every field to which the component adds."""
    return {
        "securityContext": {"fsGroup": 1000, "runAsUser": 1000},
        "initContainers": [{"name": "migrate", "image": "m"}],
        "containers": [
            {
                "name": "x",
                "image": "x",
                "env": [{"name": "OWN", "value": "1"}, {"name": "AWS_REGION", "value": "us-east-1"}],
                "volumeMounts": [{"name": "data", "mountPath": "/data"}],
            },
            {"name": "second", "image": "y"},
        ],
        "volumes": [{"name": "data", "emptyDir": {}}],
    }


@needs_kubectl
@pytest.mark.parametrize("kind", WORKLOADS)
def test_every_kind_gets_the_same_pod(kind: str, tmp_path: Path) -> None:
    rendered = render(tmp_path, make_workload(kind, make_bare_pod()))
    for document in rendered.documents:
        kubernetes_validate.validate(document, "1.29", strict=True)
    spec = {key: value for key, value in rendered.pod.spec.items() if key != "restartPolicy"}
    expected = dict(example("self-managed").pod.spec)
    del expected["serviceAccountName"]
    assert spec.pop("containers")[0].keys() == {"name", "image", "env", "volumeMounts"}
    expected.pop("containers")
    assert spec == expected
    assert {variable["name"] for variable in rendered.pod.app["env"]} == NAMES


@needs_kubectl
@pytest.mark.parametrize("kind", WORKLOADS)
def test_existing_fields_of_the_pod_are_kept(kind: str, tmp_path: Path) -> None:
    pod = render(tmp_path, make_workload(kind, make_busy_pod())).pod
    assert [container["name"] for container in pod.containers] == ["sts-broker", "migrate", "x", "second"]
    assert pod.volumes.keys() == {"sts-broker-credentials", "sts-broker-token", "data"}
    assert pod.spec["securityContext"] == {"fsGroup": 65532, "runAsUser": 1000}
    assert mounts(pod.app).keys() == {"sts-broker-credentials", "data"}
    assert pod.environment(pod.app)["OWN"] == "1"
    assert pod.spec["containers"][1] == {"name": "second", "image": "y"}
    assert pod.spec["initContainers"][1] == {"name": "migrate", "image": "m"}


@needs_kubectl
def test_region_of_the_app_is_replaced_by_that_of_the_broker(tmp_path: Path) -> None:
    pod = render(tmp_path, make_workload("Deployment", make_busy_pod())).pod
    (region,) = (variable for variable in pod.app["env"] if variable["name"] == "AWS_REGION")
    assert region.keys() == {"name", "valueFrom"}
    assert pod.environment(pod.app)["AWS_REGION"] == pod.environment(pod.brokers[0])["AWS_REGION"] == "eu-west-1"


@needs_kubectl
def test_every_workload_gets_the_prefix_and_registry_of_the_kustomization(tmp_path: Path) -> None:
    images = [{"name": "sts-federation-broker", "newName": "registry.example/sts-federation-broker"}]
    rendered = render(
        tmp_path, *(make_workload(kind, make_bare_pod()) for kind in WORKLOADS), namePrefix="p-", images=images
    )
    assert len(rendered.pods) == len(WORKLOADS)
    for pod in rendered.pods:
        broker = pod.spec["initContainers"][0]
        assert broker["image"].startswith("registry.example/sts-federation-broker:")
        assert broker["envFrom"][0]["configMapRef"]["name"].startswith("p-sts-federation-broker-")
        assert pod.environment(pod.app).keys() == NAMES


@needs_kubectl
@pytest.mark.parametrize(("more", "is_found"), [({}, False), ({"namespace": "payments"}, True)])
def test_workload_with_a_namespace_needs_it_in_the_kustomization(
    more: dict[str, str], is_found: bool, tmp_path: Path
) -> None:
    """Otherwise kustomize does not connect them, and the ConfigMap's name in the pod lacks the hash."""
    namespaced = make_workload("Deployment", make_bare_pod())
    namespaced["metadata"]["namespace"] = "payments"
    rendered = render(tmp_path, namespaced, **more)
    (made,) = (each["metadata"] for each in rendered.of_kind("ConfigMap"))
    asked = rendered.pod.brokers[0]["envFrom"][0]["configMapRef"]["name"]
    assert (made["name"] == asked and made.get("namespace") == "payments") == is_found


@needs_kubectl
def test_patch_of_the_kustomization_can_restore_the_group(tmp_path: Path) -> None:
    back = {"op": "replace", "path": "/spec/template/spec/securityContext/fsGroup", "value": 1000}
    patches = [{"target": {"kind": "Deployment"}, "patch": yaml.safe_dump([back])}]
    pod = render(tmp_path, make_workload("Deployment", make_busy_pod()), patches=patches).pod
    assert pod.spec["securityContext"]["fsGroup"] == 1000


@needs_kubectl
def test_changed_setting_replaces_the_pods(tmp_path: Path) -> None:
    names = set()
    for region in ("eu-west-1", "eu-north-1"):
        directory = tmp_path / region
        literals = ["AWS_ROLE_ARN=arn:aws:iam::123456789012:role/app", f"AWS_REGION={region}"]
        generator = [{"name": "sts-federation-broker", "literals": literals}]
        pod = render(directory, make_workload("Deployment", make_bare_pod()), configMapGenerator=generator).pod
        names.add(pod.brokers[0]["envFrom"][0]["configMapRef"]["name"])
    assert len(names) == 2


def test_cronjob_patch_is_the_pod_template_one_level_deeper() -> None:
    template = yaml.safe_load((DEPLOY / "component/pod-template.yaml").read_text())["spec"]
    cronjob = yaml.safe_load((DEPLOY / "component/cronjob.yaml").read_text())["spec"]
    assert cronjob == {"jobTemplate": {"spec": template}}


def test_lines_of_the_readme_are_in_the_shortest_example() -> None:
    block, *_ = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    assert len(block.splitlines()) == 3
    written = yaml.safe_load((DEPLOY / "examples/self-managed/kustomization.yaml").read_text())
    assert yaml.safe_load(block).items() <= written.items()
    assert written.keys() == {"apiVersion", "kind", "resources", "components", "configMapGenerator"}


def test_readme_lists_every_example() -> None:
    assert sorted(re.findall(r"^\| \[([a-z-]+)\]\(examples/\1/\) \|", README, re.MULTILINE)) == EXAMPLES


def test_links_of_the_readme_have_targets() -> None:
    for target in re.findall(r"\]\(([^)]+)\)", README):
        path, _, anchor = target.partition("#")
        page = DEPLOY / (path or "README.md")
        assert page.exists(), target
        if anchor:
            assert anchor in anchors(page.read_text()), target


@pytest.mark.parametrize("name", EXAMPLES)
def test_literals_of_the_examples_are_settings(name: str) -> None:
    written = yaml.safe_load((DEPLOY / "examples" / name / "kustomization.yaml").read_text())
    known = {variable.name for variable in ENVIRONMENT} | {"BROKER_CONFIG"}
    for generator in written.get("configMapGenerator", ()):
        for literal in generator.get("literals", ()):
            assert literal.partition("=")[0] in known


def test_only_invented_accounts_are_named() -> None:
    for path in DEPLOY.rglob("*"):
        if path.is_file():
            text = path.read_text()
            assert set(re.findall(r"arn:aws:iam::(\d+)", text)) <= {"123456789012", "210987654321"}
            assert not re.search(r"/(?:root|home|work)/", text)
