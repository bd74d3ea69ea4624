"""The token-request example: the permissions of its Role, and the containers that have the API token."""

from __future__ import annotations

import yaml

from broker.core.model import SERVICE_ACCOUNT_DIRECTORY, TokenRequestSpec
from broker.settings.loader import load
from broker.tokens.token_request_api import role_commands
from tests.deploy.rendering import DEPLOY, example, mounts, needs_kubectl

pytestmark = needs_kubectl

EXAMPLE = "token-request"
API = {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443"}


def test_broker_requests_tokens_and_has_no_projected_volume() -> None:
    pod = example(EXAMPLE).pod
    (broker,) = pod.brokers
    configuration = load({**API, **pod.environment(broker)})
    assert configuration.token_request == TokenRequestSpec(host="10.96.0.1", port=443)
    assert configuration.warnings == ()
    assert not any("projected" in volume for volume in pod.volumes.values())
    assert mounts(broker).keys() == {"sts-broker-credentials"}


def test_api_token_is_mounted_only_into_the_broker() -> None:
    """Kubernetes mounts it into each container that has no mount at its path."""
    pod = example(EXAMPLE).pod
    assert pod.spec["automountServiceAccountToken"] is True
    covered = [
        container["name"]
        for container in pod.containers
        if SERVICE_ACCOUNT_DIRECTORY in {mount["mountPath"] for mount in container["volumeMounts"]}
    ]
    assert covered == [container["name"] for container in pod.containers if container not in pod.brokers]
    assert pod.volumes["sts-broker-no-api-token"]["emptyDir"] == {"sizeLimit": "1Mi"}


def test_role_allows_only_tokens_of_its_own_service_account() -> None:
    rendered = example(EXAMPLE)
    (role,), (binding,), (account,) = (rendered.of_kind(kind) for kind in ("Role", "RoleBinding", "ServiceAccount"))
    name, namespace = account["metadata"]["name"], account["metadata"]["namespace"]
    assert role["rules"] == [
        {"apiGroups": [""], "resources": ["serviceaccounts/token"], "resourceNames": [name], "verbs": ["create"]}
    ]
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": name, "namespace": namespace}]
    assert binding["roleRef"]["kind"] == "Role"
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert {document["metadata"]["namespace"] for document in rendered.documents} == {namespace}
    assert rendered.pod.spec["serviceAccountName"] == name


def test_commands_in_a_refusal_create_the_role_of_the_example() -> None:
    role, binding = yaml.safe_load_all((DEPLOY / "examples" / EXAMPLE / "role.yaml").read_text())
    ((rule,), (subject,)) = role["rules"], binding["subjects"]
    name, namespace = subject["name"], subject["namespace"]
    create_role = (
        f"kubectl -n {namespace} create role {role['metadata']['name']} --verb={','.join(rule['verbs'])} "
        f"--resource={','.join(rule['resources'])} --resource-name={','.join(rule['resourceNames'])}"
    )
    create_binding = (
        f"kubectl -n {namespace} create rolebinding {binding['metadata']['name']} --role={binding['roleRef']['name']} "
        f"--serviceaccount={namespace}:{name}"
    )
    assert role_commands(namespace, name) == f"{create_role} && {create_binding}"
