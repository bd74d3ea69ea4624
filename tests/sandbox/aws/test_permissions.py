"""The evaluation of a caller's own policies, case by case."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sandbox.aws.permissions import Needed, Permissions

ROLE = "arn:aws:iam::210987654321:role/team/target"
CONTEXT = {"sts:ExternalId": ["agreed"]}


def text(**changes: Any) -> str:  # noqa: ANN401 - JSON values
    good = {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": ROLE}
    statement = {name: value for name, value in {**good, **changes}.items() if value is not None}
    return json.dumps({"Version": "2012-10-17", "Statement": statement})


ALLOW, DENY, OTHER = text(), text(Effect="Deny"), text(Action="s3:*", Resource="*")


def refusal(permissions: Permissions, needed: Needed = Needed.ALLOW) -> str | None:
    return permissions.refusal(needed, action="sts:AssumeRole", resource=ROLE, context=CONTEXT)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"Action": ["s3:GetObject", "STS:assume*"]},
        {"Action": "*"},
        {"Action": None, "NotAction": "iam:*"},
        {"Resource": ["arn:aws:s3:::bucket", "arn:aws:iam::*:role/team/*"]},
        {"Resource": "*"},
        {"Resource": "arn:aws:iam::210987654321:role/team/targe?"},
        {"Resource": None, "NotResource": "arn:aws:iam::123456789012:*"},
        {"Condition": {"StringEquals": {"sts:ExternalId": "agreed"}}},
    ],
)
def test_statement_that_covers_action_and_resource_allows(changes: dict[str, Any]) -> None:
    assert refusal(Permissions(identity=(OTHER, text(**changes)))) is None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"Action": "sts:TagSession"}, "Action does not cover sts:AssumeRole"),
        ({"Resource": "arn:aws:iam::210987654321:role/target"}, "Resource does not cover"),
        ({"Resource": "ARN:aws:iam::210987654321:role/team/target"}, "Resource does not cover"),
        ({"Resource": None}, "Resource does not cover"),
        ({"Resource": None, "NotResource": "arn:aws:iam::*:role/team/*"}, "Resource does not cover"),
        ({"Resource": 7}, "Resource has a value that isn't a string"),
        ({"Principal": "*"}, "Principal has no place"),
        ({"Condition": {"StringEquals": {"sts:ExternalId": "other"}}}, "expected other, found agreed"),
        ({"Condition": {"StringEquals": {"sts:ExternalId": "${aws:username}"}}}, "policy variable"),
    ],
)
def test_statement_that_does_not_match_refuses_with_the_reason(changes: dict[str, Any], reason: str) -> None:
    assert reason in str(refusal(Permissions(identity=(text(**changes),))))


@pytest.mark.parametrize("policies", [(), ("{",), ("[]",), (OTHER,)])
def test_policies_without_a_matching_allow_refuse(policies: tuple[str, ...]) -> None:
    assert str(refusal(Permissions(identity=policies))).startswith("the caller's identity policies do not allow")
    assert refusal(Permissions(identity=policies), Needed.NO_BOUND) is None


@pytest.mark.parametrize("needed", list(Needed))
@pytest.mark.parametrize("kind", ["identity", "boundary", "session"])
def test_deny_in_any_policy_takes_precedence(kind: str, needed: Needed) -> None:
    policies: dict[str, tuple[str, ...]] = {"identity": (ALLOW,), "boundary": (ALLOW,), "session": (ALLOW,)}
    assert refusal(Permissions(**policies), needed) is None
    assert "denies" in str(refusal(Permissions(**{**policies, kind: (ALLOW, DENY)}), needed))


@pytest.mark.parametrize("kind", ["boundary", "session"])
def test_limit_applies_unless_the_resource_names_the_session(kind: str) -> None:
    bounded = Permissions(**{"identity": (ALLOW,), kind: (OTHER,)})
    assert f"the caller's {kind}" in str(refusal(bounded, Needed.ALLOW))
    assert f"the caller's {kind}" in str(refusal(bounded, Needed.NO_BOUND))
    assert refusal(bounded, Needed.NO_DENY) is None
    assert refusal(Permissions(**{"identity": (ALLOW,), kind: (OTHER, ALLOW)})) is None


def test_limit_grants_no_permission() -> None:
    assert "identity policies do not allow" in str(refusal(Permissions(boundary=(ALLOW,), session=(ALLOW,))))
