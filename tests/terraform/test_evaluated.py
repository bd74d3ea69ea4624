"""Modules and examples evaluated by tfparse, which needs no terraform program.

tfparse renders no template from outside a module, so policies are tested elsewhere: in tests/policies and, with
terraform, in plans.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import tfparse
import yaml

from tests.terraform.workspace import EXAMPLES, MODULES, ROOT

if TYPE_CHECKING:
    from pathlib import Path

ISSUER = "https://oidc.example/blue"
BLUE = {"issuer_url": ISSUER, "provider_arn": "arn:aws:iam::123456789012:oidc-provider/oidc.example/blue"}
API = {"namespace": "payments", "name": "api"}
ROLE: dict[str, Any] = {
    "name": "payments-api",
    "region": "eu-west-1",
    "clusters": {"blue": BLUE},
    "service_accounts": [API],
}
CHAINED: dict[str, Any] = {
    **ROLE,
    "clusters": {},
    "chained_from": {
        "role_arns": ["arn:aws:iam::123456789012:role/app"],
        "external_id": "example-7f3d",
        "required_tags": {"team": "blue"},
        "source_identities": ["app", "other"],
    },
}
GIVEN: dict[str, dict[str, Any]] = {
    "cross-account-chain": {"issuer_url": ISSUER, "partner_account_id": "210987654321", "external_id": "example-7f3d"},
    "eks": {"issuer_url": ISSUER},
    "multi-cluster": {"issuer_urls": {"blue": ISSUER}, "queue_arns": [], "key_arns": []},
    "openshift": {"bucket_name": "issuer-blue", "jwks_file": "tests/jwks.json"},
    "outbound": {"issuer_url": ISSUER, "audience": "https://vault.example"},
}
ROLES = {
    "cross-account-chain": {"module.app": "payments-api", "module.partner": "payments-partner"},
    "eks": {"module.role": "payments-api"},
    "multi-cluster": {"module.role": "orders-worker"},
    "openshift": {"module.role": "payments-api"},
    "outbound": {"module.role": "payments-api"},
}


def evaluate_root(tree: Path, directory: Path, variables: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Return the blocks of a root module by type, with these variables."""
    copy = tree / directory.relative_to(ROOT)
    (copy / "given.tfvars.json").write_text(json.dumps(variables))
    found: dict[str, list[dict[str, Any]]] = tfparse.load_from_path(
        copy, stop_on_hcl_error=True, vars_paths=["given.tfvars.json"]
    )
    return found


def evaluate_module(tree: Path, name: str, /, **variables: Any) -> dict[str, list[dict[str, Any]]]:  # noqa: ANN401 - HCL values
    (directory,) = (one for one in MODULES if one.name == name)
    return evaluate_root(tree, directory, variables)


def find_local(blocks: dict[str, list[dict[str, Any]]], name: str) -> Any:  # noqa: ANN401 - an HCL value
    (value,) = (block[name] for block in blocks["locals"] if name in block)
    return value


def find_output(blocks: dict[str, list[dict[str, Any]]], name: str) -> Any:  # noqa: ANN401 - an HCL value
    (value,) = (one["value"] for one in blocks["output"] if one["__tfmeta"]["path"] == f"output.{name}")
    return value


@pytest.mark.parametrize("root", EXAMPLES, ids=lambda path: path.name)
def test_example_role_has_the_modules_trust_policy_and_the_guarded_path(tree: Path, root: Path) -> None:
    roles = evaluate_root(tree, root, GIVEN[root.name])["aws_iam_role"]
    assert {one["__tfmeta"]["path"].removesuffix(".aws_iam_role.this"): one["name"] for one in roles} == ROLES[
        root.name
    ]
    assert all("local.trust_policy" in one["assume_role_policy"] for one in roles)
    assert {(one["path"], one["max_session_duration"]) for one in roles} == {("/workload/", 3600)}


@pytest.mark.parametrize(
    ("changes", "subjects"),
    [
        ({}, {"blue": ["payments:api"]}),
        ({"service_accounts": [API, API, {**API, "name": "b"}]}, {"blue": ["payments:api", "payments:b"]}),
        ({"clusters": {"blue": {**BLUE, "service_accounts": [{**API, "name": "own"}]}}}, {"blue": ["payments:own"]}),
        (
            {"namespaces_whose_every_service_account_is_trusted": ["payments"], "service_accounts": []},
            {"blue": ["payments:*"]},
        ),
    ],
)
def test_subjects_are_the_named_service_accounts(
    tree: Path, changes: dict[str, Any], subjects: dict[str, list[str]]
) -> None:
    blocks = evaluate_module(tree, "workload-role", **{**ROLE, **changes})
    prefix = "system:serviceaccount:"
    assert find_local(blocks, "subjects") == {name: [prefix + one for one in found] for name, found in subjects.items()}


def test_broker_settings_contain_what_differs_from_the_defaults(tree: Path) -> None:
    plain = evaluate_module(tree, "workload-role", **ROLE)
    (arn,) = (one["id"] for one in plain["aws_iam_role"])
    assert find_output(plain, "broker_environment") == {"AWS_ROLE_ARN": arn, "AWS_REGION": "eu-west-1"}
    pasted = yaml.safe_load(find_output(plain, "broker_container_env"))
    assert pasted == [{"name": "AWS_REGION", "value": "eu-west-1"}, {"name": "AWS_ROLE_ARN", "value": arn}]
    changes = {"audience": "openshift", "session_seconds": 1800, "profile_name": "default"}
    changed = evaluate_module(tree, "workload-role", **ROLE, **changes)
    environment = find_output(changed, "broker_environment")
    assert (environment["BROKER_AUDIENCE"], environment["BROKER_DURATION_SECONDS"]) == ("openshift", "1800")
    (profile,) = yaml.safe_load(find_output(changed, "broker_profile"))
    assert {**profile, "role_arn": ""} == {
        "name": "default",
        "role_arn": "",
        "region": "eu-west-1",
        "audience": "openshift",
        "duration_seconds": 1800,
    }


def test_chained_role_requires_external_id_and_tags_and_its_profile_has_them(tree: Path) -> None:
    blocks = evaluate_module(tree, "workload-role", **CHAINED)
    assert find_local(blocks, "chain_conditions") == [{"sts:ExternalId": "example-7f3d", "aws:RequestTag/team": "blue"}]
    assert find_output(blocks, "broker_environment") == {}
    assert find_output(blocks, "broker_container_env") == ""
    for name, nothing in {"inject_options": "", "pod_annotations": {}, "component_env": ""}.items():
        assert find_output(blocks, name) == nothing
    (profile,) = yaml.safe_load(find_output(blocks, "broker_profile"))
    settings = {name: profile[name] for name in ("source_profile", "external_id", "tags", "source_identity")}
    assert settings == {
        "source_profile": "default",
        "external_id": "example-7f3d",
        "tags": {"team": "blue"},
        "source_identity": "app",
    }


def test_provider_has_one_audience_and_no_thumbprint_by_default(tree: Path) -> None:
    (provider,) = evaluate_module(tree, "oidc-provider", issuer_url=ISSUER)["aws_iam_openid_connect_provider"]
    assert (provider["url"], provider["client_id_list"], provider["thumbprint_list"]) == (
        ISSUER,
        ["sts.amazonaws.com"],
        None,
    )


@pytest.mark.parametrize(("access", "is_private"), [("public", False), ("cloudfront", True)])
def test_bucket_is_public_only_with_public_access(tree: Path, access: str, *, is_private: bool) -> None:
    key = {"kty": "RSA", "kid": "a", "alg": "RS256", "n": "x" * 342, "e": "AQAB", "x5t": "not for publication"}
    blocks = evaluate_module(tree, "self-hosted-issuer", bucket_name="issuer-blue", access=access, signing_keys=[key])
    (block,) = blocks["aws_s3_bucket_public_access_block"]
    assert (block["block_public_policy"], block["restrict_public_buckets"]) == (is_private, is_private)
    assert (block["block_public_acls"], block["ignore_public_acls"]) == (True, True)
    assert len(blocks.get("aws_cloudfront_distribution", [])) == is_private
    published = json.loads(find_local(blocks, "keys_document"))["keys"]
    assert published == [{name: value for name, value in {**key, "use": "sig"}.items() if name != "x5t"}]
