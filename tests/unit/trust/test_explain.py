"""What explain says: the evaluator's verdict, what is in the way, and changes that really let the token in."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from broker.policy.document import PolicyMalformedError
from broker.trust.explain import ONLY_STS_KNOWS, Asker, Explained, Explanation, Obstacle, explain

ISSUER = "oidc.example/c"
PROVIDER = f"arn:aws:iam::123456789012:oidc-provider/{ISSUER}"
SUB, AUD = f"{ISSUER}:sub", f"{ISSUER}:aud"
APP, OTHER = "system:serviceaccount:demo:app", "system:serviceaccount:demo:other"
WEB = "sts:AssumeRoleWithWebIdentity"
ASKER = Asker(issuer=f"https://{ISSUER}", subject=APP, audiences=("sts.amazonaws.com",), session_name="demo.app")
GOOD = {
    "Effect": "Allow",
    "Principal": {"Federated": PROVIDER},
    "Action": WEB,
    "Condition": {"StringEquals": {SUB: APP, AUD: "sts.amazonaws.com"}},
}


def statement(**changes: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON values
    return {name: value for name, value in {**GOOD, **changes}.items() if value is not None}


def conditions(**operators: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON values
    return statement(Condition={name.replace("__", ":"): block for name, block in operators.items()})


def ask(*statements: dict[str, Any], asker: Asker = ASKER) -> Explanation:
    return explain(json.dumps({"Version": "2012-10-17", "Statement": list(statements)}, indent=1), asker)


def only(explanation: Explanation) -> Explained:
    (found,) = explanation.statements
    return found


def obstacle(broken: dict[str, Any], asker: Asker = ASKER) -> Obstacle:
    explanation = ask(broken, asker=asker)
    assert not explanation.allowed
    (found,) = only(explanation).obstacles
    return found


def mended(broken: dict[str, Any], explained: Explained) -> dict[str, Any]:
    """Do to a statement what the changes say, word for word."""
    mend = copy.deepcopy(broken)
    for one in explained.obstacles:
        assert one.change is not None
        if one.part == "principal":
            mend["Principal"]["Federated"] = one.change.new
        elif one.part == "action":
            actions = mend.get("Action", [])
            mend["Action"] = [*(actions if isinstance(actions, list) else [actions]), one.change.new]
        else:
            mend_condition(mend["Condition"][one.operator], one)
    return mend


def mend_condition(block: dict[str, Any], one: Obstacle) -> None:
    assert one.change is not None
    change, values = one.change, block.pop(one.key)
    values = list(values) if isinstance(values, list) else [values]
    match change.action:
        case "add-value":
            block[one.key] = [*values, change.new]
        case "replace-value":
            block[one.key] = [change.new if value == change.old else value for value in values]
        case "remove-values":
            block[one.key] = [value for value in values if f'"{value}"' not in change.sentence]
        case "rename-key":
            block[change.key] = change.new or values
        case other:
            assert other == "remove-condition"


def test_token_that_is_named_is_let_in() -> None:
    explanation = ask(statement(Sid="Trust"))
    assert explanation.allowed
    assert explanation.reason == "Trust lets it in"
    assert explanation.provider == PROVIDER
    assert (only(explanation).outcome, only(explanation).obstacles) == ("allows", ())


def test_statements_have_the_lines_of_the_text() -> None:
    explanation = ask(statement(Condition={}), statement())
    text = json.dumps({"Version": "2012-10-17", "Statement": [statement(Condition={}), statement()]}, indent=1)
    starts = [number for number, line in enumerate(text.splitlines(), start=1) if line == "  {"]
    assert [one.line for one in explanation.statements] == starts


@pytest.mark.parametrize(
    ("broken", "action", "sentence"),
    [
        (conditions(StringEquals={SUB: OTHER}), "add-value", f'add "{APP}" to its values'),
        (conditions(StringLike={SUB: ["a*", "b*"]}), "add-value", f'add "{APP}" to its values'),
        (conditions(StringEquals={SUB: APP.upper()}), "replace-value", "case and spaces count"),
        (conditions(StringEquals={SUB: f"{APP} "}), "replace-value", "case and spaces count"),
        (conditions(StringEquals={SUB: "system:serviceaccount:demo:*"}), "replace-value", "compares * and ? literally"),
        (conditions(StringEquals={AUD: "sts.amazonaws.com.cn"}), "add-value", 'add "sts.amazonaws.com"'),
        (conditions(StringNotEquals={SUB: [APP, OTHER]}), "remove-values", f'take "{APP}" out'),
        (conditions(StringNotLike={SUB: ["*:app", "*", "x"]}), "remove-values", 'take "*:app" and "*" out'),
        (conditions(StringNotEquals={SUB: APP}), "remove-condition", "all of its values match"),
        (conditions(StringEquals={f"https://{SUB}": APP}), "rename-key", f"write {SUB} in place of https://{SUB}"),
        (conditions(StringEquals={"oidc.example/d:sub": OTHER}), "rename-key", f'with the value "{APP}"'),
        (conditions(StringEquals={f"{ISSUER}:pod": "x"}), "remove-condition", "of a cluster's token"),
        (conditions(StringEquals={"sts:ExternalId": "x"}), "remove-condition", "of a cluster's token"),
        (conditions(Null={SUB: "true"}), "remove-condition", f"the token has {SUB}"),
        (conditions(StringEquals={"sts:RoleSessionName": "x"}), "add-value", 'add "demo.app"'),
        (conditions(ForAllValues__StringEquals={SUB: OTHER}), "add-value", f'add "{APP}"'),
        (statement(Action="sts:AssumeRole"), "add-value", f"add {WEB} to Action"),
        (statement(Principal={"Federated": f"{PROVIDER}/"}), "replace-value", f"name {PROVIDER} in Principal"),
    ],
)
def test_what_is_in_the_way_is_told_with_the_change_that_mends_it(
    broken: dict[str, Any], action: str, sentence: str
) -> None:
    found = obstacle(broken)
    assert found.change is not None
    assert found.change.action == action
    assert sentence in found.change.sentence
    assert ask(mended(broken, only(ask(broken)))).allowed


def test_condition_that_fails_is_told_with_what_was_expected_and_found() -> None:
    found = obstacle(conditions(StringEquals={AUD: "sts.amazonaws.com"}, StringLike={SUB: ["a*", "b*"]}))
    assert (found.part, found.operator, found.key) == ("condition", "StringLike", SUB)
    assert (found.expected, found.found) == (("a*", "b*"), (APP,))


OPERATORS = [
    f"{prefix}{bare}{suffix}"
    for prefix in ("", "ForAnyValue:", "ForAllValues:")
    for bare in ("StringEquals", "StringNotEquals", "StringLike", "StringNotLike", "StringEqualsIgnoreCase")
    for suffix in ("", "IfExists")
] + ["Null", "ArnLike", "ArnNotLike"]
KEYS = [SUB, SUB.upper(), AUD, "oidc.example/d:sub", f"https://{AUD}", f"{ISSUER}:pod", "sts:RoleSessionName"]
VALUES = [APP, OTHER, "*", "system:serviceaccount:demo:*", "sts.amazonaws.com", "demo.?pp", "x", APP.title(), "true"]


@given(
    condition=st.dictionaries(
        st.sampled_from(OPERATORS),
        st.dictionaries(st.sampled_from(KEYS), st.lists(st.sampled_from(VALUES), min_size=1, max_size=3), max_size=2),
        max_size=3,
    ),
    provider=st.sampled_from(
        [PROVIDER, f"{PROVIDER}/", PROVIDER.replace("1", "2"), PROVIDER.replace("oidc.", "https://oidc.")]
    ),
    action=st.sampled_from([WEB, "sts:AssumeRole", ["sts:TagSession"]]),
)
def test_changes_together_let_the_token_in(condition: dict[str, Any], provider: str, action: str | list[str]) -> None:
    broken = {"Effect": "Allow", "Principal": {"Federated": provider}, "Action": action, "Condition": condition}
    asker = Asker(**{**as_fields(ASKER), "role": ("aws", "123456789012")})
    explained = only(ask(broken, asker=asker))
    assume(all(one.part != "statement" for one in explained.obstacles))  # what is not understood has no mend
    keys = [key for block in condition.values() for key in block]
    assume(len({key.lower() for key in keys}) == len(keys))  # two conditions on a key may contradict each other
    assume(sum("sub" in key.lower() for key in keys) < 2)  # nor two that a mend would give the same key
    assume(sum("aud" in key.lower() for key in keys) < 2)
    assert ask(mended(broken, explained), asker=asker).allowed


def as_fields(asker: Asker) -> dict[str, Any]:
    return {name: getattr(asker, name) for name in ("issuer", "subject", "audiences", "session_name", "role")}


def test_statement_for_another_issuer_is_left_alone() -> None:
    other = json.loads(json.dumps(GOOD).replace(ISSUER, "oidc.example/d"))
    principal, *rest = only(ask(other)).obstacles
    assert principal.change is not None
    assert principal.change.action == "add-statement"
    assert "sts-broker trust render" in principal.change.sentence
    assert [one.change for one in rest] == [None, None]


def test_statement_for_others_than_tokens_has_no_mend() -> None:
    chained = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
    assert [(one.part, one.change) for one in only(ask(chained)).obstacles] == [("principal", None), ("action", None)]


def test_what_only_sts_knows_is_said_so() -> None:
    found = obstacle(conditions(StringEquals={"aws:RequestedRegion": "eu-west-1"}))
    assert (found.reason, found.change) == (ONLY_STS_KNOWS, None)
    unknown = obstacle(conditions(IpAddress={"aws:SourceIp": "10.0.0.0/8"}))
    assert (unknown.part, unknown.change) == ("statement", None)
    assert "IpAddress is not supported" in unknown.reason


@pytest.mark.parametrize(
    ("condition", "change"),
    [
        ({"StringEquals": {SUB: [APP, OTHER]}}, "remove-values"),
        ({"StringNotEquals": {SUB: OTHER}}, "add-value"),
        ({"StringEquals": {SUB: APP}}, "remove-condition"),
        ({"StringLike": {SUB: "system:*"}}, "remove-condition"),
        ({"Null": {SUB: "false"}}, None),
        ({}, None),
        ({"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}, "StringEquals": {SUB: OTHER}}, None),
        ({"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}, "StringEquals": {SUB: [APP, OTHER]}}, "remove-values"),
    ],
)
def test_deny_that_applies_says_what_would_keep_it_from_it(condition: dict[str, Any], change: str | None) -> None:
    explanation = ask(statement(), statement(Sid="No", Effect="Deny", Condition=condition))
    assert not explanation.allowed
    assert explanation.reason == "No denies it"
    allowing, denying = explanation.statements
    assert (allowing.outcome, denying.outcome) == ("allows", "denies")
    (found,) = denying.obstacles
    assert (found.change.action if found.change else None) == change


def test_deny_of_an_absent_key_names_the_key() -> None:
    deny = statement(
        Sid="No", Effect="Deny", Principal="*", Condition={"StringNotEquals": {"aws:PrincipalOrgID": "o-1"}}
    )
    (found,) = ask(statement(), deny).statements[1].obstacles
    assert (found.part, found.change) == ("statement", None)
    assert found.reason == "everything in it matches; aws:PrincipalOrgID is absent, for which StringNotEquals holds"


def test_token_for_another_audience_is_to_be_made_for_this_one() -> None:
    asker = Asker(**{**as_fields(ASKER), "audiences": ("vault",)})
    (found,) = only(ask(statement(), asker=asker)).obstacles
    assert found.change is not None
    assert (found.change.action, found.change.new) == ("add-value", "vault")
    assert found.change.sentence == (
        "project a token for sts.amazonaws.com; or, where tokens made for vault may have the role, "
        'add "vault" to its values'
    )


def test_deny_that_does_not_apply_needs_no_mending() -> None:
    explanation = ask(statement(), statement(Effect="Deny", Condition={"StringEquals": {SUB: OTHER}}))
    assert explanation.allowed
    (found,) = explanation.statements[1].obstacles
    assert found.change is None


def test_provider_is_looked_for_in_the_account_of_the_role() -> None:
    asker = Asker(**{**as_fields(ASKER), "role": ("aws-cn", "210987654321")})
    explanation = ask(statement(), asker=asker)
    assert explanation.provider == f"arn:aws-cn:iam::210987654321:oidc-provider/{ISSUER}"
    (found,) = only(explanation).obstacles
    assert found.change is not None
    assert (found.part, found.change.new) == ("principal", explanation.provider)


def test_policy_without_any_provider_names_none() -> None:
    assert ask().provider == f"arn:aws:iam::ACCOUNT:oidc-provider/{ISSUER}"
    assert ask().reason == "no statement lets it in"


def test_token_with_several_audiences_is_let_in_by_any() -> None:
    asker = Asker(**{**as_fields(ASKER), "audiences": ("vault", "sts.amazonaws.com", "other")})
    assert ask(statement(), asker=asker).audience == "sts.amazonaws.com"
    assert ask(conditions(StringEquals={SUB: APP, AUD: "other"}), asker=asker).audience == "other"
    assert not ask(conditions(StringEquals={SUB: APP, AUD: "none"}), asker=asker).allowed


def test_policy_that_cannot_be_read_is_malformed() -> None:
    for text in ("{", "{}", '{"Statement": [], "Statement": []}'):
        with pytest.raises(PolicyMalformedError):
            explain(text, ASKER)
