"""The component in another kustomization, and the statements of deploy/README.md about it."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import kubernetes_validate
import pytest
import yaml

from broker.settings.variables import ENVIRONMENT
from tests.deploy.rendering import (
    DEPLOY,
    EXAMPLES,
    KUBECTL,
    WORKLOADS,
    Rendered,
    example,
    kustomize,
    mounts,
    needs_kubectl,
)
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
    return Rendered(documents=tuple(kustomize(write_kustomization(directory, *workloads, **more))))


def render_error(directory: Path, *workloads: dict[str, Any], **more: Any) -> str:  # noqa: ANN401 - likewise
    """Return the error with which kustomize refuses these workloads with the component."""
    root = write_kustomization(directory, *workloads, **more)
    done = subprocess.run([KUBECTL, "kustomize", str(root)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    return done.stderr


def write_kustomization(directory: Path, *workloads: dict[str, Any], **more: Any) -> Path:  # noqa: ANN401 - likewise
    """Write these workloads with the component. Return the directory of their kustomization."""
    shutil.copytree(DEPLOY / "component", directory / "component")
    root = directory / "a" / "b"
    root.mkdir(parents=True)
    (root / "app.yaml").write_text(yaml.safe_dump_all(workloads))
    lines, *_ = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    (root / "kustomization.yaml").write_text(
        yaml.safe_dump({"resources": ["app.yaml"], **yaml.safe_load(lines), **more})
    )
    return root


def make_bare_pod() -> dict[str, Any]:
    return {"containers": [{"name": "x", "image": "x"}]}


def make_busy_pod() -> dict[str, Any]:
    """Return a pod that has every field to which the component adds."""
    return {
        "securityContext": {"fsGroupChangePolicy": "OnRootMismatch", "runAsUser": 1000},
        "initContainers": [{"name": "migrate", "image": "m"}],
        "containers": [
            {
                "name": "x",
                "image": "x",
                "env": [{"name": "OWN", "value": "1"}],
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
    assert spec.pop("containers")[0].keys() == {"name", "image", "env", "envFrom", "volumeMounts"}
    expected.pop("containers")
    assert spec == expected
    assert rendered.pod.environment(rendered.pod.app).keys() == NAMES


@needs_kubectl
@pytest.mark.parametrize("kind", WORKLOADS)
def test_existing_fields_of_the_pod_are_kept(kind: str, tmp_path: Path) -> None:
    pod = render(tmp_path, make_workload(kind, make_busy_pod())).pod
    assert [container["name"] for container in pod.containers] == ["sts-broker", "migrate", "x", "second"]
    assert pod.volumes.keys() == {"sts-broker-credentials", "sts-broker-token", "sts-broker-no-api-token", "data"}
    assert pod.spec["securityContext"] == {"fsGroup": 65532, "fsGroupChangePolicy": "OnRootMismatch", "runAsUser": 1000}
    assert mounts(pod.app).keys() == {"sts-broker-credentials", "data"}
    assert pod.environment(pod.app)["OWN"] == "1"
    assert pod.spec["containers"][1] == {"name": "second", "image": "y"}
    assert pod.spec["initContainers"][1] == {"name": "migrate", "image": "m"}


@needs_kubectl
@pytest.mark.parametrize("kind", WORKLOADS)
def test_app_gets_the_region_of_the_broker_under_both_names(kind: str, tmp_path: Path) -> None:
    pod = render(tmp_path, make_workload(kind, make_busy_pod())).pod
    environment = pod.environment(pod.app)
    assert environment["AWS_REGION"] == environment["AWS_DEFAULT_REGION"] == "eu-west-1"
    assert pod.environment(pod.brokers[0])["AWS_REGION"] == "eu-west-1"
    assert "AWS_ROLE_ARN" not in environment, "the app gets none of the broker's settings"


@needs_kubectl
@pytest.mark.parametrize("kind", WORKLOADS)
@pytest.mark.parametrize(
    "own", [{"value": "us-east-1"}, {"valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['region']"}}}]
)
def test_region_of_the_app_takes_precedence(own: dict[str, Any], kind: str, tmp_path: Path) -> None:
    spec = make_busy_pod()
    variables = [{"name": name, **own} for name in ("AWS_REGION", "AWS_DEFAULT_REGION")]
    spec["containers"][0] |= {"env": variables, "envFrom": [{"configMapRef": {"name": "own"}}]}
    pod = render(tmp_path, make_workload(kind, spec)).pod
    assert pod.app["env"][:2] == variables
    own_source, added = pod.app["envFrom"]
    assert own_source == {"configMapRef": {"name": "own"}}
    assert pod.rendered.config_map(added["configMapRef"]["name"]).keys() == {"AWS_REGION", "AWS_DEFAULT_REGION"}


@needs_kubectl
def test_two_kustomizations_in_one_namespace_have_their_own_regions(tmp_path: Path) -> None:
    """Otherwise the one that is applied last would set the Region of both."""
    names = set()
    for region in ("eu-west-1", "eu-north-1"):
        literals = ["AWS_ROLE_ARN=arn:aws:iam::123456789012:role/app", f"AWS_REGION={region}"]
        generator = [{"name": "sts-federation-broker", "literals": literals}]
        rendered = render(tmp_path / region, make_workload("Deployment", make_bare_pod()), configMapGenerator=generator)
        names |= {each["metadata"]["name"] for each in rendered.of_kind("ConfigMap")}
    assert len(names) == 4


@needs_kubectl
@pytest.mark.parametrize("kind", WORKLOADS)
@pytest.mark.parametrize("group", [0, 1000, 65532])
def test_group_of_the_app_is_not_overwritten_in_silence(group: int, kind: str, tmp_path: Path) -> None:
    spec = {**make_bare_pod(), "securityContext": {"fsGroup": group}}
    error = render_error(tmp_path, make_workload(kind, spec))
    assert re.search(r"testing value /spec/.*/securityContext/fsGroup failed", error)
    assert "`testing value …/securityContext/fsGroup failed`" in README


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
@pytest.mark.parametrize("kind", WORKLOADS)
@pytest.mark.parametrize("more", [{}, {"namespace": "payments"}])
def test_namespace_in_the_manifest_leaves_no_reference_to_an_absent_config_map(
    more: dict[str, str], kind: str, tmp_path: Path
) -> None:
    """Otherwise kustomize does not connect them, and the ConfigMap's name in the pod lacks the hash."""
    namespaced = make_workload(kind, make_bare_pod())
    namespaced["metadata"]["namespace"] = "payments"
    assert "testing value /metadata/namespace failed" in render_error(tmp_path, namespaced, **more)
    assert "`testing value /metadata/namespace failed`" in README


@needs_kubectl
def test_namespace_of_the_kustomization_is_that_of_both_config_maps(tmp_path: Path) -> None:
    rendered = render(tmp_path, make_workload("Deployment", make_bare_pod()), namespace="payments")
    assert {each["metadata"]["namespace"] for each in rendered.documents} == {"payments"}
    asked = {
        source["configMapRef"]["name"]
        for container in (rendered.pod.app, rendered.pod.brokers[0])
        for source in container["envFrom"]
    }
    assert asked == {each["metadata"]["name"] for each in rendered.of_kind("ConfigMap")}


@needs_kubectl
@pytest.mark.parametrize("name", ["securityContext/fsGroup", "initContainers/0/resources"])
def test_patch_of_the_readme_sets_group_and_resources(name: str, tmp_path: Path) -> None:
    (patches,) = [block for block in re.findall(r"```yaml\n(.*?)```", README, re.DOTALL) if name in block]
    pod = render(tmp_path, make_workload("Deployment", make_bare_pod()), **yaml.safe_load(patches)).pod
    if name == "securityContext/fsGroup":
        assert pod.spec["securityContext"] == {"fsGroup": 1000}
    else:
        (broker,) = pod.brokers
        assert broker["resources"]["limits"] == broker["resources"]["requests"], "a Guaranteed pod stays Guaranteed"
        assert broker["resources"]["limits"].keys() == {"cpu", "memory"}


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
        if target.startswith("https://"):
            continue
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
