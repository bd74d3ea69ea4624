"""The policies of deploy/admission, evaluated: the sidecar of `sts-broker inject` and the component, for equal pods."""

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
from broker.inject.injection import ANNOTATED, PREFIX, Request, run
from broker.inject.sidecar import DEFAULT_IMAGE, Wanted, container, volumes
from tests.deploy.api_server import ApiServer, Refused, admission
from tests.deploy.rendering import DEPLOY, WORKLOADS, Document, Pod, kustomize, needs_kubectl
from tests.deploy.test_component import bare, render, workload
from tests.support.unfit_pods import ANNOTATIONS, FIT, FIT_ANNOTATIONS, ROLE, UNFIT, UNFIT_ANNOTATIONS

if TYPE_CHECKING:
    from pathlib import Path

SERVER = ApiServer(documents=admission())
MANY = {
    **ANNOTATIONS,
    "sts-broker/audience": "other",
    "sts-broker/duration-seconds": "900",
    "sts-broker/config-map": "profiles",
    "sts-broker/profile": "reports",
}


TOKEN = {"serviceAccountToken": {"path": "token", "audience": "sts.amazonaws.com", "expirationSeconds": 3600}}


def asking(spec: Document, annotations: dict[str, str] | None = None) -> Document:
    """Return a pod that asks for the sidecar."""
    annotations = ANNOTATIONS if annotations is None else annotations
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x", "annotations": annotations}, "spec": spec}


def injected(document: Document, *, sets_group: bool = True, **options: str) -> Document:
    """Return a workload as `sts-broker inject` writes it."""
    output = io.BytesIO()
    request = Request(options=options, sets_group=sets_group)
    run(["-"], request, check=False, stdin=io.BytesIO(json.dumps(document).encode()), output=output)
    result: Document = yaml.safe_load(output.getvalue())
    return result


def by_name(value: Any) -> Any:  # noqa: ANN401 - any YAML
    """Return a value in which the order of what Kubernetes keeps by name does not count, containers aside."""
    if isinstance(value, dict):
        result = {key: by_name(item) for key, item in value.items()}
        for key in {"env", "volumes", "volumeMounts"} & result.keys():
            result[key] = sorted(result[key], key=lambda item: str(item["name"]))
        return result
    return [by_name(item) for item in value] if isinstance(value, list) else value


def pod_of(document: Document) -> Document:
    spec = document["spec"]["jobTemplate"]["spec"] if document["kind"] == "CronJob" else document["spec"]
    pod: Document = spec.get("template", document)["spec"]
    return pod


def resolved(pod: Pod) -> Document:
    """Return a pod's spec with plain values for what comes from its ConfigMaps."""
    spec = copy.deepcopy(pod.spec)
    for was, now in zip(
        (*pod.spec["initContainers"], *pod.spec["containers"]),
        (*spec["initContainers"], *spec["containers"]),
        strict=True,
    ):
        now.pop("envFrom", None)
        now["env"] = [{"name": name, "value": value} for name, value in pod.environment(was).items()]
    return spec


class TestOneDefinition:
    """The component, `sts-broker inject` and the policy give the same."""

    @needs_kubectl
    @pytest.mark.parametrize("kind", WORKLOADS)
    def test_component_inject_and_policy_give_one_pod(self, kind: str, tmp_path: Path) -> None:
        component = resolved(render(tmp_path, workload(kind, bare())).pod)
        spec = {**bare(), **({"restartPolicy": "OnFailure"} if kind in {"Job", "CronJob"} else {})}
        inject = pod_of(injected(workload(kind, bare()), role_arn=ROLE, region="eu-west-1"))
        assert by_name(component) == by_name(inject) == by_name(SERVER.create(asking(spec))["spec"])

    @needs_kubectl
    def test_component_with_profiles_is_what_inject_gives_for_their_config_map(self) -> None:
        documents = kustomize(DEPLOY / "examples/several-profiles")
        (deployment,) = (each for each in documents if each["kind"] == "Deployment")
        (profiles,) = (each["metadata"]["name"] for each in documents if "broker.yaml" in each.get("data", {}))
        app = next(yaml.safe_load_all((DEPLOY / "examples/several-profiles/app.yaml").read_text().split("---")[1]))
        inject = pod_of(injected(app, config_map=profiles, region="eu-west-1"))
        component = pod_of(deployment)
        for key in ("volumes", "securityContext"):
            assert by_name(component)[key] == by_name(inject)[key]
        mounts = [by_name(each["initContainers"][0])["volumeMounts"] for each in (component, inject)]
        assert mounts[0] == mounts[1]
        assert by_name(
            SERVER.create(
                asking(
                    app["spec"]["template"]["spec"],
                    {"sts-broker/config-map": profiles, "sts-broker/region": "eu-west-1"},
                )
            )["spec"]
        ) == by_name(inject)

    @pytest.mark.parametrize("file", ["pod-template.yaml", "cronjob.yaml"])
    def test_component_says_what_the_definition_says(self, file: str) -> None:
        pod = pod_of(yaml.safe_load((DEPLOY / "component" / file).read_text()))
        wanted = Wanted(role_arn=ROLE, region="eu-west-1")
        (broker,) = pod["initContainers"]
        settings = ("env", "envFrom")
        assert {k: v for k, v in broker.items() if k not in settings} == {
            k: v for k, v in container(wanted).items() if k not in settings
        }
        assert [key for key in broker if key not in settings] == [key for key in container(wanted) if key != "env"]
        assert pod["volumes"] == volumes(wanted)
        assert broker["env"][0] in container(wanted)["env"]

    def test_image_of_the_policy_is_of_the_version_of_the_package(self) -> None:
        (policy,) = (each for each in admission() if each["kind"] == "MutatingAdmissionPolicy")
        assert policy["spec"]["variables"][0] == {"name": "image", "expression": f"'{DEFAULT_IMAGE}'"}

    def test_every_annotation_of_inject_is_one_of_the_policies(self) -> None:
        texts = "".join((DEPLOY / "admission" / name).read_text() for name in ("injection.yaml", "validation.yaml"))
        named = {f"{PREFIX}{key.replace('_', '-')}" for key in ANNOTATED}
        assert set(re.findall(r"'(sts-broker/[a-z-]+)'", texts)) == named

    @pytest.mark.parametrize("name", FIT)
    def test_pod_that_looks_unfit_gets_the_same_from_both(self, name: str) -> None:
        for said in (ANNOTATIONS, {**ANNOTATIONS, "sts-broker/config-map": "c"}):
            assert SERVER.create(asking(FIT[name], said)) == injected(asking(FIT[name], said))

    @pytest.mark.parametrize("name", FIT_ANNOTATIONS)
    def test_annotations_at_their_bounds_say_the_same_to_both(self, name: str) -> None:
        assert SERVER.create(asking(bare(), FIT_ANNOTATIONS[name])) == injected(asking(bare(), FIT_ANNOTATIONS[name]))

    def test_all_annotations_say_the_same_to_both(self) -> None:
        assert by_name(SERVER.create(asking(bare(), MANY))) == by_name(injected(asking(bare(), MANY)))


specs: st.SearchStrategy[Document] = st.fixed_dictionaries(
    {},
    optional={
        "initContainers": st.sampled_from([[], [{"name": "m", "image": "m"}], [{"name": "m"}, {"name": "n"}]]),
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
            ]
        ),
        "ports": st.sampled_from([[], [{"containerPort": 8080}], [{"containerPort": 9911}]]),
    },
)
sayings: st.SearchStrategy[dict[str, str]] = st.fixed_dictionaries(
    {key: st.just(value) for key, value in ANNOTATIONS.items()},
    optional={key: st.just(value) for key, value in MANY.items() if key not in ANNOTATIONS},
)


@settings(max_examples=150, deadline=None)
@given(specs, st.lists(parts, min_size=1, max_size=3), sayings)
def test_policy_and_inject_agree_on_any_pod(spec: Document, containers: list[Document], said: dict[str, str]) -> None:
    """Fields are absent in all ways: an expression that forgot to ask with has() would be an error here."""
    spec = {**spec, "containers": [{"name": f"c{number}", **each} for number, each in enumerate(containers)]}
    try:
        expected = injected(asking(spec, said))
    except ConfigurationError:
        with pytest.raises(Refused):
            SERVER.create(asking(spec, said))
        return
    created = SERVER.create(asking(spec, said))
    assert created == expected
    assert created["spec"]["initContainers"][0]["name"] == "sts-broker"
    assert SERVER.create(created) == created, "idempotent, if it is invoked again"
    assert injected(created) == created, "inject finds nothing to do"


class TestLeftAlone:
    """What the policy does not touch."""

    @pytest.mark.parametrize("annotations", [None, {}, {"other": "x"}])
    def test_pod_that_does_not_ask(self, annotations: dict[str, str] | None) -> None:
        pod = asking(bare())
        del pod["metadata"]["annotations"]
        if annotations is not None:
            pod["metadata"]["annotations"] = annotations
        assert SERVER.create(pod) == pod

    @pytest.mark.parametrize("labels", [{}, {"sts-broker/injection": "disabled"}, {"other": "enabled"}])
    def test_pod_of_a_namespace_without_the_label(self, labels: dict[str, str]) -> None:
        pod = asking(bare())
        assert SERVER.create(pod, labels=labels) == pod

    def test_mirror_of_a_static_pod(self) -> None:
        pod = asking(bare(), {**ANNOTATIONS, "kubernetes.io/config.mirror": "x"})
        assert SERVER.create(pod) == pod

    def test_pod_that_was_injected_before(self) -> None:
        pod = injected(asking(bare()), region="eu-north-1")
        assert SERVER.create(pod) == pod

    def test_container_that_inject_was_not_to_serve_and_that_has_its_own_keys(self) -> None:
        keys = [{"name": "AWS_ACCESS_KEY_ID", "value": "AKID"}]
        document = asking({"containers": [{"name": "a", "image": "x"}, {"name": "b", "image": "y", "env": keys}]})
        output = io.BytesIO()
        request = Request(options={}, containers=("a",))
        run(["-"], request, check=False, stdin=io.BytesIO(json.dumps(document).encode()), output=output)
        pod = yaml.safe_load(output.getvalue())
        assert SERVER.create(pod) == pod

    @pytest.mark.parametrize("key", ["containers", "initContainers"])
    def test_pod_with_a_container_named_broker_by_the_mutation(self, key: str) -> None:
        spec = {**bare(), "initContainers": [{"name": "m", "image": "m"}]}
        spec[key] = [*spec[key], {"name": "sts-broker", "image": "y"}]
        pod = asking(spec)
        assert SERVER.mutated(pod, {"sts-broker/injection": "enabled"}) == pod

    def test_pod_with_a_sidecar_of_more_ports_and_a_container_that_has_but_the_mount(self) -> None:
        pod = injected(asking(bare()))
        pod["spec"]["initContainers"][0]["ports"].append({"name": "more", "containerPort": 9912})
        mount = {"name": "sts-broker-credentials", "mountPath": "/var/run/aws", "readOnly": True}
        pod["spec"]["containers"].append({"name": "reader", "image": "y", "volumeMounts": [mount]})
        assert SERVER.create(pod) == pod

    def test_own_fields_of_the_pod(self) -> None:
        spec = {**bare(), "nodeSelector": {"a": "b"}, "initContainers": [{"name": "m", "image": "m"}]}
        created = SERVER.create(asking(spec))["spec"]
        assert created["nodeSelector"] == {"a": "b"}
        assert created["initContainers"][1:] == spec["initContainers"]


class TestRefused:
    """What the policies refuse: the pods that inject refuses, each for its reason."""

    @pytest.mark.parametrize("name", UNFIT)
    def test_pod_that_cannot_take_it_is_refused_for_that_alone(self, name: str) -> None:
        with pytest.raises(Refused) as caught:
            SERVER.create(asking(UNFIT[name].spec))
        (message,) = caught.value.messages
        assert UNFIT[name].told_by_policy in message

    @pytest.mark.parametrize("name", UNFIT_ANNOTATIONS)
    def test_annotation_that_is_no_good_is_named(self, name: str) -> None:
        with pytest.raises(Refused) as caught:
            SERVER.create(asking(bare(), {"other": "x", **UNFIT_ANNOTATIONS[name]}))
        assert any("sts-broker/" in message for message in caught.value.messages)

    @pytest.mark.parametrize(
        "volume", [{"emptyDir": {}}, {"configMap": {"name": "other"}}, {"configMap": {"optional": True}}]
    )
    def test_volume_of_profiles_that_is_another(self, volume: Document) -> None:
        pod = asking({**bare(), "volumes": [{"name": "sts-broker-profiles", **volume}]}, MANY)
        with pytest.raises(Refused, match="sts-broker-profiles"):
            SERVER.create(pod)
        with pytest.raises(ConfigurationError, match="sts-broker-profiles"):
            injected(pod)

    def test_pod_that_nothing_was_added_to(self) -> None:
        server = ApiServer(documents=[each for each in admission() if each["kind"] != "MutatingAdmissionPolicyBinding"])
        with pytest.raises(Refused, match="nothing has added it"):
            server.create(asking(bare()))

    def test_sidecar_that_a_webhook_took_the_restart_policy_from(self) -> None:
        """Libraries that are older than native sidecars drop the field (Azure/azure-workload-identity#1312)."""
        pod = SERVER.create(asking(bare()))
        assert SERVER.create(pod) == pod
        del pod["spec"]["initContainers"][0]["restartPolicy"]
        with pytest.raises(Refused, match="lost its restartPolicy"):
            SERVER.create(pod)

    def test_most_containers_are_served_and_more_are_refused(self) -> None:
        spec = {"containers": [{"name": f"c{number}", "image": "x"} for number in range(32)]}
        created = SERVER.create(asking(spec))["spec"]["containers"]
        assert all(len(each["env"]) == 3 and len(each["volumeMounts"]) == 1 for each in created)
        spec["containers"].append({"name": "one too many", "image": "x"})
        with pytest.raises(Refused, match="32 containers at most"):
            SERVER.create(asking(spec))


class TestManifests:
    """What an API server takes of the policies themselves, and of what they make."""

    @needs_kubectl
    @pytest.mark.parametrize(
        ("directory", "versions"),
        [("admission", ("1.36", "1.37")), ("admission-v1beta1", ("1.34", "1.35", "1.36"))],
    )
    def test_policies_are_valid_for_the_versions_that_have_them(
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
    def test_v1_is_not_there_before(self) -> None:
        (policy,) = (each for each in kustomize(DEPLOY / "admission") if each["kind"] == "MutatingAdmissionPolicy")
        with pytest.raises(kubernetes_validate.SchemaNotFoundError):
            kubernetes_validate.validate(policy, "1.35", strict=True)

    @needs_kubectl
    def test_beta_has_the_same_policies(self) -> None:
        beta = {each["kind"]: each["spec"] for each in kustomize(DEPLOY / "admission-v1beta1")}
        assert beta == {each["kind"]: each["spec"] for each in kustomize(DEPLOY / "admission")}

    @pytest.mark.parametrize("version", ["1.36", "1.37"])
    @pytest.mark.parametrize("said", [ANNOTATIONS, MANY])
    def test_pod_that_was_created_is_valid(self, said: dict[str, str], version: str) -> None:
        kubernetes_validate.validate(SERVER.create(asking(bare(), said)), version, strict=True)

    def test_enumerated_fields_have_values_that_the_api_server_takes(self) -> None:
        mutating, _, validating, _ = admission()
        assert mutating["spec"]["failurePolicy"] == validating["spec"]["failurePolicy"] == "Fail"
        assert mutating["spec"]["reinvocationPolicy"] in {"Never", "IfNeeded"}
        for document in admission():
            assert document["spec"].get("validationActions", ["Deny"]) == ["Deny"]
