"""Session tags and source identities in AssumeRole: who may set them, and what a chain of roles inherits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.sandbox.role_chains import HERE, SESSION, SOURCE, THERE, assume, denied, refusal, tags
from tests.sandbox.sts_client import Exchanger, keys_of

if TYPE_CHECKING:
    from sandbox import Sandbox

ASSUME, TAG, SET_SOURCE_IDENTITY = "sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"
EVERY_ROLE = "arn:aws:iam::*:role/*"
CONFLICT = (
    "One of the specified transitive tag keys can't be set because it conflicts with "
    "a transitive tag key from the calling session."
)


@pytest.fixture
def keys(simulator: Sandbox, exchanger: Exchanger) -> dict[str, str]:
    return exchanger.keys(RoleArn=simulator.create_role("source", may_assume=[EVERY_ROLE]))


def statement(*actions: str, effect: str = "Allow", condition: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"Effect": effect, "Principal": {"AWS": SOURCE}, "Action": list(actions), "Condition": condition or {}}


def role(simulator: Sandbox, *statements: dict[str, Any], account_id: str = HERE) -> str:
    policy = {"Version": "2012-10-17", "Statement": list(statements)}
    return simulator.create_role("tagged", trust_policy=policy, account_id=account_id)


def test_tags_need_tag_session_in_the_trust(simulator: Sandbox, keys: dict[str, str]) -> None:
    arn = role(simulator, statement(ASSUME))
    assert assume(simulator, keys, arn)
    assert refusal(simulator, keys, arn, Tags=tags(team="blue")) == denied(arn, TAG)
    call = simulator.sts.calls[-1]
    assert call.reason.startswith("the trust policy does not allow sts:TagSession")
    arn = role(simulator, statement(ASSUME, TAG))
    assert (
        assume(simulator, keys, arn, Tags=tags(team="blue", env=""), TransitiveTagKeys=["env"])["PackedPolicySize"] >= 1
    )
    call = simulator.sts.calls[-1]
    assert (call.tag_keys, call.transitive_tag_keys) == (("team", "env"), ("env",))
    assert "blue" not in repr(call)


def test_tags_need_tag_session_of_the_caller_where_the_trust_is_in_another_account(
    simulator: Sandbox, keys: dict[str, str]
) -> None:
    arn = role(simulator, statement(ASSUME, TAG), account_id=THERE)
    assert assume(simulator, keys, arn, Tags=tags(team="blue"))
    simulator.permit_chaining(SOURCE, [arn], actions=[ASSUME])
    assert assume(simulator, keys, arn)
    assert refusal(simulator, keys, arn, Tags=tags(team="blue")) == denied(arn, TAG)
    assert "the caller's identity policies do not allow sts:TagSession" in simulator.sts.calls[-1].reason


GUIDE = (  # the example in docs.aws.amazon.com/IAM/latest/UserGuide/id_session-tags.html, for this caller
    statement(
        ASSUME,
        condition={
            "StringLike": {f"aws:RequestTag/{key}": "*" for key in ("Project", "CostCenter", "Department")},
            "StringEquals": {"sts:ExternalId": "Example987"},
        },
    ),
    statement(
        TAG,
        condition={
            "StringLike": {"aws:RequestTag/Project": "*", "aws:RequestTag/CostCenter": "*"},
            "StringEquals": {"aws:RequestTag/Department": ["Engineering", "Marketing"]},
            "ForAllValues:StringEquals": {"sts:TransitiveTagKeys": ["Project", "Department"]},
        },
    ),
)
GOOD = {"Project": "Automation", "CostCenter": "12345", "Department": "Engineering"}


@pytest.mark.parametrize(
    ("pairs", "transitive", "refused_action"),
    [
        (GOOD, ["Project", "Department"], None),
        ({"PROJECT": "a", "costcenter": "b", "department": "Marketing"}, [], None),
        (GOOD | {"Extra": "x"}, [], None),
        ({"Project": "Automation", "CostCenter": "12345"}, [], ASSUME),
        ({}, [], ASSUME),
        (GOOD | {"Department": "Sales"}, [], TAG),
        (GOOD, ["CostCenter"], TAG),
    ],
)
def test_trust_policy_of_the_user_guide_has_the_documented_results(
    simulator: Sandbox, keys: dict[str, str], pairs: dict[str, str], transitive: list[str], refused_action: str | None
) -> None:
    arn = role(simulator, *GUIDE)
    parameters: dict[str, Any] = {"Tags": tags(**pairs), "TransitiveTagKeys": transitive}
    assert refusal(simulator, keys, arn, **parameters, ExternalId="Example988") == denied(arn)
    if refused_action is None:
        assert assume(simulator, keys, arn, **parameters, ExternalId="Example987")
    else:
        assert refusal(simulator, keys, arn, **parameters, ExternalId="Example987") == denied(arn, refused_action)


def test_condition_on_tag_keys_limits_the_passed_tags(simulator: Sandbox, keys: dict[str, str]) -> None:
    arn = role(
        simulator,
        statement(ASSUME),
        statement(TAG, condition={"ForAllValues:StringEquals": {"aws:TagKeys": ["team", "env"]}}),
    )
    assert assume(simulator, keys, arn, Tags=tags(team="blue"))
    assert refusal(simulator, keys, arn, Tags=tags(team="blue", role="admin")) == denied(arn, TAG)


def test_deny_of_a_tag_value_takes_precedence(simulator: Sandbox, keys: dict[str, str]) -> None:
    deny = statement("sts:*", effect="Deny", condition={"StringEquals": {"aws:RequestTag/env": "production"}})
    arn = role(simulator, statement(ASSUME, TAG), deny)
    assert assume(simulator, keys, arn, Tags=tags(env="test"))
    assert refusal(simulator, keys, arn, Tags=tags(Env="production")) == denied(arn)


@pytest.mark.parametrize(
    ("action", "condition"),
    [
        (TAG, {"StringEquals": {"sts:ExternalId": "agreed"}}),
        (TAG, {"StringLike": {"sts:RoleSessionName": "*"}}),
        (TAG, {"StringLike": {"sts:SourceIdentity": "*"}}),
        (SET_SOURCE_IDENTITY, {"StringEquals": {"sts:ExternalId": "agreed"}}),
        (SET_SOURCE_IDENTITY, {"StringLike": {"sts:RoleSessionName": "*"}}),
        (SET_SOURCE_IDENTITY, {"StringLike": {"aws:RequestTag/team": "*"}}),
    ],
)
def test_condition_on_a_key_of_another_action_never_matches(
    simulator: Sandbox, keys: dict[str, str], action: str, condition: dict[str, Any]
) -> None:
    others = [one for one in (ASSUME, TAG, SET_SOURCE_IDENTITY) if one != action]
    arn = role(simulator, statement(*others), statement(action, condition=condition))
    parameters = {"Tags": tags(team="blue"), "SourceIdentity": "alice", "ExternalId": "agreed"}
    assert refusal(simulator, keys, arn, **parameters) == denied(arn, action)


def test_source_identity_is_returned_and_needs_its_own_permission(simulator: Sandbox, keys: dict[str, str]) -> None:
    arn = role(simulator, statement(ASSUME, SET_SOURCE_IDENTITY))
    assert assume(simulator, keys, arn, SourceIdentity="alice")["SourceIdentity"] == "alice"
    assert simulator.sts.calls[-1].source_identity == "alice"
    arn = role(simulator, statement(ASSUME, TAG))
    assert refusal(simulator, keys, arn, SourceIdentity="alice") == denied(arn, SET_SOURCE_IDENTITY)


def test_source_identity_of_a_chain_needs_the_callers_permission_even_where_the_trust_names_it(
    simulator: Sandbox, keys: dict[str, str]
) -> None:
    simulator.permit_chaining(SOURCE, [EVERY_ROLE], actions=[ASSUME])
    arn = role(simulator, statement(ASSUME, SET_SOURCE_IDENTITY))
    assert refusal(simulator, keys, arn, SourceIdentity="alice") == denied(arn, SET_SOURCE_IDENTITY)
    assert "the caller's identity policies do not allow" in simulator.sts.calls[-1].reason


def test_source_identity_can_be_required_and_denied(simulator: Sandbox, keys: dict[str, str]) -> None:
    deny = statement("sts:*", effect="Deny", condition={"StringEquals": {"sts:SourceIdentity": "mallory"}})
    required = statement(ASSUME, SET_SOURCE_IDENTITY, condition={"StringLike": {"sts:SourceIdentity": "*"}})
    arn = role(simulator, required, deny)
    assert assume(simulator, keys, arn, SourceIdentity="alice")
    assert refusal(simulator, keys, arn) == denied(arn)
    assert refusal(simulator, keys, arn, SourceIdentity="mallory") == denied(arn)


def chain_of_two(simulator: Sandbox, keys: dict[str, str], **parameters: Any) -> dict[str, str]:  # noqa: ANN401 - the API's
    """Assume `middle` with these parameters. Return the keys of its session, which may assume every role."""
    arn = simulator.create_role("middle", trust_policy=simulator.chain_trust(SOURCE), may_assume=[EVERY_ROLE])
    return keys_of(assume(simulator, keys, arn, **parameters))


MIDDLE = f"arn:aws:iam::{HERE}:role/middle"
MIDDLE_SESSION = f"arn:aws:sts::{HERE}:assumed-role/middle/hop"


def test_transitive_tags_are_inherited_along_a_chain_of_three(simulator: Sandbox, keys: dict[str, str]) -> None:
    middle = chain_of_two(
        simulator, keys, Tags=tags(Star="1", Heart="2", Plain="3"), TransitiveTagKeys=["star", "Heart"]
    )
    wanted = {"aws:PrincipalTag/star": "1", "aws:PrincipalTag/HEART": "2", "aws:PrincipalTag/Plain": "3"}
    third = simulator.create_role(
        "third", trust_policy=simulator.chain_trust(MIDDLE, condition={"StringEquals": wanted}), may_assume=[EVERY_ROLE]
    )
    response = assume(simulator, middle, third, Tags=tags(Sun="4"))
    assert response["PackedPolicySize"] >= 1
    inherited = {"aws:PrincipalTag/Star": "1", "aws:PrincipalTag/Heart": "2", "aws:PrincipalTag/Sun": "4"}
    trust = simulator.chain_trust(
        third, condition={"StringEquals": inherited, "Null": {"aws:PrincipalTag/Plain": "true"}}
    )
    last = simulator.create_role("last", trust_policy=trust, account_id=THERE)
    end = keys_of(assume(simulator, keys_of(response), last))
    kept = {"StringEquals": {"aws:PrincipalTag/Star": "1"}, "Null": {"aws:PrincipalTag/Sun": "true"}}
    final = simulator.create_role("final", account_id=THERE, trust_policy=simulator.chain_trust(last, condition=kept))
    assert assume(simulator, end, final)


def test_inherited_tags_need_tag_session_on_the_next_role_too(simulator: Sandbox, keys: dict[str, str]) -> None:
    next_role = simulator.create_role("third", trust_policy=simulator.chain_trust(MIDDLE, actions=[ASSUME]))
    plain = chain_of_two(simulator, keys, Tags=tags(team="blue"))
    assert assume(simulator, plain, next_role)
    transitive = chain_of_two(simulator, keys, Tags=tags(team="blue"), TransitiveTagKeys=["team"])
    assert refusal(simulator, transitive, next_role) == denied(next_role, TAG, MIDDLE_SESSION)


@pytest.mark.parametrize("key", ["team", "TEAM"])
def test_inherited_tag_cannot_be_overridden(simulator: Sandbox, keys: dict[str, str], key: str) -> None:
    middle = chain_of_two(simulator, keys, Tags=tags(team="blue"), TransitiveTagKeys=["team"])
    arn = simulator.create_role("third", trust_policy=simulator.chain_trust(MIDDLE))
    response = refusal(simulator, middle, arn, Tags=tags(**{key: "blue"}))
    assert (response.code, response.message, response.status) == ("InvalidParameterValue", CONFLICT, 400)
    assert assume(simulator, middle, arn, Tags=tags(other="x"))


def test_inherited_tags_are_not_request_tags(simulator: Sandbox, keys: dict[str, str]) -> None:
    middle = chain_of_two(simulator, keys, Tags=tags(team="blue"), TransitiveTagKeys=["team"])
    absent = {"aws:RequestTag/team": "true", "aws:TagKeys": "true", "sts:TransitiveTagKeys": "true"}
    assert assume(
        simulator,
        middle,
        simulator.create_role("third", trust_policy=simulator.chain_trust(MIDDLE, condition={"Null": absent})),
    )


def test_roles_own_tags_are_principal_tags_until_a_session_tag_overrides_them(
    simulator: Sandbox, keys: dict[str, str]
) -> None:
    simulator.iam.tag_role(RoleName="source", Tags=[{"Key": "Team", "Value": "red"}])
    arn = role(simulator, statement(ASSUME, condition={"StringEquals": {"aws:PrincipalTag/team": "red"}}))
    assert assume(simulator, keys, arn)
    middle = chain_of_two(simulator, keys, Tags=tags(team="blue"))
    simulator.iam.tag_role(RoleName="middle", Tags=[{"Key": "Team", "Value": "red"}])
    trust = simulator.chain_trust(MIDDLE, condition={"StringEquals": {"aws:PrincipalTag/team": "blue"}})
    assert assume(simulator, middle, simulator.create_role("third", trust_policy=trust))


def test_source_identity_is_inherited_and_cannot_be_changed(simulator: Sandbox, keys: dict[str, str]) -> None:
    middle = chain_of_two(simulator, keys, SourceIdentity="alice")
    trust = simulator.chain_trust(MIDDLE, condition={"StringEquals": {"aws:SourceIdentity": "alice"}})
    arn = simulator.create_role("third", trust_policy=trust)
    assert assume(simulator, middle, arn)["SourceIdentity"] == "alice"
    assert assume(simulator, middle, arn, SourceIdentity="alice")["SourceIdentity"] == "alice"
    response = refusal(simulator, middle, arn, SourceIdentity="bob")
    assert (response.code, response.status) == ("ValidationError", 400)
    assert response.message == "The source identity is already set for this assume role session"


def test_inherited_source_identity_needs_its_permission_on_the_next_role_too(
    simulator: Sandbox, keys: dict[str, str]
) -> None:
    middle = chain_of_two(simulator, keys, SourceIdentity="alice")
    arn = simulator.create_role("third", trust_policy=simulator.chain_trust(MIDDLE, actions=[ASSUME, TAG]))
    assert refusal(simulator, middle, arn) == denied(arn, SET_SOURCE_IDENTITY, MIDDLE_SESSION)


def test_source_identity_is_not_yet_the_callers_when_it_is_set(simulator: Sandbox, keys: dict[str, str]) -> None:
    trust = simulator.chain_trust(SOURCE, condition={"Null": {"aws:SourceIdentity": "true"}})
    assert assume(simulator, keys, simulator.create_role("third", trust_policy=trust), SourceIdentity="alice")
    assert simulator.sts.calls[-1].caller_arn == SESSION
