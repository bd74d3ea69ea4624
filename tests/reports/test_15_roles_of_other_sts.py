"""Roles of Ceph and MinIO: a tenant, an account of Ceph, nothing, or a placeholder in the account's place.

Seen at ceph/ceph#13551 and ceph/ceph#63672. botocore asks for 20 to 2,048 characters. Ceph's assumed-role ARN has the
account's text and the path of the role (rgw_sts.cc). MinIO returns no role.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from broker.core.errors import ConfigurationError, ResponseInvalid, RoleDenied
from broker.settings.loader import load
from tests.unit.sts.conftest import exchanger, served, shared, sts
from tests.unit.sts.scripted_sts import exchange, fail_exchange, make_response

if TYPE_CHECKING:
    from pathlib import Path

    from broker.sts.exchange import StsExchanger
    from tests.unit.sts.scripted_sts import Sts

__all__ = ["exchanger", "served", "shared", "sts"]

SESSION = "demo.app-7d9c5b6f8-x2x7k"
OWN = {"AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL_STS": "https://rgw.example:8443"}
ROLES = [
    "arn:aws:iam::tenant1:role/reader",
    "arn:aws:iam::my-tenant_2:role/team/reader",
    "arn:aws:iam::RGW33567154695143645:role/reader",
    "arn:aws:iam:::role/reader",
    "arn:minio:iam:::role/x_7-reader",
]
PLACEHOLDERS = ["arn:x:ignored:by:minio:", "arn:xxx:xxx:xxx:xxxx", "arn:minio:iam:::role/unused"]


@pytest.mark.parametrize("role", [*ROLES, *PLACEHOLDERS, f"arn:aws:iam::t:role/{'p' * 2028}"])
def test_any_arn_is_a_setting_with_an_endpoint_of_ones_own(role: str) -> None:
    assert load({**OWN, "AWS_ROLE_ARN": role}).profiles[0].role_arn == role


@pytest.mark.parametrize(
    "role", ["reader", "arn:aws:iam::t:x", f"arn:{'x' * 2045}", "arn:aws:iam::t:role/a b", "arn:é" * 9]
)
def test_text_that_no_request_may_have_is_refused(role: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^AWS_ROLE_ARN: "):
        load({**OWN, "AWS_ROLE_ARN": role})


@pytest.mark.parametrize("role", [*ROLES[:3], *PLACEHOLDERS[:2]])
def test_without_the_endpoint_the_setting_that_is_missing_is_named(role: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load({"AWS_REGION": "us-east-1", "AWS_ROLE_ARN": role})
    (fault,) = caught.value.faults
    assert fault.startswith("AWS_ROLE_ARN: expected the ARN of a role")
    assert "set sts.endpoint_url (AWS_ENDPOINT_URL_STS)" in fault


def test_each_profile_is_named_by_its_place(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    entries = (f"- {{name: {name}, role_arn: 'arn:aws:iam::tenant:role/{name}'}}\n" for name in "ab")
    path.write_text("profiles:\n" + "".join(entries))
    with pytest.raises(ConfigurationError) as caught:
        load({"AWS_REGION": "us-east-1", "BROKER_CONFIG": str(path)})
    first, second = caught.value.faults
    assert first.startswith(f"{path}: profiles.0.role_arn: expected")
    assert second.startswith(f"{path}: profiles.1.role_arn: expected")


def test_missing_role_with_an_endpoint_names_what_minio_ignores() -> None:
    with pytest.raises(ConfigurationError, match="arn:minio:iam:::role/unused"):
        load(OWN)


@pytest.mark.parametrize(
    ("role", "assumed", "account"),
    [
        (ROLES[0], f"arn:aws:sts::tenant1:assumed-role/reader/{SESSION}", "tenant1"),
        (ROLES[1], f"arn:aws:sts::my-tenant_2:assumed-role/team/reader/{SESSION}", "my-tenant_2"),
        (ROLES[2], f"arn:aws:sts::RGW33567154695143645:assumed-role/reader/{SESSION}", "RGW33567154695143645"),
        (ROLES[3], f"arn:aws:sts:::assumed-role/reader/{SESSION}", ""),
        (ROLES[4], "-", ""),
        (PLACEHOLDERS[0], "-", ""),
        (PLACEHOLDERS[0], f"arn:aws:sts::t:assumed-role/any/{SESSION}", "t"),
    ],
)
def test_session_of_the_role_is_accepted_and_keeps_the_accounts_text(
    exchanger: StsExchanger, sts: Sts, role: str, assumed: str, account: str
) -> None:
    sts.body = make_response(Arn=assumed)
    credentials = exchange(exchanger, role_arn=role)
    assert credentials.account_id == account
    assert sts.parameters["RoleArn"] == role


@pytest.mark.parametrize(
    "assumed",
    [
        f"arn:aws:sts::tenant2:assumed-role/reader/{SESSION}",
        f"arn:aws:sts::tenant1:assumed-role/writer/{SESSION}",
        f"arn:aws:sts::tenant1:assumed-role/other/reader/{SESSION}",
        "arn:aws:sts::tenant1:assumed-role/reader/somebody",
    ],
)
def test_session_of_another_role_is_refused(exchanger: StsExchanger, sts: Sts, assumed: str) -> None:
    sts.body = make_response(Arn=assumed)
    assert isinstance(fail_exchange(exchanger, role_arn=ROLES[0]), ResponseInvalid)


@pytest.mark.parametrize(
    "body",
    [
        b"<Error><Code>NoSuchEntity</Code><Message>no such role</Message><RequestId>tx1</RequestId></Error>",
        b'{"Code":"NoSuchEntity","Message":"no such role","RequestId":"tx1","HostId":"a"}',
    ],
)
def test_role_that_does_not_exist_there_is_denied_with_code_and_message(
    exchanger: StsExchanger, sts: Sts, body: bytes
) -> None:
    sts.status, sts.body = 404, body
    error = fail_exchange(exchanger, role_arn=ROLES[0])
    assert isinstance(error, RoleDenied)
    assert (error.code, error.http_status, error.request_id) == ("NoSuchEntity", 404, "tx1")
    assert "STS returned NoSuchEntity: no such role." in error.message
    assert f"correct role_arn (AWS_ROLE_ARN) from {ROLES[0]}" in error.remedy
