"""Which pods `sts-broker inject` finds in objects of any kind, and what it says about those that it cannot reach."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.support.injecting import OPTIONS, POD, ROLE, collect_faults, inject_text, run_inject

POD_SPEC = {"containers": [{"name": "app", "image": "x"}]}
EXPECTED = yaml.safe_load(inject_text(POD))["spec"]


def format_object(version: str, kind: str, **fields: Any) -> str:  # noqa: ANN401 - any Kubernetes field
    return yaml.safe_dump({"apiVersion": version, "kind": kind, "metadata": {"name": "o"}, **fields}, sort_keys=False)


def make_template(annotations: dict[str, str] | None = None) -> dict[str, Any]:
    return {"metadata": {"annotations": annotations or {}}, "spec": POD_SPEC}


def find_specs(node: Any) -> list[Any]:  # noqa: ANN401 - any YAML
    """Return all mappings that have containers, in order."""
    if isinstance(node, list):
        return [spec for item in node for spec in find_specs(item)]
    if not isinstance(node, dict):
        return []
    found = [node] if "containers" in node else []
    return found + [spec for item in node.values() for spec in find_specs(item)]


IN_SPEC = {"spec": {"template": make_template()}}
DEPLOYMENT = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, **IN_SPEC}
OTHER_KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "Rollout": ("argoproj.io/v1alpha1", IN_SPEC),
    "DeploymentConfig": ("apps.openshift.io/v1", IN_SPEC),
    "ReplicationController": ("v1", IN_SPEC),
    "Service": ("serving.knative.dev/v1", IN_SPEC),
    "PodTemplate": ("v1", {"template": make_template()}),
    "CloneSet": ("apps.kruise.io/v1alpha1", IN_SPEC),
    "AdvancedCronJob": ("apps.kruise.io/v1alpha1", {"spec": {"template": {"jobTemplate": IN_SPEC}}}),
    "ScaledJob": ("keda.sh/v1alpha1", {"spec": {"jobTargetRef": {"template": make_template()}}}),
    "JobSet": ("jobset.x-k8s.io/v1alpha2", {"spec": {"replicatedJobs": [{"name": "w", "template": IN_SPEC}]}}),
    "Elasticsearch": ("elasticsearch.k8s.elastic.co/v1", {"spec": {"nodeSets": [{"podTemplate": make_template()}]}}),
    "Deployment": ("extensions/v1beta1", IN_SPEC),
    "Template": ("template.openshift.io/v1", {"objects": [DEPLOYMENT]}),
    "Object": ("kubernetes.crossplane.io/v1alpha2", {"spec": {"forProvider": {"manifest": DEPLOYMENT}}}),
    "RolloutList": ("argoproj.io/v1alpha1", {"items": [{"metadata": {"name": "r"}, **IN_SPEC}]}),
    "DeploymentList": ("apps/v1", {"items": [{"metadata": {"name": "d"}, **IN_SPEC}]}),
    "PodList": ("v1", {"items": [{"metadata": {"name": "p"}, "spec": POD_SPEC}]}),
    "List": ("v1", {"items": [{"apiVersion": "v1", "kind": "List", "items": [DEPLOYMENT]}]}),
}


@pytest.mark.parametrize("kind", OTHER_KINDS)
def test_pod_template_of_any_kind_gets_the_sidecar(kind: str) -> None:
    version, fields = OTHER_KINDS[kind]
    assert find_specs(yaml.safe_load(inject_text(format_object(version, kind, **fields)))) == [EXPECTED]


def test_every_pod_template_of_an_object_gets_the_sidecar_and_is_named_with_its_path(
    capsys: pytest.CaptureFixture[str],
) -> None:
    workers = [{"template": make_template()}, {"template": make_template()}]
    spec = {"headGroupSpec": {"template": make_template()}, "workerGroupSpecs": workers}
    text = format_object("ray.io/v1", "RayCluster", spec=spec)
    assert find_specs(yaml.safe_load(inject_text(text))) == [EXPECTED] * 3
    capsys.readouterr()
    assert run_inject(text, OPTIONS, check=True)[0] == 1
    assert capsys.readouterr().err.splitlines() == [
        "sts-broker: document 1, RayCluster o (spec.headGroupSpec.template): lacks the sidecar",
        "sts-broker: document 1, RayCluster o (spec.workerGroupSpecs[0].template): lacks the sidecar",
        "sts-broker: document 1, RayCluster o (spec.workerGroupSpecs[1].template): lacks the sidecar",
    ]


def test_reference_to_a_workload_is_not_a_workload() -> None:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}
    scaler = format_object("autoscaling/v2", "HorizontalPodAutoscaler", spec={"scaleTargetRef": target})
    assert inject_text(f"{POD}---\n{scaler}").endswith(f"---\n{scaler}")


@pytest.mark.parametrize(
    "text",
    [
        format_object("kyverno.io/v1", "ClusterPolicy", spec={"rules": [{"mutate": {"patch": IN_SPEC}}]}),
        format_object("constraints.gatekeeper.sh/v1", "Allowed", spec={"match": {"template": make_template()}}),
        format_object("apiextensions.k8s.io/v1", "CustomResourceDefinition", spec={"example": IN_SPEC}),
    ],
)
def test_object_that_describes_parts_of_pods_stays_unchanged(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert inject_text(f"{POD}---\n{text}").endswith(f"---\n{text}")
    assert capsys.readouterr().err == ""


class TestContainersOutsideOfPodTemplates:
    """With a role for all pods, what has containers but no pod template is named, and counts in `--check`."""

    WORKFLOW = format_object("argoproj.io/v1alpha1", "Workflow", spec={"templates": [{"container": {"image": "x"}}]})
    TASK = format_object("tekton.dev/v1", "Task", spec={"steps": [{"name": "s", "image": "x"}]})
    OPERATED = format_object("monitoring.coreos.com/v1", "Prometheus", spec={"containers": [{"image": "x"}]})
    LIST = format_object("v1", "List", items=[yaml.safe_load(WORKFLOW), DEPLOYMENT])

    @pytest.mark.parametrize(
        ("text", "name"),
        [
            (WORKFLOW, "line 7, Workflow o"),
            (TASK, "line 6, Task o"),
            (OPERATED, "line 6, Prometheus o"),
            (LIST, "line 12, Workflow o"),
        ],
    )
    def test_object_is_named_and_counts(self, text: str, name: str, capsys: pytest.CaptureFixture[str]) -> None:
        stream = f"{run_inject(POD, OPTIONS)[1]}---\n"
        lines = stream.count("\n")
        place, _, rest = name.partition(",")
        name = f"line {int(place.split()[1]) + lines},{rest}"
        assert run_inject(stream + text, OPTIONS, check=True) == (1, "")
        assert f"sts-broker: document 2, {name}: passed over, because its containers are in no pod template" in (
            capsys.readouterr().err
        )
        code, result = run_inject(stream + self.WORKFLOW, OPTIONS)
        assert (code, result) == (0, stream + self.WORKFLOW)
        assert "--pass-over" in capsys.readouterr().err

    def test_kind_that_may_be_passed_over_does_not_count(self, capsys: pytest.CaptureFixture[str]) -> None:
        stream = f"{run_inject(POD, OPTIONS)[1]}---\n{self.WORKFLOW}"
        assert run_inject(stream, OPTIONS, check=True, passed_over_kinds=("Workflow",)) == (0, "")
        assert capsys.readouterr().err == ""

    def test_without_a_role_for_all_pods_it_is_not_named(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert run_inject(self.WORKFLOW, {}, check=True) == (0, "")
        assert capsys.readouterr().err == ""

    def test_workload_of_a_kind_to_pass_over_gets_the_sidecar_only_if_annotated(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        rollout = format_object("argoproj.io/v1alpha1", "Rollout", **IN_SPEC)
        _, result = run_inject(f"{POD}---\n{rollout}", OPTIONS, passed_over_kinds=("Rollout",))
        assert result.endswith(f"---\n{rollout}")
        assert "document 2, Rollout o: skipped" in capsys.readouterr().err
        asking = {"template": make_template({"sts-broker/role-arn": ROLE})}
        rollout = format_object("argoproj.io/v1alpha1", "Rollout", spec=asking)
        assert "initContainers" in run_inject(rollout, OPTIONS, passed_over_kinds=("Rollout",))[1]


class TestAnnotationsWithoutSidecar:
    """An annotation of ours that adds no sidecar is a fault, with and without `--check`."""

    ASKING = {"sts-broker/role-arn": ROLE, "sts-broker/region": "eu-west-1"}  # noqa: RUF012 - never changed
    TEMPLATES = [{"metadata": {"annotations": ASKING}, "container": {"image": "x"}}]  # noqa: RUF012 - likewise

    @pytest.mark.parametrize(
        "text",
        [
            format_object("argoproj.io/v1alpha1", "Workflow", spec={"templates": TEMPLATES}),
            format_object("argoproj.io/v1alpha1", "Workflow", spec={"podMetadata": {"annotations": ASKING}}),
            format_object("monitoring.coreos.com/v1", "Prometheus", spec={"podMetadata": {"annotations": ASKING}}),
            format_object("opentelemetry.io/v1beta1", "OpenTelemetryCollector", spec={"podAnnotations": ASKING}),
            format_object("kustomize.config.k8s.io/v1beta1", "Kustomization", commonAnnotations=ASKING),
            format_object("v1", "Service", metadata={"annotations": ASKING}),
            format_object("v1", "List", items=[{"kind": "Secret", "metadata": {"annotations": ASKING}}]),
            format_object(
                "batch/v1",
                "CronJob",
                spec={"jobTemplate": {"metadata": {"annotations": ASKING}, **IN_SPEC}},
            ),
        ],
    )
    @pytest.mark.parametrize("check", [False, True])
    def test_annotation_is_a_fault_with_its_line(self, text: str, check: bool) -> None:
        lines = [number for number, line in enumerate(text.splitlines(), start=1) if "sts-broker/" in line]
        faults = collect_faults(f"a: b\n---\n{text}", {}, check=check)
        assert [fault.partition(":")[0] for fault in faults] == [f"document 2, line {2 + line}" for line in lines]
        assert "annotation sts-broker/role-arn is not in the metadata of a pod" in faults[0]

    @pytest.mark.parametrize("kind", ["Rollout", "DeploymentConfig", "ReplicationController", "PodTemplate"])
    def test_annotated_pod_template_of_another_kind_gets_the_sidecar(self, kind: str) -> None:
        version, _ = OTHER_KINDS[kind]
        template = {"template": make_template(self.ASKING)}
        text = format_object(version, kind, **(template if kind == "PodTemplate" else {"spec": template}))
        assert run_inject(text, {}, check=True) == (1, "")
        assert find_specs(yaml.safe_load(inject_text(text, {}))) == [EXPECTED]

    def test_annotation_of_the_object_itself_is_to_be_moved(self) -> None:
        text = format_object("argoproj.io/v1alpha1", "Rollout", **IN_SPEC, metadata={"annotations": self.ASKING})
        assert all("Move it to the metadata of the pod template" in fault for fault in collect_faults(text, {}))


def test_faults_and_warnings_of_all_pods_are_reported_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    no_name = {"template": {"spec": {"containers": [{"image": "x"}]}}}
    knative = {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "metadata": {"name": "k"}}
    items = [{**knative, "spec": no_name}, {**knative, **IN_SPEC}, {"kind": "Pod", "spec": {}}]
    first, second = collect_faults(format_object("v1", "List", items=items))
    assert first == "document 1, line 13: Service k: a container has no name, which Knative allows. Write its name"
    assert second.startswith("document 1, line 27: Pod (unnamed) has no containers")
    err = capsys.readouterr().err
    assert "document 1, line 22, Service k: Knative refuses init containers" in err
    assert "kubernetes.podspec-init-containers" in err


def test_check_of_an_empty_stream_is_a_fault() -> None:
    for text in ("", "\n", "\ufeff\n"):
        (fault,) = collect_faults(text, {}, check=True)
        assert fault.startswith("the input is empty, so there is nothing to check")
