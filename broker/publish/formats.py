"""Credentials as bytes: the formats that SDKs and scripts read. A contract: they do not change in a major version.

Times are UTC as `YYYY-MM-DDTHH:MM:SSZ`, fractions cut off, because some SDKs read nothing else. `aws_session_token` is
written, its legacy twin is not: botocore would prefer that one. Pure; knows no file.
"""

from __future__ import annotations

import json
import shlex
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from broker.core.model import DEFAULT_PROCESS_COMMAND
from broker.core.timestamps import timestamp

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from broker.core.model import ProfileSpec, Secret, TemporaryCredentials

PROCESS_VERSION = 1
"""The number that SDKs expect of credential_process; as a string it would be refused."""


def credential_process_json(credentials: TemporaryCredentials) -> bytes:
    """Return the answer of a `credential_process`, one JSON object and a newline."""
    document = {
        "Version": PROCESS_VERSION,
        "AccessKeyId": credentials.access_key_id,
        "SecretAccessKey": credentials.secret_access_key.reveal(),
        "SessionToken": credentials.session_token.reveal(),
        "Expiration": timestamp(credentials.expires_at),
    }
    if credentials.account_id:  # a role of MinIO or Ceph may have none
        document["AccountId"] = credentials.account_id
    return json.dumps(document).encode() + b"\n"


def container_credentials_json(credentials: TemporaryCredentials) -> bytes:
    """Return the answer of a container credentials endpoint, one JSON object and a newline.

    It has no `Code`: one SDK takes any but `Success` for a fault.
    """
    document = {
        "AccessKeyId": credentials.access_key_id,
        "SecretAccessKey": credentials.secret_access_key.reveal(),
        "Token": credentials.session_token.reveal(),
        "Expiration": timestamp(credentials.expires_at),
    }
    if credentials.account_id:
        document["AccountId"] = credentials.account_id
    return json.dumps(document).encode() + b"\n"


def authorization_token(token: Secret) -> bytes:
    """Return the endpoint's authorization token as its file and the `Authorization` header hold it.

    Without a newline at the end, which most SDKs would send along, or refuse.
    """
    return token.reveal().encode()


def credentials_section(profile: str, credentials: TemporaryCredentials) -> bytes:
    """Return the profile's section of an AWS shared credentials file."""
    return _section(
        profile,
        credentials.access_key_id,
        credentials.secret_access_key.reveal(),
        credentials.session_token.reveal(),
        timestamp(credentials.expires_at),
    )


def credentials_section_from_json(profile: str, document: bytes, now: datetime) -> bytes | None:
    """Return the section for what `credential_process_json` once wrote; None where it is unreadable or expired."""
    try:
        keys, expires_at = _parsed(document)
    except ValueError:
        return None
    if expires_at <= now:
        return None
    return _section(profile, *keys, timestamp(expires_at))  # not as it stood there: that may hold anything


def expiry_of(document: bytes) -> datetime:
    """Return when the credentials that `credential_process_json` once wrote expire. Raises ValueError: not whole."""
    return _parsed(document)[1]


def _parsed(document: bytes) -> tuple[tuple[str, str, str], datetime]:
    """Return key id, secret and token of a `credential_process` answer, and its expiry in UTC.

    Raises ValueError, whose text quotes nothing of it.
    """
    try:
        fields = json.loads(document)
        version, *keys = (fields[name] for name in ("Version", "AccessKeyId", "SecretAccessKey", "SessionToken"))
        naive_or_aware = datetime.fromisoformat(fields["Expiration"])
        expires_at = naive_or_aware.astimezone(UTC)
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        raise ValueError("no JSON, or without what there must be") from None
    if (
        version != PROCESS_VERSION
        or naive_or_aware.tzinfo is None
        or not all(isinstance(key, str) and key.isprintable() and key for key in keys)
    ):
        raise ValueError("blank, or of another version")
    return (keys[0], keys[1], keys[2]), expires_at


def credentials_ini(sections: Iterable[bytes]) -> bytes:
    """Return a shared credentials file of these sections."""
    return b"\n".join(sections)


def config_ini(profiles: Sequence[ProfileSpec], directory: str, command: str = DEFAULT_PROCESS_COMMAND) -> bytes:
    """Return an AWS config file through which SDKs fetch each profile from `directory`, again and again.

    In `command`, `{file}`, `{profile}` and `{directory}` are filled in.
    """
    sections = (
        f"[{'default' if profile.name == 'default' else f'profile {profile.name}'}]\n"
        f"region = {profile.region}\n"
        f"credential_process = {_process_command(command, directory, profile.name)}\n"
        for profile in profiles
    )
    return "\n".join(sections).encode()


def _process_command(command: str, directory: str, profile: str) -> str:
    return command.format(file=f"{directory}/{profile}.json", profile=profile, directory=directory)


def env_file(credentials: TemporaryCredentials, region: str) -> bytes:
    """Return POSIX shell assignments, for `set -a; . FILE; set +a`."""
    variables = {**environment_variables(credentials), "AWS_REGION": region}
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in variables.items()).encode()


def environment_variables(credentials: TemporaryCredentials) -> dict[str, str]:
    """Return the keys as SDKs read them from an environment."""
    return {
        "AWS_ACCESS_KEY_ID": credentials.access_key_id,
        "AWS_SECRET_ACCESS_KEY": credentials.secret_access_key.reveal(),
        "AWS_SESSION_TOKEN": credentials.session_token.reveal(),
        "AWS_CREDENTIAL_EXPIRATION": timestamp(credentials.expires_at),
    }


def _section(profile: str, access_key_id: str, secret_access_key: str, session_token: str, expiry: str) -> bytes:
    return (
        f"[{profile}]\n"
        f"# expires {expiry}\n"
        f"aws_access_key_id = {access_key_id}\n"
        f"aws_secret_access_key = {secret_access_key}\n"
        f"aws_session_token = {session_token}\n"
    ).encode()
