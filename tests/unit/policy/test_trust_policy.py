"""The trust policy evaluator: decisions, and the reasons that it reports."""

from __future__ import annotations

import json
from typing import Any

import pytest

from broker.policy.trust_policy import Caller, Decision, PolicyMalformedError, evaluate, federated

PROVIDER = "arn:aws:iam::123456789012:oidc-provider/oidc.example/c"
ACTION = "sts:AssumeRoleWithWebIdentity"
CONTEXT = {
    "oidc.example/c:aud": ["sts.amazonaws.com"],
    "oidc.example/c:sub": ["system:serviceaccount:demo:app"],
    "sts:RoleSessionName": ["demo.app"],
}


def statement(**changes: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON values
    good = {
        "Effect": "Allow",
        "Principal": {"Federated": PROVIDER},
        "Action": ACTION,
        "Condition": {"StringEquals": {"oidc.example/c:sub": "system:serviceaccount:demo:app"}},
    }
    return {name: value for name, value in {**good, **changes}.items() if value is not None}


def decide(*statements: dict[str, Any], action: str = ACTION) -> Decision:
    policy = {"Version": "2012-10-17", "Statement": list(statements)}
    return evaluate(policy, caller=federated(PROVIDER), action=action, context=CONTEXT)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"Principal": {"Federated": ["arn:other", PROVIDER]}},
        {"Action": ["sts:TagSession", "sts:assumerolewithWEBidentity"]},
        {"Action": "sts:*"},
        {"Action": "sts:AssumeRole*"},
        {"Action": "sts:AssumeRoleWithWebIdentit?"},
        {"Action": None, "NotAction": "sts:TagSession"},
        {"Condition": {}},
        {"Condition": None},
        {"Condition": {"StringEquals": {"OIDC.example/C:SUB": ["x", "system:serviceaccount:demo:app"]}}},
        {"Condition": {"StringLike": {"oidc.example/c:sub": "system:*:demo:a?p"}}},
    ],
)
def test_matching_statement_allows(changes: dict[str, Any]) -> None:
    assert decide(statement(**changes)).allowed


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"Principal": {"Federated": "arn:other"}}, "Principal does not name Federated"),
        ({"Principal": {"Federated": "*"}}, "Principal does not name"),
        ({"Principal": "*"}, "Principal does not name"),
        ({"Principal": {"AWS": "*"}}, "Principal does not name"),
        ({"Principal": None}, "Principal does not name"),
        ({"Principal": None, "NotPrincipal": {"Federated": "arn:x"}}, "NotPrincipal is not supported"),
        ({"Action": "sts:AssumeRole"}, "Action does not cover"),
        ({"Action": None}, "Action does not cover"),
        ({"Action": None, "NotAction": "sts:*"}, "Action does not cover"),
        ({"Effect": "allow"}, "neither Allow nor Deny"),
        ({"Action": 7}, "Action has a value that isn't a string"),
        ({"Condition": "yes"}, "Condition isn't an object"),
        ({"Condition": {"StringEquals": "yes"}}, "isn't an object of condition keys"),
        ({"Condition": {"StringEquals": {"oidc.example/c:sub": 7}}}, "isn't a string"),
        ({"Condition": {"StringEquals": {"oidc.example/c:sub": "${aws:username}"}}}, "policy variable"),
        ({"Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}}, "IpAddress is not supported"),
        ({"Condition": {"Null": {"oidc.example/c:sub": "maybe"}}}, "Null accepts only true and false"),
        ({"Condition": {"StringEquals": {"oidc.example/c:sub": "system:*"}}}, "expected system:*, found system:"),
        ({"Condition": {"StringEquals": {"oidc.example/c:amr": "x"}}}, "expected x, found absent"),
    ],
)
def test_statement_that_does_not_apply_denies_with_the_reason(changes: dict[str, Any], reason: str) -> None:
    decision = decide(statement(**changes))
    assert not decision.allowed
    assert reason in decision.reason


def test_failed_condition_is_reported_with_expected_and_found_values() -> None:
    decision = decide(statement(Sid="Trust", Condition={"StringLike": {"oidc.example/c:sub": ["a", "b*"]}}))
    (result,) = decision.statements
    (failure,) = result.failures
    assert result.name == "Trust"
    assert (failure.operator, failure.key) == ("StringLike", "oidc.example/c:sub")
    assert failure.expected == ("a", "b*")
    assert failure.found == ("system:serviceaccount:demo:app",)


def test_all_conditions_must_match() -> None:
    condition = {"StringEquals": {"oidc.example/c:aud": "sts.amazonaws.com", "sts:RoleSessionName": "other"}}
    assert not decide(statement(Condition=condition)).allowed
    condition["StringEquals"]["sts:RoleSessionName"] = "demo.app"
    assert decide(statement(Condition=condition)).allowed


def test_explicit_deny_takes_precedence_in_any_order() -> None:
    deny = statement(Effect="Deny", Sid="No")
    for order in ([statement(), deny], [deny, statement()]):
        decision = decide(*order)
        assert not decision.allowed
        assert decision.reason.startswith("No denies")


def test_deny_that_does_not_match_has_no_effect() -> None:
    assert decide(statement(), statement(Effect="Deny", Action="sts:TagSession")).allowed


@pytest.mark.parametrize("changes", [{"Condition": {"IpAddress": {"aws:SourceIp": "1.2.3.4"}}}, {"NotPrincipal": "*"}])
def test_deny_that_is_not_understood_denies(changes: dict[str, Any]) -> None:
    assert not decide(statement(), statement(Effect="Deny", **changes)).allowed


def test_policy_without_statements_denies() -> None:
    assert decide().reason == "the policy has no statements"


def test_json_text_with_a_single_statement_is_evaluated() -> None:
    text = json.dumps({"Statement": statement()})
    assert evaluate(text, caller=federated(PROVIDER), action=ACTION, context=CONTEXT).allowed


@pytest.mark.parametrize("policy", ["{", "[]", "{}", '{"Statement": 7}', '{"Statement": ["x"]}'])
def test_malformed_policy_raises(policy: str) -> None:
    with pytest.raises(PolicyMalformedError):
        evaluate(policy, caller=federated(PROVIDER), action=ACTION, context=CONTEXT)


def test_bare_star_names_aws_callers_only() -> None:
    policy = {"Statement": statement(Principal="*", Action="sts:AssumeRole", Condition={})}
    caller = Caller(kind="AWS", names=("arn:aws:iam::1:user/a", "*"))
    assert evaluate(policy, caller=caller, action="sts:AssumeRole", context={}).allowed
