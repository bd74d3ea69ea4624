"""Formats in which credentials are published and served. They do not change within a major version.

Times are UTC, `YYYY-MM-DDTHH:MM:SSZ`, without fractions, because some SDKs parse no other form. The session token is
written as `aws_session_token` only, without the legacy name `aws_security_token`, which botocore would prefer. These
functions do no I/O.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from broker.core.model import DEFAULT_PROCESS_COMMAND
from broker.core.timestamps import timestamp

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from broker.core.model import ProfileSpec, Secret, TemporaryCredentials

PROCESS_VERSION = 1
"""Version of the credential_process format. SDKs expect a number and refuse a string."""


def credential_process_json(credentials: TemporaryCredentials) -> bytes:
    """Return the output of a `credential_process`: one JSON object and a newline."""
    document = {
        "Version": PROCESS_VERSION,
        "AccessKeyId": credentials.access_key_id,
        "SecretAccessKey": credentials.secret_access_key.reveal(),
        "SessionToken": credentials.session_token.reveal(),
        "Expiration": timestamp(credentials.expires_at),
    }
    if credentials.account_id:  # MinIO and Ceph have roles without an account
        document["AccountId"] = credentials.account_id
    return json.dumps(document).encode() + b"\n"


def container_credentials_json(credentials: TemporaryCredentials) -> bytes:
    """Return the response of a container credentials endpoint: one JSON object and a newline.

    It has no `Code`: one SDK treats any value other than `Success` as an error.
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
    """Return the endpoint's bearer token as its file and the `Authorization` header contain it.

    There is no newline at the end: most SDKs would send it too, or refuse the file.
    """
    return token.reveal().encode()


def credentials_section(profile: str, credentials: TemporaryCredentials) -> bytes:
    """Return the profile's section of an AWS shared credentials file."""
    return _format_section(
        profile,
        credentials.access_key_id,
        credentials.secret_access_key.reveal(),
        credentials.session_token.reveal(),
        timestamp(credentials.expires_at),
    )


def credentials_section_from_json(profile: str, document: bytes, now: datetime) -> bytes | None:
    """Return the section for a document of `credential_process_json`, or None if that is malformed or expired."""
    try:
        keys, expires_at, _ = parse_document(document)
    except ValueError:
        return None
    if expires_at <= now:
        return None
    return _format_section(
        profile, *keys, timestamp(expires_at)
    )  # formatted anew, not copied: the file may contain anything


def parse_expiry(document: bytes) -> datetime:
    """Return the expiry, in UTC, of a document of `credential_process_json`. Raises ValueError if it is malformed."""
    return parse_document(document)[1]


def parse_document(document: bytes) -> tuple[tuple[str, str, str], datetime, str]:
    """Return the keys of a document of `credential_process_json`, its expiry in UTC, and its account ID or "".

    The keys are access key ID, secret access key and session token. Raises ValueError, whose message quotes nothing
    from the document.
    """
    try:
        fields = json.loads(document)
        version, *keys = (fields[name] for name in ("Version", "AccessKeyId", "SecretAccessKey", "SessionToken"))
        naive_or_aware = datetime.fromisoformat(fields["Expiration"])
        expires_at = naive_or_aware.astimezone(UTC)
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        raise ValueError("it is not JSON, or a field is missing or malformed") from None
    if (
        version != PROCESS_VERSION
        or naive_or_aware.tzinfo is None
        or not all(isinstance(key, str) and key.isprintable() and key for key in keys)
    ):
        raise ValueError("a field is blank, or Version is not 1")
    return (keys[0], keys[1], keys[2]), expires_at, str(fields.get("AccountId", ""))


def credentials_ini(sections: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the parts of a shared credentials file with these sections."""
    separator = b""
    for section in sections:
        yield separator + section
        separator = b"\n"


def config_ini(profiles: Sequence[ProfileSpec], directory: str, command: str = DEFAULT_PROCESS_COMMAND) -> bytes:
    """Return an AWS config file with a `credential_process` for each profile, so that SDKs reread its file.

    `command` is the template of the process; `{file}`, `{profile}` and `{directory}` in it are replaced.
    """
    sections = (
        f"[{'default' if profile.name == 'default' else f'profile {profile.name}'}]\n"
        f"region = {profile.region}\n"
        f"credential_process = {_fill_command(command, directory, profile.name)}\n"
        for profile in profiles
    )
    return "\n".join(sections).encode()


def _fill_command(command: str, directory: str, profile: str) -> str:
    return command.format(file=f"{directory}/{profile}.json", profile=profile, directory=directory)


def env_file(credentials: TemporaryCredentials, region: str) -> bytes:
    """Return assignments for POSIX shells (`set -a; . FILE; set +a`) and for the kubelet (`valueFrom.fileKeyRef`).

    Every value is in single quotes, because the kubelet accepts no other form. Source: kubernetes
    pkg/kubelet/util/env/env_util.go (ParseEnv). The Region has both names, because each SDK reads only one of them.
    """
    variables = {**environment_variables(credentials), "AWS_REGION": region, "AWS_DEFAULT_REGION": region}
    return "".join(f"{name}={_quote(value)}\n" for name, value in variables.items()).encode()


def _quote(value: str) -> str:
    return "'" + value.replace("'", "'\"'\"'") + "'"


def environment_variables(credentials: TemporaryCredentials) -> dict[str, str]:
    """Return the environment variables from which SDKs read credentials, by name."""
    return {
        "AWS_ACCESS_KEY_ID": credentials.access_key_id,
        "AWS_SECRET_ACCESS_KEY": credentials.secret_access_key.reveal(),
        "AWS_SESSION_TOKEN": credentials.session_token.reveal(),
        "AWS_CREDENTIAL_EXPIRATION": timestamp(credentials.expires_at),
    }


def _format_section(profile: str, access_key_id: str, secret_access_key: str, session_token: str, expiry: str) -> bytes:
    return (
        f"[{profile}]\n"
        f"# expires {expiry}\n"
        f"aws_access_key_id = {access_key_id}\n"
        f"aws_secret_access_key = {secret_access_key}\n"
        f"aws_session_token = {session_token}\n"
    ).encode()
