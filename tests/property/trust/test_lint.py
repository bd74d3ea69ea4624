"""The linter's promise, checked with the evaluator: a policy without findings allows only what it names."""

from __future__ import annotations

import itertools
import json
from typing import Any

from hypothesis import event, given, settings
from hypothesis import strategies as st

from broker.policy.trust_policy import Caller, evaluate
from broker.trust.linter.lint import Expected, lint

WEB = "sts:AssumeRoleWithWebIdentity"
ISSUERS = ["oidc.example/c", "oidc.example/d", "oidc.example"]
SUBJECTS = [
    "system:serviceaccount:demo:app",
    "system:serviceaccount:demo:app2",
    "system:serviceaccount:demo2:app",
    "system:serviceaccount:kube-system:default",
]
AUDIENCES = ["sts.amazonaws.com", "sts.amazonaws.com.cn", "vault"]
OPERATORS = [
    "StringEquals",
    "StringLike",
    "StringNotEquals",
    "StringNotLike",
    "StringEqualsIgnoreCase",
    "StringNotEqualsIgnoreCase",
    "ArnLike",
    "ArnNotEquals",
    "Bool",
    "Null",
    "NumericEquals",
    "stringequals",
]


def provider(issuer: str) -> str:
    return f"arn:aws:iam::123456789012:oidc-provider/{issuer}"


similar_values = st.one_of(
    st.sampled_from([*SUBJECTS, *AUDIENCES]),
    st.sampled_from(
        ["*", "?", "", "true", "false", "system:serviceaccount:demo:*", "system:serviceaccount:*:app", "sts*"]
    ),
    st.sampled_from(
        ["System:ServiceAccount:demo:app", "system:serviceaccount:demo", "${aws:username}", "STS.amazonaws.com"]
    ),
)
operators = st.builds(
    lambda prefix, bare, suffix: f"{prefix}{bare}{suffix}",
    st.sampled_from(["", "", "", "ForAnyValue:", "ForAllValues:"]),
    st.sampled_from(OPERATORS),
    st.sampled_from(["", "", "", "IfExists"]),
)
keys = st.builds(
    lambda prefix, claim: f"{prefix}{claim}",
    st.sampled_from(
        [*ISSUERS, "OIDC.example/C", "https://oidc.example/c", "oidc.example/c/", "oidc.example:443/c", ""]
    ),
    st.sampled_from([":sub", ":aud", ":SUB", ":amr", "sub", "sts:RoleSessionName", "aws:SourceIp"]),
)
principals = st.one_of(
    st.sampled_from(ISSUERS).map(lambda issuer: {"Federated": provider(issuer)}),
    st.sampled_from(
        [
            "*",
            {"AWS": "*"},
            {"Federated": "*"},
            {"Federated": [provider(issuer) for issuer in ISSUERS]},
            {"Federated": provider("oidc.example/c"), "AWS": "arn:aws:iam::123456789012:root"},
            {"Service": "ec2.amazonaws.com"},
            {"AWS": "arn:aws:iam::123456789012:role/a"},
        ]
    ),
)
actions = st.sampled_from(
    [WEB, WEB.lower(), [WEB], "sts:*", "*", "sts:AssumeRole", [WEB, "sts:TagSession"], "sts:AssumeRoleWith*", []]
)
blocks = st.dictionaries(keys, st.one_of(similar_values, st.lists(similar_values, max_size=3)), max_size=3)
conditions = st.dictionaries(operators, blocks, max_size=3)


@st.composite
def good_statements(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a statement without findings."""
    issuer = draw(st.sampled_from(ISSUERS))
    subjects = draw(st.lists(st.sampled_from(SUBJECTS), min_size=1, max_size=3, unique=True))
    audience = draw(st.sampled_from(AUDIENCES))
    named: dict[str, Any] = {f"{issuer}:sub": subjects, f"{issuer}:aud": audience}
    if draw(st.booleans()):
        named[f"{issuer}:sub"] = subjects[0]
    return {
        "Effect": "Allow",
        "Principal": {"Federated": provider(issuer)},
        "Action": WEB,
        "Condition": {"StringEquals": named},
    }


@st.composite
def statements(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a good statement and change it in up to three places."""
    statement: dict[str, Any] = draw(good_statements())
    for _ in range(draw(st.sampled_from([0, 1, 1, 1, 2, 3]))):
        draw(st.sampled_from([change_element, change_conditions, change_block, loosen, loosen]))(draw, statement)
    return statement


def change_element(draw: st.DrawFn, statement: dict[str, Any]) -> None:
    values: dict[str, st.SearchStrategy[Any]] = {
        "Effect": st.sampled_from(["Allow", "Deny", "allow"]),
        "Principal": principals,
        "Action": actions,
        "Condition": conditions,
    }
    element = draw(st.sampled_from(sorted(values)))
    if draw(st.integers(0, 4)):
        statement[element] = draw(values[element])
    else:
        statement.pop(element, None)


def change_conditions(draw: st.DrawFn, statement: dict[str, Any]) -> None:
    condition = statement.get("Condition", {})
    if condition and draw(st.booleans()):
        block = condition.pop(draw(st.sampled_from(sorted(condition))))
        condition[draw(operators)] = block
    else:
        for operator, more in draw(conditions).items():
            condition[operator] = {**condition.get(operator, {}), **more}


def change_block(draw: st.DrawFn, statement: dict[str, Any]) -> None:
    blocks_with_keys = [block for block in statement.get("Condition", {}).values() if block]
    if blocks_with_keys:
        block = draw(st.sampled_from(blocks_with_keys))
        key = draw(st.sampled_from(sorted(block)))
        if draw(st.booleans()):
            block[draw(keys)] = block.pop(key)
        else:
            block[key] = draw(st.one_of(similar_values, st.lists(similar_values, max_size=3)))


def loosen(draw: st.DrawFn, statement: dict[str, Any]) -> None:
    """Make a good statement too broad or ineffective in one place, with a typical mistake."""
    block = statement.get("Condition", {}).pop("StringEquals", None)
    if not block:
        return
    key = draw(st.sampled_from(sorted(block)))
    value = block.pop(key)
    wild = draw(
        st.sampled_from(["*", "s*", "system:serviceaccount:demo:*", "system:serviceaccount:*:app", "*.com", "vaul?"])
    )
    added = draw(
        st.sampled_from(
            [
                {},
                {"StringLike": {key: wild}},
                {"StringEquals": {**block, key: wild}},
                {"StringEquals": {**block, draw(keys): value}},
                {"StringEqualsIfExists": {draw(keys): value}},
                {"ForAllValues:StringEquals": {draw(keys): value}},
                {"StringNotEquals": {key: "x"}},
                {"StringEqualsIgnoreCase": {key: value}},
                {"Null": {key: "false"}},
            ]
        )
    )
    statement["Condition"] |= {"StringEquals": block, **added}


@st.composite
def similar(draw: st.DrawFn, names: list[str]) -> str:
    """Draw one of the names, or a name that differs slightly."""
    name = draw(st.sampled_from([*names, "", "*"]))
    at = draw(st.integers(0, max(len(name) - 1, 0)))
    change = draw(st.sampled_from(["none", "none", "none", "cut", "add", "case", "swap", "drop"]))
    return {
        "none": name,
        "cut": name[:at],
        "add": name + draw(st.sampled_from(["x", ":x", " ", "/", "\n"])),
        "case": name.upper() if draw(st.booleans()) else name.title(),
        "swap": f"{name[:at]}{draw(st.characters())}{name[at + 1 :]}",
        "drop": name[:at] + name[at + 1 :],
    }[change]


def as_list(value: object) -> list[Any]:
    return value if isinstance(value, list) else [value]


def is_named(statement: dict[str, Any], issuer: str, subject: str, audience: str) -> bool:
    """Return whether a statement names all three literally."""
    values_of = {
        claim: {
            value
            for block in statement.get("Condition", {}).values()
            for key, values in block.items()
            if key.lower() == f"{issuer}:{claim}"
            for value in as_list(values)
        }
        for claim in ("sub", "aud")
    }
    named = as_list(statement["Principal"].get("Federated", []))
    return provider(issuer) in named and subject in values_of["sub"] and audience in values_of["aud"]


GRID = list(
    itertools.product(
        ISSUERS, [*SUBJECTS, SUBJECTS[0].upper(), "system:serviceaccount:demo2:other", ""], [*AUDIENCES, "Vault", "x"]
    )
)
"""Every combination of issuer, subject and audience that the policies may name, and some that they do not."""


def is_allowed(text: str, issuer: str, subject: str, audience: str) -> bool:
    context = {
        f"{issuer}:sub": [subject],
        f"{issuer}:aud": [audience],
        "sts:RoleSessionName": ["demo.app"],
    }
    caller = Caller(kind="Federated", names=(provider(issuer),))
    return evaluate(text, caller=caller, action=WEB, context=context).allowed


@settings(max_examples=400)
@given(
    policy=st.lists(statements(), min_size=1, max_size=3),
    asked=st.lists(st.tuples(st.sampled_from(ISSUERS), similar(SUBJECTS), similar(AUDIENCES)), min_size=5, max_size=15),
)
def test_policy_without_findings_allows_only_what_it_names(
    policy: list[dict[str, Any]], asked: list[tuple[str, str, str]]
) -> None:
    text = json.dumps({"Version": "2012-10-17", "Statement": policy})
    if lint(text, Expected()):
        event("findings")
        return
    event("clean")
    for issuer, subject, audience in [*GRID, *asked]:
        if is_allowed(text, issuer, subject, audience):
            allowing = [one for one in policy if one["Effect"] == "Allow"]
            assert any(is_named(one, issuer, subject, audience) for one in allowing)


@given(policy=st.lists(good_statements(), min_size=1, max_size=3))
def test_good_policy_has_no_findings_and_allows_what_it_names(policy: list[dict[str, Any]]) -> None:
    text = json.dumps({"Version": "2012-10-17", "Statement": policy})
    assert lint(text, Expected()) == ()
    for one in policy:
        issuer = one["Principal"]["Federated"].partition("oidc-provider/")[2]
        block = one["Condition"]["StringEquals"]
        for subject in as_list(block[f"{issuer}:sub"]):
            assert is_allowed(text, issuer, subject, block[f"{issuer}:aud"])


@settings(max_examples=300)
@given(changed=statements())
def test_statement_without_findings_allows_what_it_names(changed: dict[str, Any]) -> None:
    """The linter also finds mistakes that deny everybody, so a statement without findings allows all that it names."""
    text = json.dumps({"Version": "2012-10-17", "Statement": changed})
    if lint(text, Expected()) or changed["Effect"] != "Allow" or "Federated" not in changed["Principal"]:
        return
    conditions = [
        (key.lower(), as_list(values)) for block in changed["Condition"].values() for key, values in block.items()
    ]
    issuer = changed["Principal"]["Federated"].partition("oidc-provider/")[2]
    if sorted(key for key, _ in conditions) != [f"{issuer}:aud", f"{issuer}:sub"]:
        return  # several conditions on one key may contradict each other; other keys are not of the token
    named = dict(conditions)
    for subject in named[f"{issuer}:sub"]:
        for audience in named[f"{issuer}:aud"]:
            assert is_allowed(text, issuer, subject, audience)
