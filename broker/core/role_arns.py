"""ARNs of roles: what AWS accepts, what other STS implementations use, and which session belongs to which role. Pure.

AWS: `arn:PARTITION:iam::ACCOUNT:role/PATH/NAME`, where the account has 12 digits. With an STS of one's own, other texts
are common. Ceph has a tenant or an account id in the account's place, or nothing (ceph/ceph#13551, ceph/ceph#63672).
MinIO makes ARNs of its own, and ignores the ARN where policies come from the token's claims (minio/minio,
cmd/sts-handlers.go), so that people write placeholders such as `arn:x:ignored:by:minio:`.
"""

from __future__ import annotations

import re
from typing import Final

LENGTH_MINIMUM: Final = 20
LENGTH_MAXIMUM: Final = 2048
"""Characters of a RoleArn in a request (botocore's STS model, arnType). STS knows no other limit."""
_AWS_ROLE: Final = re.compile(r"arn:[a-z0-9-]+:iam::(\d{12})?:role/[\x21-\x7e]+")
_ROLE_PREFIX: Final = "role/"


def is_aws_role(arn: str) -> bool:
    """Return whether AWS may have a role with this ARN. An empty account is accepted, as on Ceph and MinIO."""
    return len(arn) <= LENGTH_MAXIMUM and _AWS_ROLE.fullmatch(arn) is not None


def read_partition(arn: str) -> str:
    """Return the partition in an ARN, "" if it has none."""
    return _split(arn)[1]


def read_account(arn: str) -> str:
    """Return the account of a role or of a session: 12 digits, or the text that another STS has in its place.

    "" if there is none, or if the ARN names neither a role nor a session.
    """
    fields = _split(arn)
    return fields[4] if fields[5].startswith((_ROLE_PREFIX, "assumed-role/")) else ""


def is_session_of(session_arn: str, role_arn: str, session_name: str, *, is_custom_endpoint: bool) -> bool:
    """Return whether `…:sts::ACCOUNT:assumed-role/NAME/SESSION` is the named session of the role.

    AWS leaves the role's path out of it. Ceph keeps it (rgw_sts.cc, generateAssumedRoleUser), which is accepted from a
    custom endpoint only. A placeholder names no role, so that only the session's name can be compared.
    """
    role = _split(role_arn)[5]
    session = session_arn.split(":", 4)[-1]
    if is_custom_endpoint and not role.startswith(_ROLE_PREFIX):
        return session.endswith(f"/{session_name}")
    path = role.removeprefix(_ROLE_PREFIX)
    names = {path.rsplit("/", 1)[-1], path} if is_custom_endpoint else {path.rsplit("/", 1)[-1]}
    return session in {f"{read_account(role_arn)}:assumed-role/{name}/{session_name}" for name in names}


def _split(arn: str) -> list[str]:
    """Return the six fields of an ARN. Those that are missing are ""."""
    fields = arn.split(":", 5)
    return fields + [""] * (6 - len(fields))
