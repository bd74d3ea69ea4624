"""Reading an account from saved answers of IAM, and from Terraform."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from broker.trust.audit.saved_account import read_files
from tests.support.audited_account import (
    AUDIENCE,
    AUTHORIZATION_DETAILS,
    BOUNDARY,
    ISSUER,
    PROVIDER_LIST,
    ROLE_LIST,
    ROLES,
    describe_provider,
    provider_arn,
    role_arn,
)

if TYPE_CHECKING:
    from pathlib import Path

    from broker.trust.audit.account import Account


@pytest.fixture
def read(tmp_path: Path) -> Any:  # noqa: ANN401 - a function
    def read(*documents: object) -> Account:
        paths = []
        for number, one in enumerate(documents):
            path = tmp_path / f"{number}.json"
            path.write_text(one if isinstance(one, str) else json.dumps(one, indent=2))
            paths.append(str(path))
        return read_files(paths)

    return read


def test_saved_answers_complete_each_other(read: Any) -> None:  # noqa: ANN401
    account = read(ROLE_LIST, AUTHORIZATION_DETAILS, PROVIDER_LIST, describe_provider(ISSUER))
    found = {one.name: (one.maximum_seconds, one.boundary) for one in account.roles}
    assert found["cart"] == (7200, "")
    assert found["deploy"] == (3600, BOUNDARY)
    assert set(found) == set(ROLES)
    assert {one.arn: one.audiences for one in account.providers}[provider_arn()] == (AUDIENCE,)
    assert {one.audiences for one in account.providers if one.issuer != ISSUER} == {None}
    assert (account.has_all_roles, account.has_all_providers) == (True, True)
    assert (account.faults, account.unjudged, account.notes) == ([], [], [])


def test_role_has_the_line_of_the_file(read: Any) -> None:  # noqa: ANN401
    (first, *_) = read(AUTHORIZATION_DETAILS).roles
    assert json.dumps(AUTHORIZATION_DETAILS, indent=2).split("\n")[first.source.line].strip().startswith('"Arn"')


def test_boundary_is_unknown_in_a_list_of_roles(read: Any) -> None:  # noqa: ANN401
    assert {one.boundary for one in read(ROLE_LIST).roles} == {None}
    assert {one.maximum_seconds for one in read(AUTHORIZATION_DETAILS).roles} == {None}


def test_roles_without_providers_are_noted(read: Any) -> None:  # noqa: ANN401
    (note,) = read(AUTHORIZATION_DETAILS).notes
    assert "aws iam list-open-id-connect-providers" in note


def test_truncated_answer_is_not_complete(read: Any) -> None:  # noqa: ANN401
    account = read({**AUTHORIZATION_DETAILS, "IsTruncated": True})
    assert not account.has_all_roles
    assert "read all pages" in account.unjudged[0]


def test_key_that_appears_twice_is_reported(read: Any) -> None:  # noqa: ANN401
    account = read('{"RoleDetailList": [{"Arn": "a", "Arn": "b"}]}')
    assert "line 1: the key Arn appears twice" in account.unjudged[0]


@pytest.mark.parametrize(
    ("document", "fault"),
    [
        ("", "the file is empty"),
        ('resource "aws_iam_role" "x" {\n}', "Terraform configuration"),
        ({"Statement": []}, "neither the output of `aws iam get-account-authorization-details`"),
        ({"serial": 1, "version": 3}, "a state file of version 3"),
    ],
)
def test_other_input_is_a_fault(read: Any, document: object, fault: str) -> None:  # noqa: ANN401
    (found,) = read(document).faults
    assert fault in found


def make_resource(kind: str, name: str, **values: Any) -> dict[str, Any]:  # noqa: ANN401 - attributes
    return {"mode": "managed", "type": kind, "name": name, "instances": [{"attributes": values}]}


def test_state_has_roles_and_providers(read: Any) -> None:  # noqa: ANN401
    role = make_resource(
        "aws_iam_role",
        "cart",
        arn=role_arn("cart"),
        assume_role_policy=json.dumps(ROLES["cart"]),
        max_session_duration=7200,
        permissions_boundary=BOUNDARY,
    )
    arn = provider_arn()
    provider = make_resource(
        "aws_iam_openid_connect_provider", "cluster", arn=arn, url=ISSUER, client_id_list=[AUDIENCE]
    )
    account = read({"version": 4, "serial": 1, "lineage": "x", "resources": [role, provider]})
    (found,) = account.roles
    assert (found.arn, found.maximum_seconds, found.boundary) == (role_arn("cart"), 7200, BOUNDARY)
    assert [(one.arn, one.audiences) for one in account.providers] == [(arn, (AUDIENCE,))]
    assert not account.has_all_providers
    assert not account.has_all_roles


def test_plan_without_arns_makes_them_of_names(read: Any) -> None:  # noqa: ANN401
    def plan(kind: str, address: str, after: dict[str, Any], unknown: dict[str, Any]) -> dict[str, Any]:
        change = {"after": after, "after_unknown": unknown}
        return {"address": address, "type": kind, "change": change}

    changes = [
        plan(
            "aws_iam_role",
            "aws_iam_role.cart",
            {"assume_role_policy": json.dumps(ROLES["cart"]), "name": "cart", "path": "/shop/"},
            {"arn": True, "permissions_boundary": True},
        ),
        plan("aws_iam_role", "aws_iam_role.later", {"name": "later"}, {"assume_role_policy": True}),
        plan("aws_iam_openid_connect_provider", "p.new", {"url": f"https://{ISSUER}"}, {"arn": True}),
    ]
    account = read({"format_version": "1.2", "resource_changes": changes})
    (found,) = account.roles
    assert (found.arn, found.boundary) == ("arn:aws:iam:::role/shop/cart", None)
    assert account.providers == []
    assert any("aws_iam_role.later" in line for line in account.unjudged)
