"""Rival credential sources: what in an environment makes SDKs use other credentials than the broker's.

An SDK tries its credential sources in a fixed order, and the container endpoint is nearly the last. It uses the first
source that is configured, even if that has expired credentials, and does not report it. `sts-broker exec` therefore
removes these sources from the environment of its command. `sts-broker run` warns about those in its own container,
because a webhook or an `envFrom` usually adds them to every container of the pod.

Reports names, never values. Reads the AWS files that the environment names, and no others.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from broker.core.records import Struct
from broker.core.rival_variables import (
    ACCESS_KEY_ID_VARIABLES,
    AUTHORIZATION_TOKEN,
    EKS_TOKEN_DIRECTORY,
    FULL_URI,
    PROFILE_VARIABLES,
    RELATIVE_URI,
    TOKEN_FILE,
)
from broker.files.regular_file import read_regular_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_MAXIMUM_BYTES_READ: Final = 1_000_000
_HEADING: Final = re.compile(r"\[\s*(?:profile\s+)?([^\]]*?)\s*\]")
_CREDENTIAL_KEYS: Final = frozenset(
    {
        "aws_access_key_id",
        "aws_secret_access_key",
        "credential_process",
        "credential_source",
        "login_session",
        "role_arn",
        "source_profile",
        "sso_account_id",
        "sso_role_name",
        "sso_session",
        "sso_start_url",
        "web_identity_token_file",
    }
)
"""Keys of AWS files that configure credentials for a profile."""


class RivalSource(Struct, frozen=True, kw_only=True):
    """A credential source that SDKs try before the broker's endpoint.

    `name` is a variable or a path, `effect` says why SDKs use it, `remedy` what to change.
    """

    name: str
    effect: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.name} {self.effect} {self.remedy}"


class RivalFile(Struct, frozen=True, kw_only=True):
    """An AWS file that configures credentials. `variable` is the one that names its path, or would."""

    variable: str
    path: str
    section: str
    key: str


class _Location(Struct, frozen=True, kw_only=True):
    """Where SDKs look for an AWS file: the path in `variable`, or else `defaults`, and which section they read."""

    variable: str
    defaults: tuple[str, ...]
    section: str = "default"


_LOCATIONS: Final = (
    _Location(variable="AWS_SHARED_CREDENTIALS_FILE", defaults=("~/.aws/credentials",)),
    _Location(variable="AWS_CONFIG_FILE", defaults=("~/.aws/config",)),
    _Location(variable="AWS_CREDENTIAL_PROFILES_FILE", defaults=()),  # Java v1's name for the first
    _Location(variable="BOTO_CONFIG", defaults=("/etc/boto.cfg", "~/.boto"), section="Credentials"),
)


def find_rival_files(environ: Mapping[str, str]) -> Iterator[RivalFile]:
    """Yield the AWS files whose default profile configures credentials: with one of them SDKs ask no endpoint."""
    for location in _LOCATIONS:
        configured = environ.get(location.variable)
        for path in (configured,) if configured else location.defaults:
            expanded = _expand_home(path, environ)
            key = next(iter(sorted(_CREDENTIAL_KEYS & _read_keys(expanded, location.section))), "")
            if key:
                yield RivalFile(variable=location.variable, path=expanded, section=location.section, key=key)


def find_rival_sources(environ: Mapping[str, str], *, endpoint: str, directory: str) -> Iterator[RivalSource]:
    """Yield the rival sources in the broker's own environment, which the app's container probably has too.

    `endpoint` is the base URL of the broker's credentials endpoint, `directory` its publish directory. Variables and
    files that refer to them are not rivals.
    """
    keys = [name for name in ACCESS_KEY_ID_VARIABLES if environ.get(name)]
    if keys:
        yield RivalSource(
            name=keys[0],
            effect="is set: SDKs use access keys from the environment before any other source.",
            remedy="Remove it from the env, envFrom and image of the app's container.",
        )
    if environ.get(TOKEN_FILE, "").startswith(EKS_TOKEN_DIRECTORY):
        yield RivalSource(
            name=TOKEN_FILE,
            effect="was set by the EKS Pod Identity webhook: SDKs with this variable call STS themselves.",
            remedy="Annotate the pod with eks.amazonaws.com/skip-containers: <name of the app's container>.",
        )
    uri = environ.get(FULL_URI, "")
    if uri and not uri.startswith(endpoint):
        yield RivalSource(
            name=FULL_URI,
            effect="names another endpoint, such as that of the EKS Pod Identity Agent.",
            remedy=f"Delete the Pod Identity association of the service account, or set the variable to {endpoint}/… "
            "in the app's container.",
        )
    if environ.get(RELATIVE_URI):
        yield RivalSource(
            name=RELATIVE_URI,
            effect=f"is set: with it SDKs fetch credentials from 169.254.170.2, and most of them ignore {FULL_URI}.",
            remedy="Remove it from the app's container.",
        )
    if environ.get(AUTHORIZATION_TOKEN):
        yield RivalSource(
            name=AUTHORIZATION_TOKEN,
            effect="is set: the SDKs for Java v2 and JavaScript v2 send it to the endpoint, which refuses it.",
            remedy="Remove it from the app's container.",
        )
    yield from _find_profiles_and_files(environ, directory)


def _find_profiles_and_files(environ: Mapping[str, str], directory: str) -> Iterator[RivalSource]:
    variable = next((name for name in PROFILE_VARIABLES if environ.get(name)), "")
    if variable:
        yield RivalSource(
            name=variable,
            effect="is set: SDKs use the profile that it names, and fail if no AWS file has it.",
            remedy="Remove it from the app's container, or set it to a profile of the broker.",
        )
    for file in find_rival_files(environ):
        if not file.path.startswith(f"{directory}/"):
            yield RivalSource(
                name=file.variable if environ.get(file.variable) else file.path,
                effect=f"configures credentials: {file.key} in section [{file.section}]. SDKs use them before any "
                "endpoint.",
                remedy=f"Remove it from the app's container, or set {file.variable} there to another file.",
            )


def _expand_home(path: str, environ: Mapping[str, str]) -> str:
    if not path.startswith("~/"):
        return path
    home = environ.get("HOME") or os.path.expanduser("~")  # noqa: PTH111 - from the user database, as SDKs do
    return home + path[1:]


def _read_text(path: str) -> str:
    """Return the content of a file, or "" if it cannot be read or is a FIFO or a device."""
    with suppress(OSError):
        return read_regular_file(path, _MAXIMUM_BYTES_READ).decode(errors="replace")
    return ""


def _read_keys(path: str, section: str) -> set[str]:
    """Return the keys in one section of an INI file, in lower case, without those of nested (indented) lines."""
    keys: set[str] = set()
    is_inside = False
    for line in _read_text(path).splitlines():
        heading = _HEADING.match(line)
        if heading:
            is_inside = heading[1].strip("\"'") == section
        elif is_inside and line[:1] not in " \t#;":
            keys.add(re.split("[=:]", line, maxsplit=1)[0].strip().lower())
    return keys
