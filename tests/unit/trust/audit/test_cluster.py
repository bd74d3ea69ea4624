"""Reading service accounts and role requests from what kubectl prints."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from broker.trust.audit.cluster import list_requests, read_cluster
from tests.support.audited_account import MANIFESTS, deployment, role_arn, service_account

CONTAINER = {"name": "app", "image": "x"}


def make_pod(spec: dict[str, Any], **metadata: Any) -> dict[str, Any]:  # noqa: ANN401 - fields of the pod
    pod = {"containers": [CONTAINER], **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "shop", **metadata}, "spec": pod}


def list_found(*manifests: dict[str, Any]) -> list[tuple[str, str, tuple[str, ...]]]:
    cluster = read_cluster("---\n".join(json.dumps(one) + "\n" for one in manifests), "m")
    assert cluster.faults == []
    return [(one.role, one.setting, one.audiences) for one in list_requests(cluster)]


@pytest.mark.parametrize("write", [json.dumps, yaml.safe_dump], ids=["json", "yaml"])
def test_list_is_read_in_json_and_yaml(write: Any) -> None:  # noqa: ANN401 - either writer
    cluster = read_cluster(write(MANIFESTS), "m")
    assert sorted(cluster.accounts) == ["system:serviceaccount:shop:cart", "system:serviceaccount:shop:web"]
    assert [one.place for one in cluster.workloads] == ["Deployment shop/cart", "Deployment shop/web"]


def test_stream_of_documents_and_typed_lists_is_read() -> None:
    account = service_account("a")
    del account["kind"], account["apiVersion"]
    listed = {"apiVersion": "v1", "kind": "ServiceAccountList", "items": [account]}
    for typed in (json.dumps(listed), yaml.safe_dump(listed)):
        text = f"{typed}\n---\n{yaml.safe_dump(service_account('b'))}"
        assert sorted(read_cluster(text, "m").accounts) == [f"system:serviceaccount:shop:{one}" for one in "ab"]


def test_place_of_a_workload_has_its_line() -> None:
    text = yaml.safe_dump(service_account("a")) + "---\n" + yaml.safe_dump(deployment("web", "r"), sort_keys=False)
    (workload,) = read_cluster(text, "m").workloads
    assert text.split("\n")[workload.line - 1].strip() == "name: web"


def test_templates_do_not_prove_that_an_account_exists_and_pods_do() -> None:
    text = [service_account("a"), deployment("web", "r", account="b"), make_pod({"serviceAccountName": "c"})]
    cluster = read_cluster("".join(json.dumps(one) for one in text), "m")
    assert sorted(cluster.accounts) == ["system:serviceaccount:shop:a", "system:serviceaccount:shop:c"]


def test_without_listed_accounts_those_of_the_templates_count() -> None:
    cluster = read_cluster(json.dumps(deployment("web", "r", account="b")), "m")
    assert list(cluster.accounts) == ["system:serviceaccount:shop:b"]


def test_role_comes_from_annotation_variable_or_service_account() -> None:
    variable = {"env": [{"name": "AWS_ROLE_ARN", "value": "r2"}, {"name": "AWS_ROLE_ARN", "valueFrom": {}}]}
    spec = {"initContainers": [{**CONTAINER, **variable}], "containers": [{**CONTAINER, **variable}]}
    pod = make_pod({**spec, "serviceAccountName": "web"}, annotations={"sts-broker/role-arn": "r1"})
    assert list_found(service_account("web", role_arn="r3"), pod) == [
        ("r1", "sts-broker/role-arn", ("sts.amazonaws.com",)),
        ("r2", "AWS_ROLE_ARN", ("sts.amazonaws.com",)),
        ("r3", "eks.amazonaws.com/role-arn of its service account", ("sts.amazonaws.com",)),
    ]


def test_audience_comes_from_annotation_or_projected_token() -> None:
    sources = [
        {"serviceAccountToken": {"audience": "vault"}},
        {"serviceAccountToken": {"path": "t"}},
        {"configMap": {}},
    ]
    volumes = [{"name": "t", "projected": {"sources": sources}}, {"name": "e", "emptyDir": {}}]
    env = [{"name": "AWS_ROLE_ARN", "value": "r2"}]
    annotations = {"sts-broker/role-arn": "r1", "sts-broker/audience": "own"}
    pod = make_pod({"volumes": volumes, "containers": [{**CONTAINER, "env": env}]}, annotations=annotations)
    assert list_found(pod) == [
        ("r1", "sts-broker/role-arn", ("own",)),
        ("r2", "AWS_ROLE_ARN", ("vault",)),
    ]


def test_replicas_are_reported_once() -> None:
    pods = [make_pod({}, name=f"p{one}", annotations={"sts-broker/role-arn": "r"}) for one in range(3)]
    assert len(list_found(*pods)) == 1


def test_object_without_a_namespace_is_not_judged() -> None:
    account, web = service_account("a"), deployment("web", role_arn("x"))
    del account["metadata"]["namespace"], web["metadata"]["namespace"]
    cluster = read_cluster(json.dumps(account) + json.dumps(web) + json.dumps(service_account("b")), "m")
    assert cluster.unjudged == [
        "m: ServiceAccount a names no namespace",
        "m: Deployment web requests a role and names no namespace",
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("a: [", "not valid YAML"),
        ("{" * 3000, "m: document 1"),
        ("a: 1\na: 2\nkind: ServiceAccount\nmetadata: {namespace: x}\n", "duplicate key a"),
        ("kind: ConfigMap\n", "neither a service account nor a pod; pass the output of `kubectl get"),
        ("", "neither a service account nor a pod"),
    ],
)
def test_unreadable_manifests_are_a_fault(text: str, fault: str) -> None:
    (found,) = read_cluster(text, "m").faults
    assert fault in found


def test_values_of_wrong_types_are_passed_over() -> None:
    strange = make_pod({"volumes": "x", "containers": [{**CONTAINER, "env": [1, {"name": 2}]}]}, annotations=["x"])
    assert list_found(strange, service_account("a")) == []
