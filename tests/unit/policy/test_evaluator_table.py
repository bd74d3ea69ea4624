"""Conditions are evaluated as AWS documents it: one case for each documented rule.

Sources, pages of the IAM User Guide: OPERATORS is reference_policies_elements_condition_operators, MULTI
reference_policies_condition-single-vs-multi-valued-context-keys, LOGIC reference_policies_condition-logic-multiple-
context-keys-or-values, EVALUATION reference_policies_evaluation-logic, KEYS reference_policies_iam-condition-keys,
PRINCIPAL reference_policies_elements_principal, ACTION reference_policies_elements_action, CONDITION
reference_policies_elements_condition, NOTACTION reference_policies_elements_notaction.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from broker.policy.trust_policy import evaluate, federated

PROVIDER = "arn:aws:iam::123456789012:oidc-provider/oidc.example/c"
ALLOWED, DENIED = True, False
ACTION = "sts:AssumeRoleWithWebIdentity"
SUB, AUD = "oidc.example/c:sub", "oidc.example/c:aud"
APP, OTHER = "system:serviceaccount:demo:app", "system:serviceaccount:demo:other"
AWS = "sts.amazonaws.com"
TOKEN = {SUB: [APP], AUD: [AWS], "sts:RoleSessionName": ["demo.app"]}
TAGGED = {**TOKEN, "aws:TagKeys": ["team", "env"]}
ARN = "aws:PrincipalArn"
ROLE = "arn:aws:iam::123456789012:role/team/app"
CHAINED = {ARN: [ROLE], "aws:MultiFactorAuthPresent": ["true"]}


class Case(NamedTuple):
    """A condition, whether it allows the request context, and the source of the rule."""

    name: str
    condition: dict[str, dict[str, Any]]
    allowed: bool
    source: str
    context: dict[str, list[str]] = TOKEN


def one(operator: str, value: object, key: str = SUB) -> dict[str, dict[str, Any]]:
    return {operator: {key: value}}


CASES = [
    # Strings
    Case("StringEquals, equal value", one("StringEquals", APP), ALLOWED, "OPERATORS: exact matching, case sensitive"),
    Case("StringEquals, other", one("StringEquals", OTHER), DENIED, "OPERATORS: exact matching"),
    Case("StringEquals, other case", one("StringEquals", APP.upper()), DENIED, "OPERATORS: case sensitive"),
    Case("StringEquals, a prefix", one("StringEquals", APP[:-1]), DENIED, "OPERATORS: exact matching"),
    Case("StringEquals, wildcard", one("StringEquals", "system:*"), DENIED, "OPERATORS: wildcards are for StringLike"),
    Case("StringEquals, ?", one("StringEquals", APP[:-1] + "?"), DENIED, "OPERATORS: wildcards are for StringLike"),
    Case("StringEquals, one of several", one("StringEquals", [OTHER, APP]), ALLOWED, "LOGIC: values of a key are ORed"),
    Case("StringEquals, none of several", one("StringEquals", [OTHER, "x"]), DENIED, "LOGIC: values of a key are ORed"),
    Case("StringNotEquals, same", one("StringNotEquals", APP), DENIED, "OPERATORS: negated matching"),
    Case("StringNotEquals, other", one("StringNotEquals", OTHER), ALLOWED, "OPERATORS: negated matching"),
    Case("StringNotEquals, other case", one("StringNotEquals", APP.upper()), ALLOWED, "OPERATORS: case sensitive"),
    Case(
        "StringNotEquals, one of several",
        one("StringNotEquals", [OTHER, APP]),
        DENIED,
        "LOGIC: negated values are NORed",
    ),
    Case(
        "StringNotEquals, none of several",
        one("StringNotEquals", [OTHER, "x"]),
        ALLOWED,
        "LOGIC: negated values are NORed",
    ),
    Case("IgnoreCase, other case", one("StringEqualsIgnoreCase", APP.upper()), ALLOWED, "OPERATORS: ignoring case"),
    Case("IgnoreCase, other", one("StringEqualsIgnoreCase", OTHER), DENIED, "OPERATORS: ignoring case"),
    Case(
        "IgnoreCase, wildcard",
        one("StringEqualsIgnoreCase", "SYSTEM:*"),
        DENIED,
        "OPERATORS: wildcards are for StringLike",
    ),
    Case(
        "NotIgnoreCase, other case", one("StringNotEqualsIgnoreCase", APP.upper()), DENIED, "OPERATORS: ignoring case"
    ),
    Case("NotIgnoreCase, other", one("StringNotEqualsIgnoreCase", OTHER), ALLOWED, "OPERATORS: ignoring case"),
    Case("StringLike, literal", one("StringLike", APP), ALLOWED, "OPERATORS: case-sensitive matching"),
    Case(
        "StringLike, * at the end",
        one("StringLike", "system:serviceaccount:demo:*"),
        ALLOWED,
        "OPERATORS: * is any run",
    ),
    Case(
        "StringLike, * spans colons",
        one("StringLike", "system:*:app"),
        ALLOWED,
        "OPERATORS: * is any run of characters",
    ),
    Case("StringLike, * is also none", one("StringLike", APP + "*"), ALLOWED, "OPERATORS: zero or more characters"),
    Case("StringLike, ? is one", one("StringLike", APP[:-1] + "?"), ALLOWED, "OPERATORS: ? is one character"),
    Case("StringLike, ? is not none", one("StringLike", APP + "?"), DENIED, "OPERATORS: ? is one character"),
    Case("StringLike, other case", one("StringLike", "SYSTEM:*"), DENIED, "OPERATORS: case-sensitive matching"),
    Case("StringLike, one of several", one("StringLike", ["x*", "*:app"]), ALLOWED, "LOGIC: values of a key are ORed"),
    Case("StringNotLike, match", one("StringNotLike", "*:app"), DENIED, "OPERATORS: negated matching"),
    Case("StringNotLike, no match", one("StringNotLike", "*:other"), ALLOWED, "OPERATORS: negated matching"),
    Case(
        "StringNotLike, one of several", one("StringNotLike", ["x", "*:app"]), DENIED, "LOGIC: negated values are NORed"
    ),
    # Keys
    Case("key in other case", one("StringEquals", APP, SUB.upper()), ALLOWED, "CONDITION: key names ignore case"),
    Case(
        "key of another issuer", one("StringEquals", APP, "oidc.example/d:sub"), DENIED, "KEYS: the provider's own keys"
    ),
    Case("key with https://", one("StringEquals", APP, "https://" + SUB), DENIED, "KEYS: the URL without https://"),
    Case(
        "key of a claim that AWS does not provide",
        one("StringEquals", "x", "oidc.example/c:pod"),
        DENIED,
        "KEYS: aud and sub",
    ),
    Case("session name", one("StringLike", "demo.*", "sts:RoleSessionName"), ALLOWED, "KEYS: sts:RoleSessionName"),
    # Absent keys
    Case(
        "absent, StringEquals",
        one("StringEquals", "x", "a:b"),
        DENIED,
        "OPERATORS: a key that is absent does not match",
    ),
    Case(
        "absent, StringLike *", one("StringLike", "*", "a:b"), DENIED, "OPERATORS: a key that is absent does not match"
    ),
    Case(
        "absent, StringNotEquals",
        one("StringNotEquals", "x", "a:b"),
        ALLOWED,
        "OPERATORS: negated matches where absent",
    ),
    Case(
        "absent, StringNotLike *", one("StringNotLike", "*", "a:b"), ALLOWED, "OPERATORS: negated matches where absent"
    ),
    Case("absent, ArnNotEquals", one("ArnNotEquals", ROLE, ARN), ALLOWED, "OPERATORS: negated matches where absent"),
    Case(
        "absent, IfExists", one("StringEqualsIfExists", "x", "a:b"), ALLOWED, "OPERATORS: IfExists is true where absent"
    ),
    Case(
        "present, IfExists", one("StringEqualsIfExists", OTHER), DENIED, "OPERATORS: IfExists evaluates a present key"
    ),
    Case(
        "present, IfExists matches",
        one("StringEqualsIfExists", APP),
        ALLOWED,
        "OPERATORS: IfExists evaluates a present key",
    ),
    Case("absent, Bool", one("Bool", "true", "aws:MultiFactorAuthPresent"), DENIED, "OPERATORS: absent is not false"),
    Case(
        "absent, Bool false",
        one("Bool", "false", "aws:MultiFactorAuthPresent"),
        DENIED,
        "OPERATORS: absent is not false",
    ),
    Case(
        "absent, BoolIfExists",
        one("BoolIfExists", "true", "aws:x"),
        ALLOWED,
        "OPERATORS: IfExists is true where absent",
    ),
    Case("Null true, absent", one("Null", "true", "a:b"), ALLOWED, "OPERATORS: Null checks for existence"),
    Case("Null true, present", one("Null", "true"), DENIED, "OPERATORS: Null checks for existence"),
    Case("Null false, present", one("Null", "false"), ALLOWED, "OPERATORS: Null checks for existence"),
    Case("Null false, absent", one("Null", "false", "a:b"), DENIED, "OPERATORS: Null checks for existence"),
    Case("Null as a JSON boolean", {"Null": {SUB: False}}, ALLOWED, "OPERATORS: Null checks for existence"),
    # Booleans
    Case("Bool, same", one("Bool", "true", "aws:MultiFactorAuthPresent"), ALLOWED, "OPERATORS: Bool", CHAINED),
    Case("Bool, other", one("Bool", "false", "aws:MultiFactorAuthPresent"), DENIED, "OPERATORS: Bool", CHAINED),
    Case(
        "Bool, as a JSON boolean", {"Bool": {"aws:MultiFactorAuthPresent": True}}, ALLOWED, "OPERATORS: Bool", CHAINED
    ),
    # ARNs
    Case("ArnEquals, same", one("ArnEquals", ROLE, ARN), ALLOWED, "OPERATORS: ARNs", CHAINED),
    Case("ArnEquals takes *", one("ArnEquals", ROLE[:-3] + "*", ARN), ALLOWED, "OPERATORS: as ArnLike", CHAINED),
    Case(
        "ArnLike, * in the account",
        one("ArnLike", "arn:aws:iam::*:role/team/app", ARN),
        ALLOWED,
        "OPERATORS: *",
        CHAINED,
    ),
    Case("ArnLike, ? is one", one("ArnLike", ROLE[:-1] + "?", ARN), ALLOWED, "OPERATORS: ? is one character", CHAINED),
    Case(
        "ArnLike, * spans no colon",
        one("ArnLike", "arn:aws:*:role/team/app", ARN),
        DENIED,
        "OPERATORS: each of the six parts is checked separately",
        CHAINED,
    ),
    Case("ArnLike, other case", one("ArnLike", ROLE.upper(), ARN), DENIED, "OPERATORS: case-sensitive", CHAINED),
    Case("ArnNotLike, match", one("ArnNotLike", "arn:aws:iam::*:role/*", ARN), DENIED, "OPERATORS: negated", CHAINED),
    Case("ArnNotEquals, other", one("ArnNotEquals", ROLE + "2", ARN), ALLOWED, "OPERATORS: negated", CHAINED),
    Case(
        "StringLike on an ARN",
        one("StringLike", "arn:*app", ARN),
        ALLOWED,
        "OPERATORS: strings are compared as a whole",
        CHAINED,
    ),
    # Several values in the context
    Case(
        "ForAnyValue, one in",
        one("ForAnyValue:StringEquals", ["team", "x"], "aws:TagKeys"),
        ALLOWED,
        "MULTI: at least one",
        TAGGED,
    ),
    Case(
        "ForAnyValue, none in",
        one("ForAnyValue:StringEquals", ["x"], "aws:TagKeys"),
        DENIED,
        "MULTI: at least one",
        TAGGED,
    ),
    Case(
        "ForAnyValue, absent",
        one("ForAnyValue:StringEquals", ["team"], "aws:TagKeys"),
        DENIED,
        "MULTI: false where absent",
    ),
    Case(
        "ForAnyValue negated, one out",
        one("ForAnyValue:StringNotEquals", ["team"], "aws:TagKeys"),
        ALLOWED,
        "MULTI: at least one",
        TAGGED,
    ),
    Case(
        "ForAnyValue negated, none out",
        one("ForAnyValue:StringNotEquals", ["team", "env"], "aws:TagKeys"),
        DENIED,
        "MULTI",
        TAGGED,
    ),
    Case(
        "ForAllValues, all in",
        one("ForAllValues:StringEquals", ["team", "env", "x"], "aws:TagKeys"),
        ALLOWED,
        "MULTI: every one",
        TAGGED,
    ),
    Case(
        "ForAllValues, one out",
        one("ForAllValues:StringEquals", ["team"], "aws:TagKeys"),
        DENIED,
        "MULTI: every one",
        TAGGED,
    ),
    Case(
        "ForAllValues, absent",
        one("ForAllValues:StringEquals", ["team"], "aws:TagKeys"),
        ALLOWED,
        "MULTI: true where absent",
    ),
    Case(
        "ForAllValues, empty",
        one("ForAllValues:StringEquals", ["x"], "aws:TagKeys"),
        ALLOWED,
        "MULTI: true where empty",
        {**TOKEN, "aws:TagKeys": []},
    ),
    Case(
        "ForAllValues negated, all out",
        one("ForAllValues:StringNotEquals", ["x"], "aws:TagKeys"),
        ALLOWED,
        "MULTI: every one",
        TAGGED,
    ),
    Case(
        "ForAllValues negated, one in",
        one("ForAllValues:StringNotEquals", ["env"], "aws:TagKeys"),
        DENIED,
        "MULTI: every one",
        TAGGED,
    ),
    Case(
        "ForAllValues like, all in",
        one("ForAllValues:StringLike", ["t*", "e*"], "aws:TagKeys"),
        ALLOWED,
        "MULTI: every one",
        TAGGED,
    ),
    Case(
        "ForAllValues and Null false, absent",
        {"ForAllValues:StringEquals": {"aws:TagKeys": "team"}, "Null": {"aws:TagKeys": "false"}},
        DENIED,
        "MULTI: add Null to require the key",
    ),
    # Several keys and operators
    Case("two keys, both", {"StringEquals": {SUB: APP, AUD: AWS}}, ALLOWED, "LOGIC: keys of an operator are ANDed"),
    Case("two keys, one", {"StringEquals": {SUB: APP, AUD: "x"}}, DENIED, "LOGIC: keys of an operator are ANDed"),
    Case(
        "two operators, both",
        {"StringEquals": {AUD: AWS}, "StringLike": {SUB: "*:app"}},
        ALLOWED,
        "LOGIC: operators are ANDed",
    ),
    Case(
        "two operators, one",
        {"StringEquals": {AUD: AWS}, "StringLike": {SUB: "*:x"}},
        DENIED,
        "LOGIC: operators are ANDed",
    ),
    Case(
        "two operators on one key",
        {"StringLike": {SUB: "*:app"}, "StringNotEquals": {SUB: APP}},
        DENIED,
        "LOGIC: operators are ANDed",
    ),
    Case("no condition at all", {}, ALLOWED, "CONDITION: it is optional"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_condition_is_evaluated_as_aws_documents_it(case: Case) -> None:
    statement = {"Effect": "Allow", "Principal": {"Federated": PROVIDER}, "Action": ACTION, "Condition": case.condition}
    decision = evaluate({"Statement": statement}, caller=federated(PROVIDER), action=ACTION, context=case.context)
    assert decision.allowed is case.allowed, case.source
