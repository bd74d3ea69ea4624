"""ARNs of roles on AWS, Ceph and MinIO."""

from __future__ import annotations

import pytest

from broker.core.role_arns import is_aws_role, is_session_of, read_account, read_partition

AWS = "arn:aws:iam::123456789012:role/app"


@pytest.mark.parametrize(
    "arn", [AWS, "arn:aws-us-gov:iam::123456789012:role/a/b/app", "arn:aws:iam:::role/app", "arn:minio:iam:::role/x_y"]
)
def test_role_of_aws_form_is_recognized(arn: str) -> None:
    assert is_aws_role(arn)


@pytest.mark.parametrize(
    "arn",
    [
        "arn:aws:iam::tenant1:role/app",
        "arn:aws:iam::RGW33567154695143645:role/app",
        "arn:aws:iam::123:role/app",
        "arn:aws:iam::123456789012:user/app",
        "arn:x:ignored:by:minio:",
        AWS + "\n",
        f"arn:aws:iam::123456789012:role/{'x' * 2048}",
    ],
)
def test_other_arns_are_not_roles_of_aws(arn: str) -> None:
    assert not is_aws_role(arn)


@pytest.mark.parametrize(
    ("arn", "partition", "account"),
    [
        (AWS, "aws", "123456789012"),
        ("arn:aws:sts::123456789012:assumed-role/app/session", "aws", "123456789012"),
        ("arn:aws:iam::tenant1:role/app", "aws", "tenant1"),
        ("arn:minio:iam:::role/x", "minio", ""),
        ("arn:x:ignored:by:minio:", "x", ""),
        ("arn:xxx:xxx:xxx:xxxx", "xxx", ""),
        ("arn:", "", ""),
        ("", "", ""),
    ],
)
def test_partition_and_account_are_read_from_any_arn(arn: str, partition: str, account: str) -> None:
    assert (read_partition(arn), read_account(arn)) == (partition, account)


@pytest.mark.parametrize(
    ("session", "role", "on_aws", "on_another"),
    [
        ("arn:aws:sts::123456789012:assumed-role/app/s", AWS, True, True),
        ("arn:aws:sts::tenant1:assumed-role/app/s", "arn:aws:iam::tenant1:role/app", True, True),
        # Ceph keeps the path
        ("arn:aws:sts::t:assumed-role/team/app/s", "arn:aws:iam::t:role/team/app", False, True),
        ("arn:aws:sts::t:assumed-role/app/s", "arn:aws:iam::t:role/team/app", True, True),
        ("arn:aws:sts::other:assumed-role/app/s", "arn:aws:iam::t:role/app", False, False),
        ("arn:aws:sts::t:assumed-role/other/app/s", "arn:aws:iam::t:role/team/app", False, False),
        ("arn:aws:sts::t:assumed-role/app/another", "arn:aws:iam::t:role/app", False, False),
        # a placeholder names no role
        ("arn:aws:sts::t:assumed-role/any/s", "arn:x:ignored:by:minio:", False, True),
        ("arn:aws:sts::t:assumed-role/any/another", "arn:x:ignored:by:minio:", False, False),
        ("nonsense", AWS, False, False),
    ],
)
def test_session_belongs_to_its_role(session: str, role: str, *, on_aws: bool, on_another: bool) -> None:
    assert is_session_of(session, role, "s", is_custom_endpoint=False) == on_aws
    assert is_session_of(session, role, "s", is_custom_endpoint=True) == on_another
