"""Statements, principals and actions are evaluated as AWS documents it: one case for each documented rule.

The sources are pages of the IAM User Guide, as in `test_evaluator_table`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from broker.policy.trust_policy import Caller, evaluate, federated

PROVIDER = "arn:aws:iam::123456789012:oidc-provider/oidc.example/c"
ALLOWED, DENIED = True, False
ACTION = "sts:AssumeRoleWithWebIdentity"
SUB = "oidc.example/c:sub"
APP, OTHER = "system:serviceaccount:demo:app", "system:serviceaccount:demo:other"
TOKEN = {SUB: [APP], "oidc.example/c:aud": ["sts.amazonaws.com"], "sts:RoleSessionName": ["demo.app"]}
ROLE = "arn:aws:iam::123456789012:role/team/app"


def one(operator: str, value: object, key: str = SUB) -> dict[str, dict[str, Any]]:
    return {operator: {key: value}}


class PolicyCase(NamedTuple):
    """Statements, whether they allow the token, and the source of the rule. Each is an Allow for it with changes."""

    name: str
    statements: list[dict[str, Any]]
    allowed: bool
    source: str


DENY = {"Effect": "Deny"}
POLICY_CASES = [
    PolicyCase("no statement", [], DENIED, "EVALUATION: denied by default"),
    PolicyCase("an Allow", [{}], ALLOWED, "EVALUATION: an Allow"),
    PolicyCase("Deny after Allow", [{}, DENY], DENIED, "EVALUATION: an explicit Deny overrides"),
    PolicyCase("Deny before Allow", [DENY, {}], DENIED, "EVALUATION: the order does not matter"),
    PolicyCase("Deny alone", [DENY], DENIED, "EVALUATION: a Deny allows nothing"),
    PolicyCase(
        "Deny whose condition does not hold",
        [{}, {**DENY, "Condition": one("StringEquals", OTHER)}],
        ALLOWED,
        "EVALUATION",
    ),
    PolicyCase(
        "Deny of an absent key, negated",
        [{}, {**DENY, "Condition": one("StringNotEquals", "x", "a:b")}],
        DENIED,
        "OPERATORS",
    ),
    PolicyCase("Deny of another action", [{}, {**DENY, "Action": "sts:TagSession"}], ALLOWED, "EVALUATION"),
    PolicyCase(
        "Deny of another principal", [{}, {**DENY, "Principal": {"Federated": PROVIDER + "2"}}], ALLOWED, "EVALUATION"
    ),
    PolicyCase(
        "Deny of everybody", [{}, {**DENY, "Principal": "*"}], DENIED, "PRINCIPAL: a wildcard is all principals"
    ),
    PolicyCase(
        "Deny of AWS *",
        [{}, {**DENY, "Principal": {"AWS": "*"}}],
        DENIED,
        "our choice: a Deny of * may include every caller",
    ),
    PolicyCase(
        "Deny of Federated *", [{}, {**DENY, "Principal": {"Federated": ["*"]}}], DENIED, "our choice, as above"
    ),
    PolicyCase("Deny of Service *", [{}, {**DENY, "Principal": {"Service": "*"}}], ALLOWED, "PRINCIPAL: another kind"),
    PolicyCase("Allow of everybody", [{"Principal": "*"}], DENIED, "our choice: an Allow of * names no provider"),
    PolicyCase(
        "two Allows, one matches",
        [{"Condition": one("StringEquals", OTHER)}, {}],
        ALLOWED,
        "EVALUATION: one Allow is enough",
    ),
    PolicyCase(
        "action in other case", [{"Action": "STS:assumerolewithwebidentity"}], ALLOWED, "ACTION: not case-sensitive"
    ),
    PolicyCase("action with *", [{"Action": "sts:Assume*"}], ALLOWED, "ACTION: wildcards"),
    PolicyCase("action with ?", [{"Action": "sts:AssumeRoleWithWebIdentit?"}], ALLOWED, "ACTION: wildcards"),
    PolicyCase("a shorter action", [{"Action": "sts:AssumeRole"}], DENIED, "ACTION: exact but for wildcards"),
    PolicyCase("one of several actions", [{"Action": ["sts:TagSession", ACTION]}], ALLOWED, "ACTION: a list"),
    PolicyCase(
        "NotAction of another", [{"Action": None, "NotAction": "sts:TagSession"}], ALLOWED, "NOTACTION: all but these"
    ),
    PolicyCase("NotAction of this", [{"Action": None, "NotAction": "sts:Assume*"}], DENIED, "NOTACTION: all but these"),
    PolicyCase(
        "another provider", [{"Principal": {"Federated": PROVIDER + "/d"}}], DENIED, "PRINCIPAL: exact, no wildcards"
    ),
    PolicyCase(
        "provider with *", [{"Principal": {"Federated": PROVIDER[:-1] + "*"}}], DENIED, "PRINCIPAL: exact, no wildcards"
    ),
    PolicyCase(
        "one of several providers",
        [{"Principal": {"Federated": ["x", PROVIDER]}}],
        ALLOWED,
        "PRINCIPAL: the values of a list are ORed",
    ),
    PolicyCase("AWS principals", [{"Principal": {"AWS": "*"}}], DENIED, "PRINCIPAL: AWS is another kind"),
]


@pytest.mark.parametrize("case", POLICY_CASES, ids=lambda case: case.name)
def test_policy_is_evaluated_as_aws_documents_it(case: PolicyCase) -> None:
    good = {"Effect": "Allow", "Principal": {"Federated": PROVIDER}, "Action": ACTION}
    statements = [
        {name: value for name, value in {**good, **changes}.items() if value is not None} for changes in case.statements
    ]
    decision = evaluate({"Statement": statements}, caller=federated(PROVIDER), action=ACTION, context=TOKEN)
    assert decision.allowed is case.allowed, case.source


@pytest.mark.parametrize(
    ("principal", "allowed"),
    [
        (ROLE, True),
        ("arn:aws:iam::123456789012:root", True),
        ("123456789012", True),
        ("*", True),
        ("arn:aws:iam::123456789012:role/team/*", False),
        ("arn:aws:iam::210987654321:root", False),
    ],
)
def test_aws_principal_is_matched_as_documented(principal: str, *, allowed: bool) -> None:
    """PRINCIPAL: the account as ARN or number, the role, everybody; a wildcard inside an ARN matches nothing."""
    caller = Caller(kind="AWS", names=(ROLE, "arn:aws:iam::123456789012:root", "123456789012", "*"))
    statement = {"Effect": "Allow", "Principal": {"AWS": principal}, "Action": "sts:AssumeRole"}
    decision = evaluate({"Statement": statement}, caller=caller, action="sts:AssumeRole", context={})
    assert decision.allowed is allowed


@pytest.mark.parametrize(
    "changes",
    [{"Conditions": {}}, {"Condition": {"Bool": {SUB: "maybe"}}}, {"Condition": {"Bool": {SUB: ["true", "x"]}}}],
)
def test_unsupported_element_never_allows_and_always_denies(changes: dict[str, Any]) -> None:
    good = {"Effect": "Allow", "Principal": {"Federated": PROVIDER}, "Action": ACTION}
    for statements in ([{**good, **changes}], [good, {**good, "Effect": "Deny", **changes}]):
        decision = evaluate({"Statement": statements}, caller=federated(PROVIDER), action=ACTION, context=TOKEN)
        assert not decision.allowed
