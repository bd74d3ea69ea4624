"""The policies of deploy/admission, evaluated. They add the same sidecar as `sts-broker inject` and the component."""

from __future__ import annotations

import copy
import io
import json
import re
from typing import TYPE_CHECKING, Any

import kubernetes_validate
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.core.errors import ConfigurationError
from broker.core.images import SIDECAR_IMAGE
from broker.inject.injection import run
from broker.inject.sidecar import SidecarSpec, build_container, build_volumes
from broker.inject.sidecar_request import KEYS, Request, format_annotation
from tests.deploy.api_server import ApiServer, Refused, read_policies
from tests.deploy.rendering import DEPLOY, WORKLOADS, Document, Pod, kustomize, needs_kubectl
from tests.deploy.test_component import make_bare_pod, make_workload, render
from tests.support.unfit_pods import ANNOTATIONS, FIT, FIT_ANNOTATIONS, ROLE, UNFIT, UNFIT_ANNOTATIONS

if TYPE_CHECKING:
    from pathlib import Path

SERVER = ApiServer(documents=read_policies())
MANY = {
    **ANNOTATIONS,
    "sts-broker/audience": "other",
    "sts-broker/duration-seconds": "900",
    "sts-broker/config-map": "profiles",
    "sts-broker/profile": "reports",
}


MOUNT = {"name": "sts-broker-token", "mountPath": "/t"}
TOKEN = {"serviceAccountToken": {"path": "token", "audience": "sts.amazonaws.com", "expirationSeconds": 3600}}


def make_pod(spec: Document, annotations: dict[str, str] | None = None) -> Document:
    """Return a pod whose annotations request the sidecar."""
    annotations = ANNOTATIONS if annotations is None else annotations
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x", "annotations": annotations}, "spec": spec}


def inject_document(document: Document, *, sets_group: bool = True, **options: str) -> Document:
    """Return a workload as `sts-broker inject` writes it."""
    output = io.BytesIO()
    request = Request(options=options, sets_group=sets_group)
    run(["-"], request, check=False, stdin=io.BytesIO(json.dumps(document).encode()), output=output)
    result: Document = yaml.safe_load(output.getvalue())
    return result


def sort_by_name(value: Any) -> Any:  # noqa: ANN401 - any YAML
    """Return a value with the lists that Kubernetes keeps by name sorted, except containers, whose order matters."""
    if isinstance(value, dict):
        result = {key: sort_by_name(item) for key, item in value.items()}
        for key in {"env", "volumes", "volumeMounts"} & result.keys():
            result[key] = sorted(result[key], key=lambda item: str(item["name"]))
        return result
    return [sort_by_name(item) for item in value] if isinstance(value, list) else value


def find_pod_spec(document: Document) -> Document:
    spec = document["spec"]["jobTemplate"]["spec"] if document["kind"] == "CronJob" else document["spec"]
    pod: Document = spec.get("template", document)["spec"]
    return pod


def resolve_config_maps(pod: Pod) -> Document:
    """Return a pod's spec with plain values for the variables from its ConfigMaps."""
    spec = copy.deepcopy(pod.spec)
    for was, now in zip(
        (*pod.spec["initContainers"], *pod.spec["containers"]),
        (*spec["initContainers"], *spec["containers"]),
        strict=True,
    ):
        now.pop("envFrom", None)
        now["env"] = [{"name": name, "value": value} for name, value in pod.environment(was).items()]
    return spec


class TestEquivalence:
    """The component, `sts-broker inject` and the policy give the same pod."""

    @needs_kubectl
    @pytest.mark.parametrize("kind", WORKLOADS)
    def test_component_inject_and_policy_give_the_same_pod(self, kind: str, tmp_path: Path) -> None:
        component = resolve_config_maps(render(tmp_path, make_workload(kind, make_bare_pod())).pod)
        spec = {**make_bare_pod(), **({"restartPolicy": "OnFailure"} if kind in {"Job", "CronJob"} else {})}
        inject = find_pod_spec(inject_document(make_workload(kind, make_bare_pod()), role_arn=ROLE, region="eu-west-1"))
        assert sort_by_name(component) == sort_by_name(inject) == sort_by_name(SERVER.create(make_pod(spec))["spec"])

    @needs_kubectl
    def test_component_and_inject_give_the_same_profiles_volume(self) -> None:
        documents = kustomize(DEPLOY / "examples/several-profiles")
        (deployment,) = (each for each in documents if each["kind"] == "Deployment")
        (profiles,) = (each["metadata"]["name"] for each in documents if "broker.yaml" in each.get("data", {}))
        app = next(yaml.safe_load_all((DEPLOY / "examples/several-profiles/app.yaml").read_text().split("---")[1]))
        inject = find_pod_spec(inject_document(app, config_map=profiles, region="eu-west-1"))
        component = find_pod_spec(deployment)
        for key in ("volumes", "securityContext"):
            assert sort_by_name(component)[key] == sort_by_name(inject)[key]
        mounts = [sort_by_name(each["initContainers"][0])["volumeMounts"] for each in (component, inject)]
        assert mounts[0] == mounts[1]
        assert sort_by_name(
            SERVER.create(
                make_pod(
                    app["spec"]["template"]["spec"],
                    {"sts-broker/config-map": profiles, "sts-broker/region": "eu-west-1"},
                )
            )["spec"]
        ) == sort_by_name(inject)

    @pytest.mark.parametrize("file", ["pod-template.yaml", "cronjob.yaml"])
    def test_component_equals_the_definition_of_the_sidecar(self, file: str) -> None:
        pod = find_pod_spec(yaml.safe_load((DEPLOY / "component" / file).read_text()))
        requested = SidecarSpec(role_arn=ROLE, region="eu-west-1")
        (broker,) = pod["initContainers"]
        settings = ("env", "envFrom")
        assert {k: v for k, v in broker.items() if k not in settings} == {
            k: v for k, v in build_container(requested).items() if k not in settings
        }
        assert [key for key in broker if key not in settings] == [
            key for key in build_container(requested) if key != "env"
        ]
        assert pod["volumes"] == build_volumes(requested)
        assert broker["env"][0] in build_container(requested)["env"]

    def test_policy_uses_the_image_of_this_version(self) -> None:
        (policy,) = (each for each in read_policies() if each["kind"] == "MutatingAdmissionPolicy")
        assert policy["spec"]["variables"][0] == {"name": "image", "expression": f"'{SIDECAR_IMAGE}'"}

    def test_policies_know_the_annotations_of_inject(self) -> None:
        texts = "".join((DEPLOY / "admission" / name).read_text() for name in ("injection.yaml", "validation.yaml"))
        named = {format_annotation(key) for key in KEYS}
        assert set(re.findall(r"'(sts-broker/[a-z-]+)'", texts)) == named

    @pytest.mark.parametrize("name", FIT)
    def test_pod_that_resembles_an_unfit_one_gets_the_same_from_both(self, name: str) -> None:
        for pod in (make_pod(FIT[name]), make_pod(FIT[name], {**ANNOTATIONS, "sts-broker/config-map": "c"})):
            assert SERVER.create(pod) == inject_document(pod)

    @pytest.mark.parametrize("name", FIT_ANNOTATIONS)
    def test_annotations_at_their_limits_give_the_same_pod(self, name: str) -> None:
        assert SERVER.create(make_pod(make_bare_pod(), FIT_ANNOTATIONS[name])) == inject_document(
            make_pod(make_bare_pod(), FIT_ANNOTATIONS[name])
        )

    def test_all_annotations_together_give_the_same_pod(self) -> None:
        assert sort_by_name(SERVER.create(make_pod(make_bare_pod(), MANY))) == sort_by_name(
            inject_document(make_pod(make_bare_pod(), MANY))
        )


specs: st.SearchStrategy[Document] = st.fixed_dictionaries(
    {},
    optional={
        "initContainers": st.sampled_from(
            [
                [],
                [{"name": "m", "image": "m"}],
                [{"name": "m"}, {"name": "n"}],
                [{"name": "m", "volumeMounts": [MOUNT]}],
            ]
        ),
        "volumes": st.sampled_from(
            [
                [],
                [{"name": "data", "emptyDir": {}}],
                [{"name": "sts-broker-credentials", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}}],
                [{"name": "sts-broker-token", "projected": {"sources": [TOKEN]}}],
                [{"name": "sts-broker-profiles", "configMap": {"name": "profiles"}}],
                [{"name": "sts-broker-profiles", "configMap": {"name": "other"}}],
                [{"name": "sts-broker-profiles", "emptyDir": {}}],
            ]
        ),
        "securityContext": st.sampled_from([{}, {"runAsUser": 1}, {"fsGroup": 1000}]),
        "serviceAccountName": st.just("app"),
    },
)
parts: st.SearchStrategy[Document] = st.fixed_dictionaries(
    {"image": st.just("x")},
    optional={
        "env": st.lists(
            st.sampled_from(
                [
                    {"name": "OWN", "value": "1"},
                    {"name": "AWS_REGION", "value": "us-east-1"},
                    {"name": "AWS_WEB_IDENTITY_TOKEN_FILE", "value": ""},
                    {"name": "AWS_PROFILE"},
                    {"name": "AWS_ACCESS_KEY_ID", "value": "AKID"},
                    {"name": "AWS_CONTAINER_CREDENTIALS_FULL_URI", "value": "http://127.0.0.1:9911/v1/credentials"},
                    {"name": "AWS_CONTAINER_CREDENTIALS_FULL_URI", "value": "http://127.0.0.1:9911/v1/credentials/p"},
                    {"name": "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "value": "/var/run/aws/endpoint-token"},
                ]
            ),
            max_size=3,
            unique_by=lambda variable: variable["name"],
        ),
        "volumeMounts": st.sampled_from(
            [
                [],
                [{"name": "data", "mountPath": "/data"}],
                [{"name": "sts-broker-credentials", "mountPath": "/var/run/aws", "readOnly": True}],
                [{"name": "sts-broker-credentials", "mountPath": "/aws"}],
                [MOUNT],
            ]
        ),
        "ports": st.sampled_from([[], [{"containerPort": 8080}], [{"containerPort": 9911}]]),
    },
)
annotation_sets: st.SearchStrategy[dict[str, str]] = st.fixed_dictionaries(
    {key: st.just(value) for key, value in ANNOTATIONS.items()},
    optional={key: st.just(value) for key, value in MANY.items() if key not in ANNOTATIONS},
)


@settings(max_examples=150, deadline=None)
@given(specs, st.lists(parts, min_size=1, max_size=3), annotation_sets)
def test_policy_and_inject_agree_on_any_pod(
    spec: Document, containers: list[Document], annotations: dict[str, str]
) -> None:
    """Optional fields are absent in all combinations: an expression without has() would be an error here."""
    spec = {**spec, "containers": [{"name": f"c{number}", **each} for number, each in enumerate(containers)]}
    try:
        expected = inject_document(make_pod(spec, annotations))
    except ConfigurationError:
        with pytest.raises(Refused):
            SERVER.create(make_pod(spec, annotations))
        return
    created = SERVER.create(make_pod(spec, annotations))
    assert created == expected
    assert created["spec"]["initContainers"][0]["name"] == "sts-broker"
    assert SERVER.create(created) == created, "the policy is idempotent"
    assert inject_document(created) == created, "inject changes nothing"


class TestUnchanged:
    """Pods that the policy does not change."""

    @pytest.mark.parametrize("annotations", [None, {}, {"other": "x"}])
    def test_pod_without_annotations_is_unchanged(self, annotations: dict[str, str] | None) -> None:
        pod = make_pod(make_bare_pod())
        del pod["metadata"]["annotations"]
        if annotations is not None:
            pod["metadata"]["annotations"] = annotations
        assert SERVER.create(pod) == pod

    @pytest.mark.parametrize("labels", [{}, {"sts-broker/injection": "disabled"}, {"other": "enabled"}])
    def test_pod_in_a_namespace_without_the_label_is_unchanged(self, labels: dict[str, str]) -> None:
        pod = make_pod(make_bare_pod())
        assert SERVER.create(pod, labels=labels) == pod

    def test_mirror_of_a_static_pod_is_unchanged(self) -> None:
        pod = make_pod(make_bare_pod(), {**ANNOTATIONS, "kubernetes.io/config.mirror": "x"})
        assert SERVER.create(pod) == pod

    def test_pod_with_the_sidecar_of_inject_is_unchanged(self) -> None:
        pod = inject_document(make_pod(make_bare_pod()), region="eu-north-1")
        assert SERVER.create(pod) == pod

    def test_container_without_the_endpoint_can_have_access_keys(self) -> None:
        keys = [{"name": "AWS_ACCESS_KEY_ID", "value": "AKID"}]
        document = make_pod({"containers": [{"name": "a", "image": "x"}, {"name": "b", "image": "y", "env": keys}]})
        output = io.BytesIO()
        request = Request(options={}, containers=("a",))
        run(["-"], request, check=False, stdin=io.BytesIO(json.dumps(document).encode()), output=output)
        pod = yaml.safe_load(output.getvalue())
        assert SERVER.create(pod) == pod

    @pytest.mark.parametrize("key", ["containers", "initContainers"])
    def test_mutation_skips_a_pod_with_a_container_of_the_sidecars_name(self, key: str) -> None:
        spec = {**make_bare_pod(), "initContainers": [{"name": "m", "image": "m"}]}
        spec[key] = [*spec[key], {"name": "sts-broker", "image": "y"}]
        pod = make_pod(spec)
        assert SERVER.mutate(pod, {"sts-broker/injection": "enabled"}) == pod

    def test_sidecar_with_more_ports_and_container_with_only_the_mount_are_admitted(self) -> None:
        pod = inject_document(make_pod(make_bare_pod()))
        pod["spec"]["initContainers"][0]["ports"].append({"name": "more", "containerPort": 9912})
        mount = {"name": "sts-broker-credentials", "mountPath": "/var/run/aws", "readOnly": True}
        pod["spec"]["containers"].append({"name": "reader", "image": "y", "volumeMounts": [mount]})
        assert SERVER.create(pod) == pod

    def test_other_fields_of_the_pod_are_kept(self) -> None:
        spec = {**make_bare_pod(), "nodeSelector": {"a": "b"}, "initContainers": [{"name": "m", "image": "m"}]}
        created = SERVER.create(make_pod(spec))["spec"]
        assert created["nodeSelector"] == {"a": "b"}
        assert created["initContainers"][1:] == spec["initContainers"]


class TestRefused:
    """Pods that the policies refuse: the same as inject, each for its reason."""

    @pytest.mark.parametrize("name", UNFIT)
    def test_unfit_pod_is_refused_for_one_reason(self, name: str) -> None:
        with pytest.raises(Refused) as caught:
            SERVER.create(make_pod(UNFIT[name].spec))
        (message,) = caught.value.messages
        assert UNFIT[name].policy_message in message

    @pytest.mark.parametrize("name", UNFIT_ANNOTATIONS)
    def test_invalid_annotation_is_named(self, name: str) -> None:
        with pytest.raises(Refused) as caught:
            SERVER.create(make_pod(make_bare_pod(), {"other": "x", **UNFIT_ANNOTATIONS[name]}))
        assert any("sts-broker/" in message for message in caught.value.messages)

    @pytest.mark.parametrize(
        "volume", [{"emptyDir": {}}, {"configMap": {"name": "other"}}, {"configMap": {"optional": True}}]
    )
    def test_different_profiles_volume_is_refused(self, volume: Document) -> None:
        pod = make_pod({**make_bare_pod(), "volumes": [{"name": "sts-broker-profiles", **volume}]}, MANY)
        with pytest.raises(Refused, match="sts-broker-profiles"):
            SERVER.create(pod)
        with pytest.raises(ConfigurationError, match="sts-broker-profiles"):
            inject_document(pod)

    def test_pod_without_the_mutation_is_refused(self) -> None:
        server = ApiServer(
            documents=[each for each in read_policies() if each["kind"] != "MutatingAdmissionPolicyBinding"]
        )
        with pytest.raises(Refused, match="nothing has added it"):
            server.create(make_pod(make_bare_pod()))

    def test_sidecar_without_its_restart_policy_is_refused(self) -> None:
        """Webhooks with libraries older than native sidecars drop the field (Azure/azure-workload-identity#1312)."""
        pod = SERVER.create(make_pod(make_bare_pod()))
        assert SERVER.create(pod) == pod
        del pod["spec"]["initContainers"][0]["restartPolicy"]
        with pytest.raises(Refused, match="has no restartPolicy: Always"):
            SERVER.create(pod)

    def test_32_containers_get_the_endpoint_and_33_are_refused(self) -> None:
        spec = {"containers": [{"name": f"c{number}", "image": "x"} for number in range(32)]}
        created = SERVER.create(make_pod(spec))["spec"]["containers"]
        assert all(len(each["env"]) == 4 and len(each["volumeMounts"]) == 1 for each in created)
        spec["containers"].append({"name": "c32", "image": "x"})
        with pytest.raises(Refused, match="more than 32 containers"):
            SERVER.create(make_pod(spec))


def add_server_defaults(document: Document) -> Document:
    """Return a policy or a binding as the API server stores it.

    Source: kubernetes pkg/apis/admissionregistration/v1/defaults.go (SetDefaults_MatchResources, SetDefaults_Rule).
    """
    stored = copy.deepcopy(document)
    spec = stored["spec"]
    if not document["kind"].endswith("Binding"):
        spec.setdefault("failurePolicy", "Fail")
    matches = spec["matchResources" if document["kind"].endswith("Binding") else "matchConstraints"]
    for key, value in (("matchPolicy", "Equivalent"), ("namespaceSelector", {}), ("objectSelector", {})):
        matches.setdefault(key, value)
    for rule in matches.get("resourceRules", ()):
        rule.setdefault("scope", "*")
    return stored


class TestManifests:
    """Whether an API server accepts the policies, and the pods that they change."""

    @needs_kubectl
    @pytest.mark.parametrize(
        ("directory", "versions"),
        [("admission", ("1.36", "1.37")), ("admission-v1beta1", ("1.34", "1.35", "1.36"))],
    )
    def test_policies_are_valid_for_the_kubernetes_versions_that_have_them(
        self, directory: str, versions: tuple[str, ...]
    ) -> None:
        documents = kustomize(DEPLOY / directory)
        assert sorted(each["kind"] for each in documents) == [
            *("MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding"),
            *("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"),
        ]
        for version in versions:
            for document in documents:
                kubernetes_validate.validate(document, version, strict=True)

    @needs_kubectl
    def test_v1_policies_are_unknown_before_kubernetes_1_36(self) -> None:
        (policy,) = (each for each in kustomize(DEPLOY / "admission") if each["kind"] == "MutatingAdmissionPolicy")
        with pytest.raises(kubernetes_validate.SchemaNotFoundError):
            kubernetes_validate.validate(policy, "1.35", strict=True)

    @needs_kubectl
    def test_beta_policies_have_the_same_spec(self) -> None:
        beta = {each["kind"]: each["spec"] for each in kustomize(DEPLOY / "admission-v1beta1")}
        assert beta == {each["kind"]: each["spec"] for each in kustomize(DEPLOY / "admission")}

    @pytest.mark.parametrize("version", ["1.36", "1.37"])
    @pytest.mark.parametrize("annotations", [ANNOTATIONS, MANY])
    def test_created_pod_is_valid(self, annotations: dict[str, str], version: str) -> None:
        kubernetes_validate.validate(SERVER.create(make_pod(make_bare_pod(), annotations)), version, strict=True)

    @needs_kubectl
    @pytest.mark.parametrize("directory", ["admission", "admission-v1beta1"])
    def test_second_apply_changes_nothing(self, directory: str) -> None:
        """`kubectl apply` reports `configured` where the manifest lacks what the API server has stored."""
        for document in kustomize(DEPLOY / directory):
            assert add_server_defaults(document) == document

    def test_enumerated_fields_have_allowed_values(self) -> None:
        mutating, _, validating, _ = read_policies()
        assert mutating["spec"]["failurePolicy"] == validating["spec"]["failurePolicy"] == "Fail"
        assert mutating["spec"]["reinvocationPolicy"] in {"Never", "IfNeeded"}
        for document in read_policies():
            assert document["spec"].get("validationActions", ["Deny"]) == ["Deny"]
