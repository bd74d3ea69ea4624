"""Explanations: the evaluator's verdict, the obstacles, and changes that make the policy allow the token."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from broker.policy.document import PolicyMalformedError
from broker.trust.explain import ONLY_STS_KNOWS, Explanation, Obstacle, StatementExplanation, WebIdentity, explain

ISSUER = "oidc.example/c"
PROVIDER = f"arn:aws:iam::123456789012:oidc-provider/{ISSUER}"
SUB, AUD = f"{ISSUER}:sub", f"{ISSUER}:aud"
APP, OTHER = "system:serviceaccount:demo:app", "system:serviceaccount:demo:other"
WEB = "sts:AssumeRoleWithWebIdentity"
IDENTITY = WebIdentity(
    issuer=f"https://{ISSUER}", subject=APP, audiences=("sts.amazonaws.com",), session_name="demo.app"
)
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


def explain_statements(*statements: dict[str, Any], identity: WebIdentity = IDENTITY) -> Explanation:
    return explain(json.dumps({"Version": "2012-10-17", "Statement": list(statements)}, indent=1), identity)


def find_only_statement(explanation: Explanation) -> StatementExplanation:
    (found,) = explanation.statements
    return found


def find_only_obstacle(broken: dict[str, Any], identity: WebIdentity = IDENTITY) -> Obstacle:
    explanation = explain_statements(broken, identity=identity)
    assert not explanation.allowed
    (found,) = find_only_statement(explanation).obstacles
    return found


def apply_changes(broken: dict[str, Any], explained: StatementExplanation) -> dict[str, Any]:
    """Apply the suggested changes to a statement."""
    fixed = copy.deepcopy(broken)
    for one in explained.obstacles:
        assert one.change is not None
        if one.part == "principal":
            fixed["Principal"]["Federated"] = one.change.new
        elif one.part == "action":
            actions = fixed.get("Action", [])
            fixed["Action"] = [*(actions if isinstance(actions, list) else [actions]), one.change.new]
        else:
            apply_condition_change(fixed["Condition"][one.operator], one)
    return fixed


def apply_condition_change(block: dict[str, Any], one: Obstacle) -> None:
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


def test_named_token_is_allowed() -> None:
    explanation = explain_statements(statement(Sid="Trust"))
    assert explanation.allowed
    assert explanation.reason == "Trust allows this token"
    assert explanation.provider == PROVIDER
    assert (find_only_statement(explanation).outcome, find_only_statement(explanation).obstacles) == ("allows", ())


def test_statement_has_the_line_of_the_text() -> None:
    explanation = explain_statements(statement(Condition={}), statement())
    text = json.dumps({"Version": "2012-10-17", "Statement": [statement(Condition={}), statement()]}, indent=1)
    starts = [number for number, line in enumerate(text.splitlines(), start=1) if line == "  {"]
    assert [one.line for one in explanation.statements] == starts


@pytest.mark.parametrize(
    ("broken", "action", "sentence"),
    [
        (conditions(StringEquals={SUB: OTHER}), "add-value", f'add "{APP}" to its values'),
        (conditions(StringLike={SUB: ["a*", "b*"]}), "add-value", f'add "{APP}" to its values'),
        (conditions(StringEquals={SUB: APP.upper()}), "replace-value", "values are compared with case and spaces"),
        (conditions(StringEquals={SUB: f"{APP} "}), "replace-value", "values are compared with case and spaces"),
        (conditions(StringEquals={SUB: "system:serviceaccount:demo:*"}), "replace-value", "compares * and ? literally"),
        (conditions(StringEquals={AUD: "sts.amazonaws.com.cn"}), "add-value", 'add "sts.amazonaws.com"'),
        (conditions(StringNotEquals={SUB: [APP, OTHER]}), "remove-values", f'remove "{APP}" from its values'),
        (
            conditions(StringNotLike={SUB: ["*:app", "*", "x"]}),
            "remove-values",
            'remove "*:app" and "*" from its values',
        ),
        (conditions(StringNotEquals={SUB: APP}), "remove-condition", "all of its values match"),
        (conditions(StringEquals={f"https://{SUB}": APP}), "rename-key", f"replace https://{SUB} with {SUB}"),
        (conditions(StringEquals={"oidc.example/d:sub": OTHER}), "rename-key", f'and its values with "{APP}"'),
        (conditions(StringEquals={f"{ISSUER}:pod": "x"}), "remove-condition", "of a cluster's token"),
        (conditions(StringEquals={"sts:ExternalId": "x"}), "remove-condition", "of a cluster's token"),
        (
            conditions(ForAnyValue__StringNotLike={"oidc.example/d:sub": APP}),
            "remove-condition",
            f"with {SUB} it would exclude this token",
        ),
        (
            conditions(ForAnyValue__StringNotEquals={"oidc.example/d:sub": OTHER}),
            "rename-key",
            f"replace oidc.example/d:sub with {SUB}",
        ),
        (conditions(Null={SUB: "true"}), "remove-condition", f"the token has {SUB}"),
        (conditions(StringEquals={"sts:RoleSessionName": "x"}), "add-value", 'add "demo.app"'),
        (conditions(ForAllValues__StringEquals={SUB: OTHER}), "add-value", f'add "{APP}"'),
        (statement(Action="sts:AssumeRole"), "add-value", f"add {WEB} to Action"),
        (statement(Principal={"Federated": f"{PROVIDER}/"}), "replace-value", f"name {PROVIDER} in Principal"),
    ],
)
def test_obstacle_has_the_change_that_fixes_it(broken: dict[str, Any], action: str, sentence: str) -> None:
    found = find_only_obstacle(broken)
    assert found.change is not None
    assert found.change.action == action
    assert sentence in found.change.sentence
    assert explain_statements(apply_changes(broken, find_only_statement(explain_statements(broken)))).allowed


def test_failed_condition_has_expected_and_found_values() -> None:
    found = find_only_obstacle(conditions(StringEquals={AUD: "sts.amazonaws.com"}, StringLike={SUB: ["a*", "b*"]}))
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
def test_all_changes_together_allow_the_token(
    condition: dict[str, Any], provider: str, action: str | list[str]
) -> None:
    broken = {"Effect": "Allow", "Principal": {"Federated": provider}, "Action": action, "Condition": condition}
    identity = WebIdentity(**{**as_fields(IDENTITY), "role": ("aws", "123456789012")})
    explained = find_only_statement(explain_statements(broken, identity=identity))
    assume(all(one.part != "statement" for one in explained.obstacles))  # what is not understood has no fix
    keys = [key for block in condition.values() for key in block]
    assume(len({key.lower() for key in keys}) == len(keys))  # two conditions on a key may contradict each other
    assume(sum("sub" in key.lower() for key in keys) < 2)  # and so may two that a change gives the same key
    assume(sum("aud" in key.lower() for key in keys) < 2)
    assert explain_statements(apply_changes(broken, explained), identity=identity).allowed


def as_fields(identity: WebIdentity) -> dict[str, Any]:
    return {name: getattr(identity, name) for name in ("issuer", "subject", "audiences", "session_name", "role")}


def test_statement_for_another_issuer_is_not_changed() -> None:
    other = json.loads(json.dumps(GOOD).replace(ISSUER, "oidc.example/d"))
    principal, *rest = find_only_statement(explain_statements(other)).obstacles
    assert principal.change is not None
    assert principal.change.action == "add-statement"
    assert "sts-broker trust render" in principal.change.sentence
    assert [one.change for one in rest] == [None, None]


def test_statement_that_is_not_for_tokens_gets_no_change() -> None:
    chained = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
    assert [(one.part, one.change) for one in find_only_statement(explain_statements(chained)).obstacles] == [
        ("principal", None),
        ("action", None),
    ]


def test_key_that_only_sts_knows_is_reported_as_such() -> None:
    found = find_only_obstacle(conditions(StringEquals={"aws:RequestedRegion": "eu-west-1"}))
    assert (found.reason, found.change) == (ONLY_STS_KNOWS, None)
    unknown = find_only_obstacle(conditions(IpAddress={"aws:SourceIp": "10.0.0.0/8"}))
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
def test_applying_deny_has_the_change_that_stops_it(condition: dict[str, Any], change: str | None) -> None:
    explanation = explain_statements(statement(), statement(Sid="No", Effect="Deny", Condition=condition))
    assert not explanation.allowed
    assert explanation.reason == "No denies this token"
    allowing, denying = explanation.statements
    assert (allowing.outcome, denying.outcome) == ("allows", "denies")
    (found,) = denying.obstacles
    assert (found.change.action if found.change else None) == change


def test_deny_that_matches_an_absent_key_names_the_key() -> None:
    deny = statement(
        Sid="No", Effect="Deny", Principal="*", Condition={"StringNotEquals": {"aws:PrincipalOrgID": "o-1"}}
    )
    (found,) = explain_statements(statement(), deny).statements[1].obstacles
    assert (found.part, found.change) == ("statement", None)
    assert found.reason == "all of its elements match; aws:PrincipalOrgID is absent, which StringNotEquals matches"


def test_token_with_another_audience_gets_the_advice_to_request_this_one() -> None:
    identity = WebIdentity(**{**as_fields(IDENTITY), "audiences": ("vault",)})
    (found,) = find_only_statement(explain_statements(statement(), identity=identity)).obstacles
    assert found.change is not None
    assert (found.change.action, found.change.new) == ("add-value", "vault")
    assert found.change.sentence == (
        "request a token for sts.amazonaws.com; or, if every token for vault may use the role, "
        'add "vault" to its values'
    )


def test_deny_that_does_not_apply_gets_no_change() -> None:
    explanation = explain_statements(statement(), statement(Effect="Deny", Condition={"StringEquals": {SUB: OTHER}}))
    assert explanation.allowed
    (found,) = explanation.statements[1].obstacles
    assert found.change is None


def test_provider_is_in_the_account_of_the_role() -> None:
    identity = WebIdentity(**{**as_fields(IDENTITY), "role": ("aws-cn", "210987654321")})
    explanation = explain_statements(statement(), identity=identity)
    assert explanation.provider == f"arn:aws-cn:iam::210987654321:oidc-provider/{ISSUER}"
    (found,) = find_only_statement(explanation).obstacles
    assert found.change is not None
    assert (found.part, found.change.new) == ("principal", explanation.provider)


def test_policy_without_a_provider_uses_a_placeholder_account() -> None:
    assert explain_statements().provider == f"arn:aws:iam::ACCOUNT:oidc-provider/{ISSUER}"
    assert explain_statements().reason == "no statement allows this token"


def test_token_with_several_audiences_is_allowed_by_any_of_them() -> None:
    identity = WebIdentity(**{**as_fields(IDENTITY), "audiences": ("vault", "sts.amazonaws.com", "other")})
    assert explain_statements(statement(), identity=identity).audience == "sts.amazonaws.com"
    assert explain_statements(conditions(StringEquals={SUB: APP, AUD: "other"}), identity=identity).audience == "other"
    assert not explain_statements(conditions(StringEquals={SUB: APP, AUD: "none"}), identity=identity).allowed


def test_malformed_policy_raises() -> None:
    for text in ("{", "{}", '{"Statement": [], "Statement": []}'):
        with pytest.raises(PolicyMalformedError):
            explain(text, IDENTITY)
