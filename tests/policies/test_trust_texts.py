"""The trust statements in iam-policies/ allow exactly their identities, and no similar ones."""

from __future__ import annotations

from typing import Any

import pytest

from broker.policy.trust_policy import Caller, evaluate, federated
from tests.policies.templates import EXAMPLE, ROLE, policy, template

PROVIDER, AUDIENCE, SUBJECT = EXAMPLE["provider_arn"], "sts.amazonaws.com", "system:serviceaccount:payments:api"
EXACT, NAMED = template("trust/statement"), template("trust/statement-session-name")
PATTERN: dict[str, Any] = {"operator": "StringLike", "session_names": ["payments.*"]}
FULL: dict[str, Any] = {"session_names": ["payments.api-1"]}
WHOLE = {"operator": "StringLike", "subjects": ["system:serviceaccount:payments:*"]}


def is_allowed(document: dict[str, Any], provider: str = PROVIDER, **context: str | None) -> bool:
    """Return whether a policy allows a token. `context` replaces values of the right token; None removes one."""
    values = {"aud": AUDIENCE, "sub": SUBJECT, "name": "payments.api-1", **context}
    keys = {"aud": "oidc.example/blue:aud", "sub": "oidc.example/blue:sub", "name": "sts:RoleSessionName"}
    found = {keys[short]: [value] for short, value in values.items() if value is not None}
    return evaluate(document, caller=federated(provider), action="sts:AssumeRoleWithWebIdentity", context=found).allowed


@pytest.mark.parametrize(
    "document",
    [policy(EXACT), policy(NAMED, **PATTERN), policy(NAMED, **FULL), policy(EXACT, **WHOLE)],
    ids=["exact", "pattern", "full", "whole"],
)
@pytest.mark.parametrize(
    ("changes", "allowed"),
    [
        ({}, True),
        ({"aud": "sts.amazonaws.com.cn"}, False),
        ({"aud": None}, False),
        ({"sub": None}, False),
        ({"sub": "system:serviceaccount:payments2:api"}, False),
        ({"sub": "system:serviceaccount:demo:api"}, False),
        ({"sub": "system:serviceaccount:Payments:api"}, False),
        ({"provider": f"{PROVIDER}2"}, False),
        ({"provider": PROVIDER.replace("oidc.example", "oidc.example.evil")}, False),
    ],
)
def test_cluster_statement_restricts_issuer_audience_and_subject(
    document: dict[str, Any], changes: dict[str, Any], *, allowed: bool
) -> None:
    assert is_allowed(document, **changes) is allowed


def test_other_service_account_is_allowed_only_with_a_namespace_wildcard() -> None:
    for name in ("api2", "ap", "default", "api:x", "*"):
        subject = f"system:serviceaccount:payments:{name}"
        assert not is_allowed(policy(EXACT), sub=subject)
        assert not is_allowed(policy(NAMED, **PATTERN), sub=subject)
        assert is_allowed(policy(EXACT, **WHOLE), sub=subject)


def test_session_name_must_match_a_configured_pattern() -> None:
    assert is_allowed(policy(EXACT), name="anything")
    for named in (policy(NAMED, **PATTERN), policy(NAMED, **FULL)):
        for name in ("anything", "payments2.api-1", None):
            assert not is_allowed(named, name=name)
    assert not is_allowed(policy(NAMED, **FULL), name="payments.api-2")


@pytest.mark.parametrize(
    ("name", "action", "context", "allowed"),
    [
        ("chained-assume", "sts:AssumeRole", {"sts:ExternalId": ["example-7f3d"]}, True),
        ("chained-assume", "sts:AssumeRole", {"sts:ExternalId": ["example-7f3e"]}, False),
        ("chained-assume", "sts:AssumeRole", {}, False),
        ("chained-assume", "sts:TagSession", {"sts:ExternalId": ["example-7f3d"]}, False),
        ("chained-tag", "sts:TagSession", {"aws:TagKeys": ["team"]}, True),
        ("chained-tag", "sts:TagSession", {"aws:TagKeys": ["team", "secret"]}, False),
        ("chained-source-identity", "sts:SetSourceIdentity", {"sts:SourceIdentity": ["app"]}, True),
        ("chained-source-identity", "sts:SetSourceIdentity", {"sts:SourceIdentity": ["app2"]}, False),
    ],
)
def test_chained_statement_allows_one_action_by_its_own_keys(
    name: str, action: str, context: dict[str, list[str]], *, allowed: bool
) -> None:
    document = policy(template(f"trust/{name}"))
    for caller, is_right in ((ROLE, True), (f"{ROLE}2", False)):
        decision = evaluate(document, caller=Caller(kind="AWS", names=(caller,)), action=action, context=context)
        assert decision.allowed is (allowed and is_right)
