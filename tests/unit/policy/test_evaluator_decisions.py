"""What AWS documents of statements, principals and actions, case by case, against the one evaluator.

The sources are pages of the IAM User Guide, as in `test_evaluator_table`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from broker.policy.trust_policy import Caller, evaluate, federated

PROVIDER = "arn:aws:iam::123456789012:oidc-provider/oidc.example/c"
IN, OUT = True, False
ACTION = "sts:AssumeRoleWithWebIdentity"
SUB = "oidc.example/c:sub"
APP, OTHER = "system:serviceaccount:demo:app", "system:serviceaccount:demo:other"
TOKEN = {SUB: [APP], "oidc.example/c:aud": ["sts.amazonaws.com"], "sts:RoleSessionName": ["demo.app"]}
ROLE = "arn:aws:iam::123456789012:role/team/app"


def one(operator: str, value: object, key: str = SUB) -> dict[str, dict[str, Any]]:
    return {operator: {key: value}}


class Whole(NamedTuple):
    """Statements, whether they let the token in, and where AWS says so. Each is an Allow for it, changed."""

    name: str
    statements: list[dict[str, Any]]
    allowed: bool
    source: str


DENY = {"Effect": "Deny"}
WHOLES = [
    Whole("no statement", [], OUT, "EVALUATION: denied by default"),
    Whole("an Allow", [{}], IN, "EVALUATION: an Allow"),
    Whole("Deny after Allow", [{}, DENY], OUT, "EVALUATION: an explicit Deny overrides"),
    Whole("Deny before Allow", [DENY, {}], OUT, "EVALUATION: the order does not matter"),
    Whole("Deny alone", [DENY], OUT, "EVALUATION: a Deny allows nothing"),
    Whole(
        "Deny whose condition does not hold", [{}, {**DENY, "Condition": one("StringEquals", OTHER)}], IN, "EVALUATION"
    ),
    Whole(
        "Deny of an absent key, negated",
        [{}, {**DENY, "Condition": one("StringNotEquals", "x", "a:b")}],
        OUT,
        "OPERATORS",
    ),
    Whole("Deny of another action", [{}, {**DENY, "Action": "sts:TagSession"}], IN, "EVALUATION"),
    Whole("Deny of another principal", [{}, {**DENY, "Principal": {"Federated": PROVIDER + "2"}}], IN, "EVALUATION"),
    Whole("Deny of everybody", [{}, {**DENY, "Principal": "*"}], OUT, "PRINCIPAL: a wildcard is all principals"),
    Whole("Deny of AWS *", [{}, {**DENY, "Principal": {"AWS": "*"}}], OUT, "ours: whom a Deny of * means is feared"),
    Whole("Deny of Federated *", [{}, {**DENY, "Principal": {"Federated": ["*"]}}], OUT, "ours: likewise"),
    Whole("Deny of Service *", [{}, {**DENY, "Principal": {"Service": "*"}}], IN, "PRINCIPAL: another kind"),
    Whole("Allow of everybody", [{"Principal": "*"}], OUT, "ours: an Allow of * is no provider's"),
    Whole(
        "two Allows, one matches",
        [{"Condition": one("StringEquals", OTHER)}, {}],
        IN,
        "EVALUATION: one Allow is enough",
    ),
    Whole("action in other case", [{"Action": "STS:assumerolewithwebidentity"}], IN, "ACTION: not case-sensitive"),
    Whole("action with *", [{"Action": "sts:Assume*"}], IN, "ACTION: wildcards"),
    Whole("action with ?", [{"Action": "sts:AssumeRoleWithWebIdentit?"}], IN, "ACTION: wildcards"),
    Whole("a shorter action", [{"Action": "sts:AssumeRole"}], OUT, "ACTION: exact but for wildcards"),
    Whole("one of several actions", [{"Action": ["sts:TagSession", ACTION]}], IN, "ACTION: a list"),
    Whole("NotAction of another", [{"Action": None, "NotAction": "sts:TagSession"}], IN, "NOTACTION: all but these"),
    Whole("NotAction of this", [{"Action": None, "NotAction": "sts:Assume*"}], OUT, "NOTACTION: all but these"),
    Whole("another provider", [{"Principal": {"Federated": PROVIDER + "/d"}}], OUT, "PRINCIPAL: exact, no wildcards"),
    Whole(
        "provider with *", [{"Principal": {"Federated": PROVIDER[:-1] + "*"}}], OUT, "PRINCIPAL: exact, no wildcards"
    ),
    Whole("one of several providers", [{"Principal": {"Federated": ["x", PROVIDER]}}], IN, "PRINCIPAL: a list is ORed"),
    Whole("AWS principals", [{"Principal": {"AWS": "*"}}], OUT, "PRINCIPAL: AWS is another kind"),
]


@pytest.mark.parametrize("whole", WHOLES, ids=lambda whole: whole.name)
def test_policy_is_evaluated_as_aws_documents_it(whole: Whole) -> None:
    good = {"Effect": "Allow", "Principal": {"Federated": PROVIDER}, "Action": ACTION}
    statements = [
        {name: value for name, value in {**good, **changes}.items() if value is not None}
        for changes in whole.statements
    ]
    decision = evaluate({"Statement": statements}, caller=federated(PROVIDER), action=ACTION, context=TOKEN)
    assert decision.allowed is whole.allowed, whole.source


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
def test_principal_of_aws_is_matched_as_documented(principal: str, *, allowed: bool) -> None:
    """PRINCIPAL: the account as ARN or number, the role, everybody; a wildcard within an ARN stands for nothing."""
    caller = Caller(kind="AWS", names=(ROLE, "arn:aws:iam::123456789012:root", "123456789012", "*"))
    statement = {"Effect": "Allow", "Principal": {"AWS": principal}, "Action": "sts:AssumeRole"}
    decision = evaluate({"Statement": statement}, caller=caller, action="sts:AssumeRole", context={})
    assert decision.allowed is allowed


@pytest.mark.parametrize(
    "changes",
    [{"Conditions": {}}, {"Condition": {"Bool": {SUB: "maybe"}}}, {"Condition": {"Bool": {SUB: ["true", "x"]}}}],
)
def test_what_iam_would_refuse_allows_nothing_and_is_feared_in_a_deny(changes: dict[str, Any]) -> None:
    good = {"Effect": "Allow", "Principal": {"Federated": PROVIDER}, "Action": ACTION}
    for statements in ([{**good, **changes}], [good, {**good, "Effect": "Deny", **changes}]):
        decision = evaluate({"Statement": statements}, caller=federated(PROVIDER), action=ACTION, context=TOKEN)
        assert not decision.allowed
