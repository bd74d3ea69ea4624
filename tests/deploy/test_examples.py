"""Every example, as rendered by `kubectl kustomize`: schemas, and the rules that schemas do not have."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import kubernetes_validate
import pytest
from kubernetes_validate.utils import all_versions

from broker.cli.parser import Parser
from broker.cli.sidecar_arguments import add_exec
from broker.core.images import SIDECAR_IMAGE
from broker.core.model import ENDPOINT_TOKEN_FILE, SERVICE_ACCOUNT_DIRECTORY, Configuration
from broker.core.notify_targets import SignalTarget
from broker.core.rival_variables import VARIABLES
from broker.publish.formats import env_file
from broker.serving import health
from broker.settings.loader import load
from tests.deploy.rendering import DEPLOY, EXAMPLES, Document, Pod, example, mounts, needs_kubectl
from tests.support.env_files import parse_env_file
from tests.support.fakes import make_credentials

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = needs_kubectl

VERSIONS = sorted({version for version in all_versions() if int(version.split(".")[1]) >= 29})
BEFORE = "before-native-sidecars"
BEFORE_ALL = (BEFORE, f"{BEFORE}-without-cat")
TOKEN_REQUEST = "token-request"
VARIABLES_ONLY = "environment-variables"
"""No endpoint: the app gets its keys in variables."""
EXEC = "exec"
"""No sidecar: the broker is in the app's container."""
ENDPOINT_EXAMPLES = [name for name in EXAMPLES if name not in {VARIABLES_ONLY, EXEC}]
SET_BY_KUBERNETES = {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443"}
CONTAINER_URI = "AWS_CONTAINER_CREDENTIALS_FULL_URI"
CONTAINER_TOKEN_FILE = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"
VALUES = {
    "accessModes": {"ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod"},
    "concurrencyPolicy": {"Allow", "Forbid", "Replace"},
    "drop": {"ALL"},
    "fsGroupChangePolicy": {"OnRootMismatch", "Always"},
    "imagePullPolicy": {"Always", "IfNotPresent", "Never"},
    "medium": {"", "Memory"},
    "policyTypes": {"Ingress", "Egress"},
    "protocol": {"TCP", "UDP", "SCTP"},
    "restartPolicy": {"Always", "OnFailure", "Never"},
    "scheme": {"HTTP", "HTTPS"},
    "terminationMessagePolicy": {"File", "FallbackToLogsOnError"},
    "type": {"RuntimeDefault", "Localhost", "Unconfined"},
}
"""The allowed values of enumerated fields. `type` is the one of seccomp; no other field here has this name."""


def iterate_fields(value: Any) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - any YAML value
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key, inner
            yield from iterate_fields(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from iterate_fields(inner)


def load_configuration(pod: Pod, broker: Document, directory: Path) -> Configuration:
    """Return the settings that the broker loads from the container's environment and settings file."""
    environment = {**SET_BY_KUBERNETES, **pod.environment(broker)}
    path = environment.get("BROKER_CONFIG")
    if path:
        folder, _, name = path.rpartition("/")
        (volume,) = (mount["name"] for mount in broker["volumeMounts"] if mount["mountPath"] == folder)
        file = directory / name
        file.write_text(pod.rendered.config_map(pod.volumes[volume]["configMap"]["name"])[name])
        environment["BROKER_CONFIG"] = str(file)
    return load(environment)


@pytest.fixture(params=ENDPOINT_EXAMPLES)
def pod(request: pytest.FixtureRequest) -> Pod:
    return example(request.param).pod


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", [*ENDPOINT_EXAMPLES, EXEC])
def test_every_document_is_valid_for_each_version_with_native_sidecars(name: str, version: str) -> None:
    for document in example(name).documents:
        assert kubernetes_validate.validate(document, version, strict=True) == version.removesuffix(".0")


@pytest.mark.parametrize("version", VERSIONS)
def test_variables_from_a_file_are_valid_since_kubernetes_1_34(version: str) -> None:
    (job,) = example(VARIABLES_ONLY).of_kind("Job")
    if int(version.split(".")[1]) < 34:
        with pytest.raises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(job, version, strict=True)
    else:
        kubernetes_validate.validate(job, version, strict=True)


def test_app_without_a_shell_gets_its_keys_from_the_file_that_once_publishes(tmp_path: Path) -> None:
    pod = example(VARIABLES_ONLY).pod
    (once,) = pod.brokers
    assert pod.spec["initContainers"] == [once]
    assert once["args"][0] == "once"
    settings = load_configuration(pod, once, tmp_path)
    (profile,) = settings.profiles
    assert settings.publish.env
    published = parse_env_file(env_file(make_credentials(), profile.region).decode())
    assert "volumeMounts" not in pod.app, "a container must not mount the volume whose file its variables come from"
    for variable in pod.app["env"]:
        source = variable["valueFrom"]["fileKeyRef"]
        assert source == {
            "volumeName": "sts-broker-credentials",
            "path": f"{profile.name}.env",
            "key": variable["name"],
        }
        assert published[variable["name"]]
    assert {variable["name"] for variable in pod.app["env"]} == {
        *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
    }
    (source,) = pod.app["envFrom"]
    assert set(pod.rendered.config_map(source["configMapRef"]["name"]).values()) == {profile.region}


@pytest.mark.parametrize("version", ["1.27", "1.28"])
def test_before_native_sidecars_is_valid_there(version: str) -> None:
    for document in (each for name in BEFORE_ALL for each in example(name).documents):
        assert kubernetes_validate.validate(document, version, strict=True) == version


def test_versions_include_the_first_with_native_sidecars_and_the_newest() -> None:
    assert VERSIONS[0].startswith("1.29")
    assert VERSIONS[-1] == kubernetes_validate.latest_version()
    assert len(VERSIONS) >= 9


@pytest.mark.parametrize("name", EXAMPLES)
def test_enumerated_fields_have_allowed_values(name: str) -> None:
    seen = set()
    for document in example(name).documents:
        for key, value in iterate_fields({k: v for k, v in document.items() if k != "data"}):
            if key in VALUES:
                seen.add(key)
                assert set(value if isinstance(value, list) else [value]) <= VALUES[key], key
    assert {"drop", "medium", "terminationMessagePolicy", "type"} <= seen


@pytest.mark.parametrize("name", EXAMPLES)
def test_names_are_unique_and_references_have_targets(name: str) -> None:
    rendered = example(name)
    pod = rendered.pod
    for named in (pod.containers, pod.spec["volumes"]):
        names = [each["name"] for each in named]
        assert len(set(names)) == len(names)
    (account,) = rendered.of_kind("ServiceAccount")
    assert pod.spec["serviceAccountName"] == account["metadata"]["name"]
    assert account["automountServiceAccountToken"] is False
    for workload in rendered.of_kind("Deployment", "StatefulSet"):
        assert workload["spec"]["selector"]["matchLabels"].items() <= pod.template["metadata"]["labels"].items()
    assert {document["kind"] for document in rendered.documents} <= {
        *("ConfigMap", "CronJob", "Deployment", "Job", "NetworkPolicy", "Role", "RoleBinding"),
        *("Service", "ServiceAccount", "StatefulSet"),
    }


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_mount_is_a_whole_volume(name: str) -> None:
    rendered = example(name)
    claimed = {
        claim["metadata"]["name"]
        for workload in rendered.of_kind("StatefulSet")
        for claim in workload["spec"]["volumeClaimTemplates"]
    }
    used = set()
    for container in rendered.pod.containers:
        paths = [mount["mountPath"] for mount in container.get("volumeMounts", ())]
        assert len(set(paths)) == len(paths)
        for mount in container.get("volumeMounts", ()):
            assert not {"subPath", "subPathExpr"} & mount.keys()
            used.add(mount["name"])
    assert used == rendered.pod.volumes.keys() | claimed


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name != TOKEN_REQUEST])
def test_token_is_mounted_only_into_the_broker_where_it_expects_it(name: str, tmp_path: Path) -> None:
    pod = example(name).pod
    (source,) = pod.volumes["sts-broker-token"]["projected"]["sources"]
    token = source["serviceAccountToken"]
    assert 600 <= token["expirationSeconds"] == 3600
    for container in pod.containers:
        assert ("sts-broker-token" in mounts(container)) == (container in pod.brokers)
    for broker in pod.brokers:
        mount = mounts(broker)["sts-broker-token"]
        assert mount["readOnly"] is True
        for profile in load_configuration(pod, broker, tmp_path).profiles:
            if profile.chain is None:
                assert profile.token_file == f"{mount['mountPath']}/{token['path']}"
                assert profile.audience == token["audience"]


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name != TOKEN_REQUEST])
def test_broker_gets_no_api_token_even_if_the_service_account_has_one(name: str) -> None:
    """Kubernetes mounts the token into each container that has no mount at exactly this path."""
    pod = example(name).pod
    assert pod.volumes["sts-broker-no-api-token"]["emptyDir"] == {"sizeLimit": "1Mi"}
    for container in pod.containers:
        mounted = mounts(container).get("sts-broker-no-api-token", {})
        assert (mounted.get("mountPath") == SERVICE_ACCOUNT_DIRECTORY) == (container in pod.brokers)


def test_publish_directory_is_in_bounded_memory_and_read_only_for_the_app(pod: Pod, tmp_path: Path) -> None:
    assert pod.volumes["sts-broker-credentials"]["emptyDir"] == {"medium": "Memory", "sizeLimit": "8Mi"}
    for broker in pod.brokers:
        mount = mounts(broker)["sts-broker-credentials"]
        assert mount["mountPath"] == load_configuration(pod, broker, tmp_path).publish.directory
        assert not mount.get("readOnly", False)
    for container in pod.containers:
        if container not in pod.brokers and "sts-broker-credentials" in mounts(container):
            assert mounts(container)["sts-broker-credentials"]["readOnly"] is True
    assert (
        mounts(pod.app)["sts-broker-credentials"]["mountPath"]
        == mounts(pod.brokers[0])["sts-broker-credentials"]["mountPath"]
    )


def test_app_has_the_endpoint_and_no_rival_variables(pod: Pod, tmp_path: Path) -> None:
    settings = load_configuration(pod, pod.brokers[-1], tmp_path)
    environment = pod.environment(pod.app)
    endpoint = f"http://{settings.endpoint_host}:{settings.endpoint_port}/v1/credentials"
    assert environment[CONTAINER_URI] == endpoint
    assert environment[CONTAINER_TOKEN_FILE] == f"{settings.publish.directory}/{ENDPOINT_TOKEN_FILE}"
    assert environment["AWS_REGION"] == environment["AWS_DEFAULT_REGION"] == settings.profiles[0].region
    hiding = {name for name in VARIABLES if environment.get(name)}
    assert hiding == {CONTAINER_URI, CONTAINER_TOKEN_FILE}
    assert [profile.name for profile in settings.profiles if profile.name == "default"], (
        "the endpoint's URL in the app has no profile"
    )


def test_probes_request_existing_pages_on_the_health_port(pod: Pod, tmp_path: Path) -> None:
    port = load_configuration(pod, pod.brokers[-1], tmp_path).health_port
    assert set(health._INDEX.split()) >= {"/readyz", "/livez"}
    probes = {"startupProbe": "/readyz", "readinessProbe": "/readyz", "livenessProbe": "/livez"}
    for broker in pod.brokers:
        for name, page in probes.items():
            if name in broker:
                assert broker[name]["httpGet"] == {"path": page, "port": port}
        if "ports" in broker:
            assert broker["ports"] == [{"name": "sts-broker-http", "containerPort": port}]


@pytest.mark.parametrize("name", [name for name in ENDPOINT_EXAMPLES if name not in BEFORE_ALL])
def test_broker_is_one_native_sidecar_and_starts_first(name: str) -> None:
    pod = example(name).pod
    (broker,) = pod.brokers
    assert broker is pod.spec["initContainers"][0]
    assert broker["restartPolicy"] == "Always"
    assert {"startupProbe", "readinessProbe", "livenessProbe"} <= broker.keys()
    assert "args" not in broker


def test_before_native_sidecars_has_once_then_run_next_to_the_app(tmp_path: Path) -> None:
    pod = example(BEFORE).pod
    once, run = pod.brokers
    assert pod.spec["initContainers"] == [once]
    assert pod.spec["containers"][1:] == [run]
    assert once["args"][0] == "once"
    assert not {"restartPolicy", "startupProbe", "readinessProbe", "livenessProbe"} & once.keys()
    assert {"restartPolicy", "startupProbe", "args"} & run.keys() == set()
    alike = {"name", "args", "ports", "readinessProbe", "livenessProbe"}
    assert {k: v for k, v in once.items() if k not in alike} == {k: v for k, v in run.items() if k not in alike}
    assert load_configuration(pod, once, tmp_path) == load_configuration(pod, run, tmp_path)
    assert (
        pod.environment(pod.app)["AWS_CONFIG_FILE"]
        == f"{mounts(pod.app)['sts-broker-credentials']['mountPath']}/config"
    )


def test_before_native_sidecars_without_cat_differs_only_in_one_variable() -> None:
    before, without = (example(name).pod for name in BEFORE_ALL)
    assert before.environment(before.app) == {
        **without.environment(without.app),
        "AWS_CONFIG_FILE": "/var/run/aws/config",
    }
    spec = {**before.spec, "containers": [without.app, *before.spec["containers"][1:]]}
    assert without.spec == spec


def test_before_native_sidecars_runs_the_broker_of_the_component() -> None:
    sidecar = example("self-managed").pod.brokers[0]
    run = example(BEFORE).pod.brokers[-1]
    assert {k: v for k, v in sidecar.items() if k not in {"restartPolicy", "startupProbe"}} == run


def test_image_has_the_version_of_the_package(pod: Pod) -> None:
    assert pod.brokers
    assert {broker["image"] for broker in pod.brokers} == {SIDECAR_IMAGE}


def test_broker_has_security_context_and_resources(pod: Pod) -> None:
    for broker in pod.brokers:
        assert broker["securityContext"] == {
            "runAsNonRoot": True,
            "readOnlyRootFilesystem": True,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        assert broker["resources"] == {"requests": {"cpu": "10m", "memory": "24Mi"}, "limits": {"memory": "64Mi"}}


def test_memory_request_covers_the_measured_memory() -> None:
    rows = re.findall(
        r"^\| resident memory after an hour of .*? \| ([\d.]+) MiB",
        (DEPLOY.parent / "docs/performance.md").read_text(),
        re.MULTILINE,
    )
    assert rows
    assert max(map(float, rows)) <= 24


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name != "openshift"])
def test_files_are_shared_through_the_fs_group(name: str) -> None:
    assert example(name).pod.spec["securityContext"]["fsGroup"] == 65532


def test_openshift_example_sets_no_user_and_no_group() -> None:
    pod = example("openshift").pod
    chosen = {"runAsUser", "runAsGroup", "fsGroup", "supplementalGroups"}
    for context in (pod.spec.get("securityContext", {}), *(each.get("securityContext", {}) for each in pod.containers)):
        assert not chosen & context.keys()


def test_eks_webhook_skips_app_and_broker() -> None:
    pod = example("eks").pod
    (account,) = example("eks").of_kind("ServiceAccount")
    environment = pod.environment(pod.brokers[0])
    assert environment["AWS_ROLE_ARN"] == account["metadata"]["annotations"]["eks.amazonaws.com/role-arn"]
    skipped = pod.template["metadata"]["annotations"]["eks.amazonaws.com/skip-containers"].split(",")
    assert set(skipped) == {container["name"] for container in pod.containers}
    app = pod.environment(pod.app)
    assert app["AWS_ROLE_ARN"] == app["AWS_WEB_IDENTITY_TOKEN_FILE"] == ""


def test_several_profiles_come_from_the_mounted_file(tmp_path: Path) -> None:
    pod = example("several-profiles").pod
    profiles = {profile.name: profile for profile in load_configuration(pod, pod.brokers[0], tmp_path).profiles}
    assert list(profiles) == ["default", "reports", "partner"]
    assert profiles["partner"].chain is not None
    assert not profiles["reports"].required


def test_app_to_signal_has_the_user_of_the_broker_and_shares_its_processes(tmp_path: Path) -> None:
    pod = example("notify").pod
    (broker,) = pod.brokers
    (profile,) = load_configuration(pod, broker, tmp_path).profiles
    assert profile.notify == (SignalTarget(signal="HUP", process="nginx"),)
    assert pod.spec["shareProcessNamespace"] is True
    user = re.search(r"^USER (\d+)", (DEPLOY.parent / "Dockerfile").read_text(), re.MULTILINE)
    assert user
    assert pod.app["securityContext"]["runAsUser"] == int(user[1])


def test_command_of_exec_is_one_that_the_broker_takes(tmp_path: Path) -> None:
    pod = example(EXEC).pod
    (container,) = pod.containers
    parser = Parser()
    add_exec(parser)
    options = parser.parse_args(container["command"][2:])
    assert (options.on_refresh, options.command) == ("restart", ["--", "/usr/bin/app"])
    assert load_configuration(pod, container, tmp_path).publish.directory == "/var/run/aws"


def test_jobs_do_not_restart() -> None:
    for name in ("job", "cronjob"):
        assert example(name).pod.spec["restartPolicy"] == "Never"


def test_network_policy_allows_dns_https_and_scrapes(tmp_path: Path) -> None:
    rendered = example("network-policy")
    (policy,) = (each["spec"] for each in rendered.of_kind("NetworkPolicy"))
    pod = rendered.pod
    assert policy["podSelector"]["matchLabels"].items() <= pod.template["metadata"]["labels"].items()
    assert set(policy["policyTypes"]) == {"Ingress", "Egress"}
    health = load_configuration(pod, pod.brokers[0], tmp_path).health_port
    ingress = [(port["protocol"], port["port"]) for rule in policy["ingress"] for port in rule["ports"]]
    egress = [(port["protocol"], port["port"]) for rule in policy["egress"] for port in rule["ports"]]
    assert ingress == [("TCP", health)]
    assert egress == [("UDP", 53), ("TCP", 53), ("TCP", 443)]
    assert all(rule["from"] for rule in policy["ingress"])
    assert all(rule["to"] for rule in policy["egress"])
    assert [peer["ipBlock"]["cidr"] for peer in policy["egress"][-1]["to"]] == ["0.0.0.0/0", "::/0"]
