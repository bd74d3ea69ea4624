"""What AWS documents of policy evaluation, case by case, against the one evaluator.

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
IN, OUT = True, False
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
    """A condition, whether it lets the context in, and where AWS says so."""

    name: str
    condition: dict[str, dict[str, Any]]
    allowed: bool
    source: str
    context: dict[str, list[str]] = TOKEN


def one(operator: str, value: object, key: str = SUB) -> dict[str, dict[str, Any]]:
    return {operator: {key: value}}


CASES = [
    # Texts
    Case("StringEquals, same", one("StringEquals", APP), IN, "OPERATORS: exact matching, case sensitive"),
    Case("StringEquals, other", one("StringEquals", OTHER), OUT, "OPERATORS: exact matching"),
    Case("StringEquals, other case", one("StringEquals", APP.upper()), OUT, "OPERATORS: case sensitive"),
    Case("StringEquals, a prefix", one("StringEquals", APP[:-1]), OUT, "OPERATORS: exact matching"),
    Case("StringEquals, wildcard", one("StringEquals", "system:*"), OUT, "OPERATORS: wildcards are for StringLike"),
    Case("StringEquals, ?", one("StringEquals", APP[:-1] + "?"), OUT, "OPERATORS: wildcards are for StringLike"),
    Case("StringEquals, one of several", one("StringEquals", [OTHER, APP]), IN, "LOGIC: values of a key are ORed"),
    Case("StringEquals, none of several", one("StringEquals", [OTHER, "x"]), OUT, "LOGIC: values of a key are ORed"),
    Case("StringNotEquals, same", one("StringNotEquals", APP), OUT, "OPERATORS: negated matching"),
    Case("StringNotEquals, other", one("StringNotEquals", OTHER), IN, "OPERATORS: negated matching"),
    Case("StringNotEquals, other case", one("StringNotEquals", APP.upper()), IN, "OPERATORS: case sensitive"),
    Case(
        "StringNotEquals, one of several", one("StringNotEquals", [OTHER, APP]), OUT, "LOGIC: negated values are NORed"
    ),
    Case(
        "StringNotEquals, none of several", one("StringNotEquals", [OTHER, "x"]), IN, "LOGIC: negated values are NORed"
    ),
    Case("IgnoreCase, other case", one("StringEqualsIgnoreCase", APP.upper()), IN, "OPERATORS: ignoring case"),
    Case("IgnoreCase, other", one("StringEqualsIgnoreCase", OTHER), OUT, "OPERATORS: ignoring case"),
    Case(
        "IgnoreCase, wildcard",
        one("StringEqualsIgnoreCase", "SYSTEM:*"),
        OUT,
        "OPERATORS: wildcards are for StringLike",
    ),
    Case("NotIgnoreCase, other case", one("StringNotEqualsIgnoreCase", APP.upper()), OUT, "OPERATORS: ignoring case"),
    Case("NotIgnoreCase, other", one("StringNotEqualsIgnoreCase", OTHER), IN, "OPERATORS: ignoring case"),
    Case("StringLike, literal", one("StringLike", APP), IN, "OPERATORS: case-sensitive matching"),
    Case("StringLike, * at the end", one("StringLike", "system:serviceaccount:demo:*"), IN, "OPERATORS: * is any run"),
    Case("StringLike, * spans colons", one("StringLike", "system:*:app"), IN, "OPERATORS: * is any run of characters"),
    Case("StringLike, * is also none", one("StringLike", APP + "*"), IN, "OPERATORS: zero or more characters"),
    Case("StringLike, ? is one", one("StringLike", APP[:-1] + "?"), IN, "OPERATORS: ? is one character"),
    Case("StringLike, ? is not none", one("StringLike", APP + "?"), OUT, "OPERATORS: ? is one character"),
    Case("StringLike, other case", one("StringLike", "SYSTEM:*"), OUT, "OPERATORS: case-sensitive matching"),
    Case("StringLike, one of several", one("StringLike", ["x*", "*:app"]), IN, "LOGIC: values of a key are ORed"),
    Case("StringNotLike, match", one("StringNotLike", "*:app"), OUT, "OPERATORS: negated matching"),
    Case("StringNotLike, no match", one("StringNotLike", "*:other"), IN, "OPERATORS: negated matching"),
    Case("StringNotLike, one of several", one("StringNotLike", ["x", "*:app"]), OUT, "LOGIC: negated values are NORed"),
    # Keys
    Case("key in other case", one("StringEquals", APP, SUB.upper()), IN, "CONDITION: key names ignore case"),
    Case("key of another issuer", one("StringEquals", APP, "oidc.example/d:sub"), OUT, "KEYS: the provider's own keys"),
    Case("key with https://", one("StringEquals", APP, "https://" + SUB), OUT, "KEYS: the URL without https://"),
    Case("key that is no claim of these", one("StringEquals", "x", "oidc.example/c:pod"), OUT, "KEYS: aud and sub"),
    Case("session name", one("StringLike", "demo.*", "sts:RoleSessionName"), IN, "KEYS: sts:RoleSessionName"),
    # Absent keys
    Case(
        "absent, StringEquals", one("StringEquals", "x", "a:b"), OUT, "OPERATORS: a key that is absent does not match"
    ),
    Case("absent, StringLike *", one("StringLike", "*", "a:b"), OUT, "OPERATORS: a key that is absent does not match"),
    Case("absent, StringNotEquals", one("StringNotEquals", "x", "a:b"), IN, "OPERATORS: negated matches where absent"),
    Case("absent, StringNotLike *", one("StringNotLike", "*", "a:b"), IN, "OPERATORS: negated matches where absent"),
    Case("absent, ArnNotEquals", one("ArnNotEquals", ROLE, ARN), IN, "OPERATORS: negated matches where absent"),
    Case("absent, IfExists", one("StringEqualsIfExists", "x", "a:b"), IN, "OPERATORS: IfExists is true where absent"),
    Case("there, IfExists", one("StringEqualsIfExists", OTHER), OUT, "OPERATORS: IfExists evaluates what is there"),
    Case(
        "there, IfExists matches", one("StringEqualsIfExists", APP), IN, "OPERATORS: IfExists evaluates what is there"
    ),
    Case("absent, Bool", one("Bool", "true", "aws:MultiFactorAuthPresent"), OUT, "OPERATORS: absent is not false"),
    Case(
        "absent, Bool false", one("Bool", "false", "aws:MultiFactorAuthPresent"), OUT, "OPERATORS: absent is not false"
    ),
    Case("absent, BoolIfExists", one("BoolIfExists", "true", "aws:x"), IN, "OPERATORS: IfExists is true where absent"),
    Case("Null true, absent", one("Null", "true", "a:b"), IN, "OPERATORS: Null checks for existence"),
    Case("Null true, there", one("Null", "true"), OUT, "OPERATORS: Null checks for existence"),
    Case("Null false, there", one("Null", "false"), IN, "OPERATORS: Null checks for existence"),
    Case("Null false, absent", one("Null", "false", "a:b"), OUT, "OPERATORS: Null checks for existence"),
    Case("Null as a JSON boolean", {"Null": {SUB: False}}, IN, "OPERATORS: Null checks for existence"),
    # Truths
    Case("Bool, same", one("Bool", "true", "aws:MultiFactorAuthPresent"), IN, "OPERATORS: Bool", CHAINED),
    Case("Bool, other", one("Bool", "false", "aws:MultiFactorAuthPresent"), OUT, "OPERATORS: Bool", CHAINED),
    Case("Bool, as a JSON boolean", {"Bool": {"aws:MultiFactorAuthPresent": True}}, IN, "OPERATORS: Bool", CHAINED),
    # ARNs
    Case("ArnEquals, same", one("ArnEquals", ROLE, ARN), IN, "OPERATORS: ARNs", CHAINED),
    Case("ArnEquals takes *", one("ArnEquals", ROLE[:-3] + "*", ARN), IN, "OPERATORS: as ArnLike", CHAINED),
    Case("ArnLike, * in the account", one("ArnLike", "arn:aws:iam::*:role/team/app", ARN), IN, "OPERATORS: *", CHAINED),
    Case("ArnLike, ? is one", one("ArnLike", ROLE[:-1] + "?", ARN), IN, "OPERATORS: ? is one character", CHAINED),
    Case(
        "ArnLike, * spans no colon",
        one("ArnLike", "arn:aws:*:role/team/app", ARN),
        OUT,
        "OPERATORS: each of the six parts is checked by itself",
        CHAINED,
    ),
    Case("ArnLike, other case", one("ArnLike", ROLE.upper(), ARN), OUT, "OPERATORS: case-sensitive", CHAINED),
    Case("ArnNotLike, match", one("ArnNotLike", "arn:aws:iam::*:role/*", ARN), OUT, "OPERATORS: negated", CHAINED),
    Case("ArnNotEquals, other", one("ArnNotEquals", ROLE + "2", ARN), IN, "OPERATORS: negated", CHAINED),
    Case(
        "StringLike on an ARN",
        one("StringLike", "arn:*app", ARN),
        IN,
        "OPERATORS: texts are compared as a whole",
        CHAINED,
    ),
    # Several values in the context
    Case(
        "ForAnyValue, one in",
        one("ForAnyValue:StringEquals", ["team", "x"], "aws:TagKeys"),
        IN,
        "MULTI: at least one",
        TAGGED,
    ),
    Case(
        "ForAnyValue, none in",
        one("ForAnyValue:StringEquals", ["x"], "aws:TagKeys"),
        OUT,
        "MULTI: at least one",
        TAGGED,
    ),
    Case(
        "ForAnyValue, absent",
        one("ForAnyValue:StringEquals", ["team"], "aws:TagKeys"),
        OUT,
        "MULTI: false where absent",
    ),
    Case(
        "ForAnyValue negated, one out",
        one("ForAnyValue:StringNotEquals", ["team"], "aws:TagKeys"),
        IN,
        "MULTI: at least one",
        TAGGED,
    ),
    Case(
        "ForAnyValue negated, none out",
        one("ForAnyValue:StringNotEquals", ["team", "env"], "aws:TagKeys"),
        OUT,
        "MULTI",
        TAGGED,
    ),
    Case(
        "ForAllValues, all in",
        one("ForAllValues:StringEquals", ["team", "env", "x"], "aws:TagKeys"),
        IN,
        "MULTI: every one",
        TAGGED,
    ),
    Case(
        "ForAllValues, one out",
        one("ForAllValues:StringEquals", ["team"], "aws:TagKeys"),
        OUT,
        "MULTI: every one",
        TAGGED,
    ),
    Case(
        "ForAllValues, absent",
        one("ForAllValues:StringEquals", ["team"], "aws:TagKeys"),
        IN,
        "MULTI: true where absent",
    ),
    Case(
        "ForAllValues, empty",
        one("ForAllValues:StringEquals", ["x"], "aws:TagKeys"),
        IN,
        "MULTI: true where empty",
        {**TOKEN, "aws:TagKeys": []},
    ),
    Case(
        "ForAllValues negated, all out",
        one("ForAllValues:StringNotEquals", ["x"], "aws:TagKeys"),
        IN,
        "MULTI: every one",
        TAGGED,
    ),
    Case(
        "ForAllValues negated, one in",
        one("ForAllValues:StringNotEquals", ["env"], "aws:TagKeys"),
        OUT,
        "MULTI: every one",
        TAGGED,
    ),
    Case(
        "ForAllValues like, all in",
        one("ForAllValues:StringLike", ["t*", "e*"], "aws:TagKeys"),
        IN,
        "MULTI: every one",
        TAGGED,
    ),
    Case(
        "ForAllValues and Null false, absent",
        {"ForAllValues:StringEquals": {"aws:TagKeys": "team"}, "Null": {"aws:TagKeys": "false"}},
        OUT,
        "MULTI: add Null to require the key",
    ),
    # Several keys and operators
    Case("two keys, both", {"StringEquals": {SUB: APP, AUD: AWS}}, IN, "LOGIC: keys of an operator are ANDed"),
    Case("two keys, one", {"StringEquals": {SUB: APP, AUD: "x"}}, OUT, "LOGIC: keys of an operator are ANDed"),
    Case(
        "two operators, both",
        {"StringEquals": {AUD: AWS}, "StringLike": {SUB: "*:app"}},
        IN,
        "LOGIC: operators are ANDed",
    ),
    Case(
        "two operators, one",
        {"StringEquals": {AUD: AWS}, "StringLike": {SUB: "*:x"}},
        OUT,
        "LOGIC: operators are ANDed",
    ),
    Case(
        "two operators on one key",
        {"StringLike": {SUB: "*:app"}, "StringNotEquals": {SUB: APP}},
        OUT,
        "LOGIC: operators are ANDed",
    ),
    Case("no condition at all", {}, IN, "CONDITION: it is optional"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_condition_is_evaluated_as_aws_documents_it(case: Case) -> None:
    statement = {"Effect": "Allow", "Principal": {"Federated": PROVIDER}, "Action": ACTION, "Condition": case.condition}
    decision = evaluate({"Statement": statement}, caller=federated(PROVIDER), action=ACTION, context=case.context)
    assert decision.allowed is case.allowed, case.source
