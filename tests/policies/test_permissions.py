"""The templates in iam-policies/ have one format, are explained, use existing actions, and grant what they describe."""

from __future__ import annotations

import json
import re
import warnings
from typing import TYPE_CHECKING, Any

import pytest
from policy_sentry.querying.actions import get_actions_for_service
from policy_sentry.querying.all import get_all_service_prefixes

from broker.policy.conditions import find_failures
from sandbox.aws.permissions import Needed, Permissions
from tests.policies.templates import (
    BUCKET,
    EXAMPLE,
    FOLDERS,
    PARTNER,
    PLACEHOLDER,
    ROLE,
    TEMPLATES,
    policy,
    rendered,
    template,
)

if TYPE_CHECKING:
    from pathlib import Path

each_template = pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name.removesuffix(".json.tftpl"))
each_folder = pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
IDENTITY = [path for path in TEMPLATES if path.parent.name in ("permissions", "boundaries")]
MAXIMUM_CHARACTERS = {"boundaries": 6144, "guardrails": 5120, "issuer": 20_480, "permissions": 10_240, "trust": 2048}

ACCEPTED_FINDINGS = {"RESOURCE_STAR"}
"""A boundary grants nothing: it lists services, and leaves resources to the roles' policies."""

UNKNOWN_TO_PARLIAMENT = {"web-identity-token.json.tftpl": {"UNKNOWN_ACTION"}}
"""An action of November 2025, which parliament's data lack. policy-sentry knows it."""


def sids(path: Path) -> list[str]:
    return [statement["Sid"] for statement in policy(path, sid="`sid`")["Statement"]]


@each_template
def test_template_has_plain_placeholders_and_one_format(path: Path) -> None:
    text = path.read_text()
    assert "%{" not in text
    assert "$${" not in text
    assert text.count("${") == len(PLACEHOLDER.findall(text))
    names = PLACEHOLDER.sub(lambda found: json.dumps(found[1]), text)
    assert names == json.dumps(json.loads(names), indent=2, ensure_ascii=False) + "\n"


@each_template
def test_filled_template_fits_the_quota_of_aws(path: Path) -> None:
    document = policy(path)
    assert document["Version"] == "2012-10-17"
    assert len(json.dumps(document, separators=(",", ":"))) <= MAXIMUM_CHARACTERS[path.parent.name]


@each_folder
def test_readme_explains_exactly_the_existing_statements(folder: Path) -> None:
    text = (folder / "README.md").read_text()
    sections = {part.split("\n", 1)[0].strip("`"): part for part in text.split("\n## ")[1:]}
    there = {sid.strip("`") for path in folder.glob("*.tftpl") for sid in sids(path)}
    assert set(sections) == there
    for sid, section in sections.items():
        assert "**Why.**" in section, sid
        assert "**Change it**" in section, sid


@each_folder
def test_readme_lists_each_file_with_its_placeholders(folder: Path) -> None:
    rows = re.findall(r"^\| `([\w.-]+)` \|(.*)\|$", (folder / "README.md").read_text(), re.MULTILINE)
    assert {name for name, _ in rows} == {path.name for path in folder.glob("*.tftpl")}
    before: set[str] = set()
    for name, row in rows:
        named = {word for word in re.findall(r"`(\w+)`", row) if word in EXAMPLE}
        without = set(re.findall(r"without `(\w+)`", row))
        inherited = before - without if "as above" in row else set()
        assert (named - without) | inherited == set(PLACEHOLDER.findall((folder / name).read_text())), name
        before = (named - without) | inherited


@each_folder
def test_json_in_the_readme_is_valid(folder: Path) -> None:
    for text in re.findall(r"`([\[{][^`]*[\]}])`", (folder / "README.md").read_text()):
        json.loads(text)


@each_template
def test_each_action_exists(path: Path) -> None:
    for statement in policy(path)["Statement"]:
        actions = statement["Action"]
        for action in [actions] if isinstance(actions, str) else actions:
            service, name = action.split(":")
            known = {one.lower() for one in get_actions_for_service(service)}
            assert service in get_all_service_prefixes(), action
            assert name == "*" or action.lower() in known, action


@pytest.mark.parametrize("path", IDENTITY, ids=lambda path: path.name.removesuffix(".json.tftpl"))
def test_parliament_has_no_findings_on_identity_policies(path: Path) -> None:
    findings = {finding.issue for finding in analyze(rendered(path)).findings}
    accepted = ACCEPTED_FINDINGS if path.parent.name == "boundaries" else set()
    assert findings <= (accepted | UNKNOWN_TO_PARLIAMENT.get(path.name, set()))


def analyze(text: str) -> Any:  # noqa: ANN401 - parliament has no types
    """Return the analysis of a policy by parliament."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it leaves files open and imports deprecated modules
        import parliament  # noqa: PLC0415 - import it with warnings off

        return parliament.analyze_policy_string(text, ignore_private_auditors=True)


def test_parliament_finds_a_misspelled_action() -> None:
    text = rendered(template("permissions/s3-prefix")).replace("s3:GetObject", "s3:GetObjekt")
    assert [finding.issue for finding in analyze(text).findings] == ["UNKNOWN_ACTION"]


def is_allowed(name: str, action: str, resource: str, **context: str) -> bool:
    """Return whether a role with only this policy is allowed the action."""
    held = Permissions(identity=(rendered(template(name)),))
    return held.refusal(Needed.ALLOW, action=action, resource=resource, context=keys(context)) is None


def keys(context: dict[str, str]) -> dict[str, list[str]]:
    """Return condition keys from keyword arguments: `s3__prefix` becomes `s3:prefix`."""
    return {key.replace("__", ":"): [value] for key, value in context.items()}


@pytest.mark.parametrize(
    ("name", "action", "resource", "context", "allowed"),
    [
        ("s3-prefix", "s3:GetObject", f"{BUCKET}/payments/a", {}, True),
        ("s3-prefix", "s3:GetObject", f"{BUCKET}/payroll/a", {}, False),
        ("s3-prefix", "s3:GetObject", f"{BUCKET}/payments", {}, False),
        ("s3-prefix", "s3:PutObjectAcl", f"{BUCKET}/payments/a", {}, False),
        ("s3-prefix", "s3:ListBucket", BUCKET, {"s3__prefix": "payments/"}, True),
        ("s3-prefix", "s3:ListBucket", BUCKET, {"s3__prefix": "payroll/"}, False),
        ("s3-prefix", "s3:ListBucket", BUCKET, {}, False),
        ("sqs-consumer", "sqs:ReceiveMessage", EXAMPLE["queue_arns"][0], {}, True),
        ("sqs-consumer", "sqs:ReceiveMessage", f"{EXAMPLE['queue_arns'][0]}-dead", {}, False),
        ("sqs-consumer", "sqs:SendMessage", EXAMPLE["queue_arns"][0], {}, False),
        ("kms-decrypt", "kms:Decrypt", EXAMPLE["key_arns"][0], {"kms__ViaService": "s3.eu-west-1.amazonaws.com"}, True),
        (
            "kms-decrypt",
            "kms:Decrypt",
            EXAMPLE["key_arns"][0],
            {"kms__ViaService": "s3.us-east-1.amazonaws.com"},
            False,
        ),
        ("kms-decrypt", "kms:Decrypt", EXAMPLE["key_arns"][0], {}, False),
        ("cross-account-assume", "sts:AssumeRole", PARTNER, {}, True),
        ("cross-account-assume", "sts:TagSession", PARTNER, {}, True),
        ("cross-account-assume", "sts:AssumeRole", f"{PARTNER}2", {}, False),
    ],
)
def test_permission_policy_allows_only_what_it_describes(
    name: str, action: str, resource: str, context: dict[str, str], allowed: bool
) -> None:
    assert is_allowed(f"permissions/{name}", action, resource, **context) is allowed


@pytest.mark.parametrize(
    ("audiences", "seconds", "allowed"),
    [
        (["https://vault.example"], "300", True),
        (["https://vault.example"], "60", True),
        (["https://vault.example"], "301", False),
        (["https://other.example"], "300", False),
        (["https://vault.example", "https://other.example"], "300", False),
        ([], "300", False),
    ],
)
def test_token_policy_allows_only_its_audiences_and_lifetimes(
    audiences: list[str], seconds: str, allowed: bool
) -> None:
    held = Permissions(identity=(rendered(template("permissions/web-identity-token")),))
    context = {"sts:IdentityTokenAudience": audiences, "sts:DurationSeconds": [seconds]}
    refusal = held.refusal(Needed.ALLOW, action="sts:GetWebIdentityToken", resource="*", context=context)
    assert (refusal is None) is allowed


@pytest.mark.parametrize(
    ("action", "resource", "allowed"),
    [
        ("s3:GetObject", f"{BUCKET}/a", True),
        ("ec2:RunInstances", "*", False),
        ("iam:CreateRole", ROLE, False),
        ("sts:AssumeRole", PARTNER, True),
        ("sts:AssumeRole", "arn:aws:iam::999999999999:role/partner", False),
        ("sts:GetSessionToken", "*", False),
    ],
)
def test_boundary_limits_a_role_with_all_permissions(action: str, resource: str, allowed: bool) -> None:
    everything = '{"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}'
    held = Permissions(identity=(everything,), boundary=(rendered(template("boundaries/broker-role")),))
    assert (held.refusal(Needed.ALLOW, action=action, resource=resource, context={}) is None) is allowed


def test_boundary_applies_where_a_trust_policy_names_the_session() -> None:
    held = Permissions(boundary=(rendered(template("boundaries/broker-role")),))
    elsewhere = "arn:aws:iam::123456789012:role/admin"
    refusal = held.refusal(Needed.NO_DENY, action="sts:AssumeRole", resource=elsewhere, context={})
    assert refusal is not None
    assert "DenyChainingElsewhere" in refusal


def is_denied(name: str, action: str, resource: str, **context: str) -> bool:
    """Return whether a guardrail denies an action that everything else allows."""
    text = rendered(template(f"guardrails/{name}"))
    held = Permissions(identity=('{"Statement": []}',), session=(text,))
    refusal = held.refusal(Needed.NO_DENY, action=action, resource=resource, context=keys(context))
    return refusal is not None


INFRA, OTHER_ROLE = "arn:aws:iam::123456789012:role/infra/deploy", "arn:aws:iam::123456789012:role/dev"
PROVIDERS = "arn:aws:iam::123456789012:oidc-provider"


@pytest.mark.parametrize(
    ("action", "resource", "principal", "refused"),
    [
        ("iam:CreateOpenIDConnectProvider", f"{PROVIDERS}/oidc.example/blue", INFRA, False),
        ("iam:CreateOpenIDConnectProvider", f"{PROVIDERS}/oidc.example/blue", OTHER_ROLE, True),
        ("iam:CreateOpenIDConnectProvider", f"{PROVIDERS}/oidc.example.evil/blue", INFRA, True),
        ("iam:AddClientIDToOpenIDConnectProvider", f"{PROVIDERS}/oidc.example/blue", OTHER_ROLE, True),
        ("iam:UpdateAssumeRolePolicy", ROLE, INFRA, False),
        ("iam:UpdateAssumeRolePolicy", ROLE, OTHER_ROLE, True),
        ("iam:UpdateAssumeRolePolicy", ROLE, "arn:aws:iam::123456789012:role/infra/deploy2", True),
        ("iam:UpdateAssumeRolePolicy", "arn:aws:iam::123456789012:role/own", OTHER_ROLE, False),
        ("iam:GetRole", ROLE, OTHER_ROLE, False),
    ],
)
def test_service_control_policy_allows_trust_changes_to_the_infra_role_only(
    action: str, resource: str, principal: str, refused: bool
) -> None:
    assert is_denied("scp-trust", action, resource, aws__PrincipalArn=principal) is refused


@pytest.mark.parametrize(
    ("context", "refused"),
    [
        ({"oidc.example/blue:sub": ["system:serviceaccount:a:b"]}, False),
        ({"oidc.example/green:sub": ["system:serviceaccount:a:b"]}, False),
        ({"oidc.example/red:sub": ["system:serviceaccount:a:b"]}, True),
        ({"oidc.example/blue/evil:sub": ["system:serviceaccount:a:b"]}, True),
        ({}, True),
    ],
)
def test_resource_control_policy_admits_tokens_of_own_issuers_only(
    context: dict[str, list[str]], refused: bool
) -> None:
    tokens, _ = policy(template("guardrails/rcp-issuers"))["Statement"]
    assert (find_failures(tokens["Condition"], context) == ()) is refused


@pytest.mark.parametrize(
    ("organization", "account", "refused"),
    [
        ("o-example123", "123456789012", False),
        ("o-stranger99", "999999999999", True),
        ("o-stranger99", "210987654321", False),
        ("", "999999999999", True),
    ],
)
def test_resource_control_policy_admits_organization_and_partners_only(
    organization: str, account: str, refused: bool
) -> None:
    _, strangers = policy(template("guardrails/rcp-issuers"))["Statement"]
    context = {"aws:PrincipalOrgID": [organization] if organization else [], "aws:PrincipalAccount": [account]}
    operators = {name: block for name, block in strangers["Condition"].items() if name != "BoolIfExists"}
    assert (find_failures(operators, context) == ()) is refused
    assert strangers["Condition"]["BoolIfExists"] == {"aws:PrincipalIsAWSService": "false"}
