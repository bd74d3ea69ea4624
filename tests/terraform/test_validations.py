"""Each validation of the modules rejects its cases with its message; terraform runs them without a provider."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from broker.trust.linter.lint import Expected, lint
from tests.terraform import sources
from tests.terraform.workspace import MODULES, ROOT, Workspace, needs_terraform, one_at_a_time

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = one_at_a_time
ISSUER = "https://oidc.example/blue"
PROVIDER = "arn:aws:iam::123456789012:oidc-provider/oidc.example/blue"
BLUE = {"issuer_url": ISSUER, "provider_arn": PROVIDER}
API = {"namespace": "payments", "name": "api"}
APP = "arn:aws:iam::123456789012:role/app"
CHAIN = {"role_arns": [APP]}
KEY = {"kty": "RSA", "kid": "a", "alg": "RS256", "n": "xjlCRBqkYU", "e": "AQAB"}
POINT = {"kty": "EC", "kid": "b", "alg": "ES256", "crv": "P-256", "x": "f83OJ3D2xF1B", "y": "x_FEzRu9m36H"}
DOMAIN = {"name": "oidc.example.com", "certificate_arn": "arn:aws:acm:us-east-1:123456789012:certificate/1"}
GOOD: dict[str, dict[str, Any]] = {
    "oidc-provider": {"issuer_url": ISSUER},
    "self-hosted-issuer": {"bucket_name": "issuer-blue", "access": "public", "signing_keys": [KEY]},
    "workload-role": {"name": "app", "region": "eu-west-1", "clusters": {"blue": BLUE}, "service_accounts": [API]},
}


def cluster(**changes: object) -> dict[str, Any]:
    return {"clusters": {"blue": {**BLUE, **changes}}}


def chain(**changes: object) -> dict[str, Any]:
    return {"clusters": {}, "chained_from": {**CHAIN, **changes}}


ACCEPTED_RULES = {"namespace-subject", "cross-account", "too-long"}
"""Rules that a policy of the module can break, because its variables ask for exactly that."""
WIDE = "namespaces_whose_every_service_account_is_trusted"
BAD: list[tuple[str, str, int, dict[str, Any]]] = [
    ("oidc-provider", "issuer_url", 0, {"issuer_url": "http://oidc.example/blue"}),
    ("oidc-provider", "issuer_url", 0, {"issuer_url": "oidc.example/blue"}),
    ("oidc-provider", "issuer_url", 1, {"issuer_url": "https://oidc.example:443/blue"}),
    ("oidc-provider", "issuer_url", 1, {"issuer_url": "https://oidc.example:8443"}),
    ("oidc-provider", "issuer_url", 2, {"issuer_url": "https://oidc.example/"}),
    ("oidc-provider", "issuer_url", 2, {"issuer_url": "https://oidc.example/blue/"}),
    ("oidc-provider", "issuer_url", 3, {"issuer_url": "https://oidc.example/blue?x=1"}),
    ("oidc-provider", "issuer_url", 3, {"issuer_url": "https://oidc.example/blue#x"}),
    ("oidc-provider", "issuer_url", 3, {"issuer_url": "https://me@oidc.example/blue"}),
    ("oidc-provider", "issuer_url", 3, {"issuer_url": "https://oidc.example/b*"}),
    ("oidc-provider", "issuer_url", 4, {"issuer_url": f"{ISSUER}{'e' * 250}"}),
    ("oidc-provider", "audiences", 0, {"audiences": []}),
    ("oidc-provider", "audiences", 0, {"audiences": ["sts.amazonaws.com", "sts.amazonaws.com"]}),
    ("oidc-provider", "audiences", 1, {"audiences": ["sts.*"]}),
    ("oidc-provider", "audiences", 1, {"audiences": [""]}),
    ("oidc-provider", "thumbprints", 0, {"thumbprints": ["99:0F"]}),
    ("oidc-provider", "thumbprints", 0, {"thumbprints": [f"{number:040x}" for number in range(6)]}),
    ("oidc-provider", "tags", 0, {"tags": {"aws:team": "blue"}}),
    ("self-hosted-issuer", "bucket_name", 0, {"bucket_name": "issuer.example"}),
    ("self-hosted-issuer", "access", 0, {"access": "private"}),
    ("self-hosted-issuer", "signing_keys", 0, {"signing_keys": []}),
    ("self-hosted-issuer", "signing_keys", 1, {"signing_keys": [{**KEY, "d": "secret"}]}),
    ("self-hosted-issuer", "signing_keys", 1, {"signing_keys": [KEY, {**KEY, "kid": "b", "k": "secret"}]}),
    ("self-hosted-issuer", "signing_keys", 2, {"signing_keys": [{**KEY, "alg": "HS256"}]}),
    ("self-hosted-issuer", "signing_keys", 2, {"signing_keys": [{**KEY, "use": "enc"}]}),
    ("self-hosted-issuer", "signing_keys", 2, {"signing_keys": [{**KEY, "kid": ""}]}),
    ("self-hosted-issuer", "signing_keys", 3, {"signing_keys": [{**KEY, "kty": "EC"}]}),
    ("self-hosted-issuer", "signing_keys", 3, {"signing_keys": [{**KEY, "kty": "OKP"}]}),
    ("self-hosted-issuer", "signing_keys", 3, {"signing_keys": [{**KEY, "alg": "ES256"}]}),
    ("self-hosted-issuer", "signing_keys", 3, {"signing_keys": [{**POINT, "alg": "ES384"}]}),
    ("self-hosted-issuer", "signing_keys", 3, {"signing_keys": [{**POINT, "crv": "secp256k1"}]}),
    ("self-hosted-issuer", "signing_keys", 4, {"signing_keys": [KEY, KEY]}),
    ("self-hosted-issuer", "domain", 0, {"access": "cloudfront", "domain": {"name": "x", "certificate_arn": "y"}}),
    ("self-hosted-issuer", "domain", 1, {"domain": DOMAIN}),
    ("self-hosted-issuer", "cache_seconds", 0, {"cache_seconds": 86400}),
    ("self-hosted-issuer", "tags", 0, {"tags": {"AWS:team": "blue"}}),
    ("workload-role", "name", 0, {"name": "a b"}),
    ("workload-role", "clusters", 0, {"clusters": {"blue-1": BLUE}}),
    ("workload-role", "clusters", 1, {"clusters": {"blue": BLUE, "green": BLUE}}),
    ("workload-role", "clusters", 2, cluster(issuer_url=f"{ISSUER}/", provider_arn=f"{PROVIDER}/")),
    ("workload-role", "clusters", 2, cluster(issuer_url="http://oidc.example/blue")),
    ("workload-role", "clusters", 3, cluster(provider_arn=f"{PROVIDER}2")),
    (
        "workload-role",
        "clusters",
        3,
        cluster(provider_arn="arn:aws:iam::123456789012:oidc-provider/evil/oidc.example/blue"),
    ),
    ("workload-role", "clusters", 4, cluster(service_accounts=[{"namespace": "*", "name": "api"}])),
    ("workload-role", "clusters", 4, cluster(service_accounts=[{"namespace": "payments", "name": "*"}])),
    ("workload-role", "audience", 0, {"audience": "*"}),
    ("workload-role", "audience", 0, {"audience": ""}),
    ("workload-role", "service_accounts", 0, {"service_accounts": [{"namespace": "payments", "name": "*"}]}),
    ("workload-role", "service_accounts", 0, {"service_accounts": [{"namespace": "pay*", "name": "api"}]}),
    ("workload-role", "service_accounts", 0, {"service_accounts": [{"namespace": "", "name": ""}]}),
    ("workload-role", "service_accounts", 0, {"service_accounts": [{"namespace": "a:b", "name": "api"}]}),
    ("workload-role", "service_accounts", 1, {"service_accounts": []}),
    ("workload-role", "service_accounts", 1, cluster(service_accounts=[])),
    ("workload-role", WIDE, 0, {WIDE: ["*"]}),
    ("workload-role", WIDE, 0, {WIDE: ["payments:*"]}),
    ("workload-role", "session_name_patterns", 0, {"session_name_patterns": ["*"]}),
    ("workload-role", "session_name_patterns", 0, {"session_name_patterns": ["a b*"]}),
    ("workload-role", "chained_from", 0, {"clusters": {}}),
    ("workload-role", "chained_from", 0, {"chained_from": CHAIN}),
    ("workload-role", "chained_from", 1, chain(role_arns=[])),
    ("workload-role", "chained_from", 1, chain(role_arns=["*"])),
    ("workload-role", "chained_from", 1, chain(role_arns=["arn:aws:iam::123456789012:root"])),
    ("workload-role", "chained_from", 1, chain(role_arns=["arn:aws:iam::123456789012:role/*"])),
    ("workload-role", "chained_from", 2, chain(external_id="x")),
    ("workload-role", "chained_from", 2, chain(external_id="with blank")),
    ("workload-role", "chained_from", 3, chain(required_tags={"aws:team": "blue"})),
    ("workload-role", "chained_from", 3, chain(required_tags={"team": "*"})),
    ("workload-role", "chained_from", 3, chain(optional_tag_keys=[f"k{number}" for number in range(51)])),
    ("workload-role", "chained_from", 4, chain(source_identities=["*"])),
    ("workload-role", "chain_to", 0, {"chain_to": ["arn:aws:iam::210987654321:role/*"]}),
    ("workload-role", "inline_policies", 0, {"inline_policies": {"chain": '{"Statement": []}'}}),
    ("workload-role", "inline_policies", 1, {"inline_policies": {"objects": "not JSON"}}),
    ("workload-role", "inline_policies", 1, {"inline_policies": {"objects": "{}"}}),
    ("workload-role", "attached_policy_arns", 0, {"attached_policy_arns": {"read": "ReadOnlyAccess"}}),
    ("workload-role", "permissions_boundary_arn", 0, {"permissions_boundary_arn": "broker-role"}),
    ("workload-role", "path", 0, {"path": "workload"}),
    ("workload-role", "description", 0, {"description": "x" * 1001}),
    ("workload-role", "max_session_seconds", 0, {"max_session_seconds": 900}),
    ("workload-role", "max_session_seconds", 0, {"max_session_seconds": 43201}),
    ("workload-role", "session_seconds", 0, {"session_seconds": 7200}),
    ("workload-role", "session_seconds", 0, {"session_seconds": 899}),
    ("workload-role", "session_seconds", 1, {**chain(), "session_seconds": 7200, "max_session_seconds": 7200}),
    ("workload-role", "region", 0, {"region": "Ireland"}),
    ("workload-role", "profile_name", 0, {"profile_name": "../x"}),
    ("workload-role", "profile_name", 1, {"name": "app@payments"}),
    ("workload-role", "source_profile", 0, {"source_profile": ""}),
    ("workload-role", "tags", 0, {"tags": {f"k{number}": "x" for number in range(51)}}),
]


@pytest.fixture(scope="session")
def variables_only(tree: Path) -> dict[str, Workspace]:
    """Copy each module's variables and, of the role, its trust policy: that part needs no provider."""
    found = {}
    for module in MODULES:
        directory = tree / "terraform/modules" / f"{module.name}-variables"
        directory.mkdir()
        for name in ("variables.tf", "trust.tf", "documents.tf"):
            if (module / name).exists():
                shutil.copy(module / name, directory)
        if (module / "trust.tf").exists():
            (directory / "outputs.tf").write_text('output "trust_policy" {\n  value = local.trust_policy\n}\n')
        found[module.name] = Workspace(directory=directory)
    return found


@needs_terraform
@pytest.mark.parametrize(("module", "variable", "place", "changes"), BAD)
def test_invalid_value_is_rejected_with_its_message(
    variables_only: dict[str, Workspace], module: str, variable: str, place: int, changes: dict[str, Any]
) -> None:
    workspace = variables_only[module]
    workspace.set_variables({**GOOD[module], **changes})
    ran = workspace.run("plan", "-no-color", "-input=false", "-lock=false")
    assert ran.code == 1
    (found,) = (one for one in sources.variables(ROOT / "terraform/modules" / module) if one.name == variable)
    assert " ".join(found.messages[place].split()) in ran.text


@needs_terraform
@pytest.mark.parametrize("module", sorted(GOOD))
def test_valid_values_are_accepted(variables_only: dict[str, Workspace], module: str) -> None:
    variables_only[module].set_variables(GOOD[module])
    variables_only[module].must("plan", "-no-color", "-input=false", "-lock=false")


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.name)
def test_each_validation_has_a_case(module: Path) -> None:
    tested = {(variable, place) for name, variable, place, _ in BAD if name == module.name}
    existing = {(one.name, place) for one in sources.variables(module) for place in range(len(one.messages))}
    assert tested == existing


def apply_role(workspace: Workspace, **changes: object) -> Any:  # noqa: ANN401 - a policy
    """Apply the role's variables and return its trust policy."""
    workspace.set_variables({**GOOD["workload-role"], **changes})
    workspace.must("apply", "-auto-approve", "-input=false", "-lock=false", "-no-color")
    text = workspace.outputs()["trust_policy"]
    assert {one.rule.id for one in lint(text, Expected())} <= ACCEPTED_RULES
    return json.loads(text)


@needs_terraform
def test_subjects_are_exact_unless_whole_namespaces_are_named(variables_only: dict[str, Workspace]) -> None:
    workspace = variables_only["workload-role"]
    (exact,) = apply_role(workspace)["Statement"]
    assert exact["Condition"] == {
        "StringEquals": {
            "oidc.example/blue:aud": ["sts.amazonaws.com"],
            "oidc.example/blue:sub": ["system:serviceaccount:payments:api"],
        }
    }
    (wide,) = apply_role(workspace, **{WIDE: ["batch"]})["Statement"]
    assert wide["Condition"] == {
        "StringLike": {
            "oidc.example/blue:aud": ["sts.amazonaws.com"],
            "oidc.example/blue:sub": ["system:serviceaccount:payments:api", "system:serviceaccount:batch:*"],
        }
    }


@needs_terraform
@pytest.mark.parametrize(("name", "operator"), [("payments.api-*", "StringLike"), ("payments.api", "StringEquals")])
def test_session_name_is_restricted_along_with_audience_and_subject(
    variables_only: dict[str, Workspace], name: str, operator: str
) -> None:
    policy = apply_role(variables_only["workload-role"], session_name_patterns=[name])
    assert policy["Statement"][0]["Condition"] == {
        operator: {
            "oidc.example/blue:aud": ["sts.amazonaws.com"],
            "oidc.example/blue:sub": ["system:serviceaccount:payments:api"],
            "sts:RoleSessionName": [name],
        },
    }


@needs_terraform
def test_each_cluster_has_a_statement_and_can_have_its_own_subjects(variables_only: dict[str, Workspace]) -> None:
    green = {
        "issuer_url": "https://oidc.example/green",
        "provider_arn": "arn:aws-cn:iam::123456789012:oidc-provider/oidc.example/green",
        "service_accounts": [{"namespace": "pay", "name": "api"}],
    }
    statements = apply_role(variables_only["workload-role"], clusters={"blue": BLUE, "green": green})["Statement"]
    assert [one["Sid"] for one in statements] == ["TrustClusterBlue", "TrustClusterGreen"]
    assert statements[1]["Principal"] == {"Federated": green["provider_arn"]}
    assert statements[1]["Condition"] == {
        "StringEquals": {
            "oidc.example/green:aud": ["sts.amazonaws.com"],
            "oidc.example/green:sub": ["system:serviceaccount:pay:api"],
        }
    }


@needs_terraform
def test_chained_role_without_requirements_has_one_statement_without_condition(
    variables_only: dict[str, Workspace],
) -> None:
    (statement,) = apply_role(variables_only["workload-role"], **chain())["Statement"]
    assert statement == {
        "Sid": "TrustChain",
        "Effect": "Allow",
        "Principal": {"AWS": [APP]},
        "Action": "sts:AssumeRole",
        "Condition": {},
    }


@needs_terraform
def test_chained_role_restricts_each_action_with_its_own_keys(variables_only: dict[str, Workspace]) -> None:
    requirements = chain(
        external_id="example-7f3d",
        required_tags={"team": "blue"},
        optional_tag_keys=["stage"],
        source_identities=["a1"],
    )
    policy = apply_role(variables_only["workload-role"], **requirements, session_name_patterns=["payments.*"])
    assert {one["Action"]: one["Condition"] for one in policy["Statement"]} == {
        "sts:AssumeRole": {
            "StringEquals": {"sts:ExternalId": "example-7f3d", "aws:RequestTag/team": "blue"},
            "StringLike": {"sts:RoleSessionName": ["payments.*"]},
        },
        "sts:TagSession": {"ForAllValues:StringEquals": {"aws:TagKeys": ["team", "stage"]}},
        "sts:SetSourceIdentity": {"StringEquals": {"sts:SourceIdentity": ["a1"]}},
    }
