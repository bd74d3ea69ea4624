"""What in an environment hides the broker's endpoint, and its `config` file, from SDKs.

SDKs ask one source of credentials after another, and the container endpoint is nearly the last. Whatever stands before
it wins for good, expired or not, and nobody is told. `sts-broker exec` removes these from its command; `sts-broker run`
warns of those it sees in its own pod, because what a webhook or an `envFrom` gave to one container it gave to all.

Each is told by its name, never its value. Reads the AWS files that the environment names, and nothing else.
"""

from __future__ import annotations

import os
import re
import stat
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from broker.core.rival_variables import ACCESS_KEY_ID_VARIABLES, EKS_TOKEN_DIRECTORY, FULL_URI, RELATIVE_URI

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_MAXIMUM_LENGTH_READ: Final = 1_000_000
_HEADING: Final = re.compile(r"\[\s*(?:profile\s+)?([^\]]*?)\s*\]")
_GIVING: Final = frozenset(
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Rival:
    """Another source of credentials, which SDKs ask before the broker's: its `name`, why it wins, what to do of it."""

    name: str
    why: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.name} {self.why} {self.remedy}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RivalFile:
    """An AWS file that gives credentials, found through `variable` or in that variable's default place."""

    variable: str
    path: str
    section: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    variable: str
    defaults: tuple[str, ...]
    section: str = "default"


_PLACES: Final = (
    _Place(variable="AWS_SHARED_CREDENTIALS_FILE", defaults=("~/.aws/credentials",)),
    _Place(variable="AWS_CONFIG_FILE", defaults=("~/.aws/config",)),
    _Place(variable="AWS_CREDENTIAL_PROFILES_FILE", defaults=()),  # Java v1's name for the first
    _Place(variable="BOTO_CONFIG", defaults=("/etc/boto.cfg", "~/.boto"), section="Credentials"),
)


def rival_files(environ: Mapping[str, str]) -> Iterator[RivalFile]:
    """Yield the AWS files whose default profile gives credentials: SDKs take those, and ask no endpoint."""
    for place in _PLACES:
        named = environ.get(place.variable)
        for path in (named,) if named else place.defaults:
            expanded = _expanded(path, environ)
            key = next(iter(sorted(_GIVING & _keys(_text(expanded), place.section))), "")
            if key:
                yield RivalFile(variable=place.variable, path=expanded, section=place.section, key=key)


def rivals_in_pod(environ: Mapping[str, str], *, endpoint: str, directory: str) -> Iterator[Rival]:
    """Yield what in the broker's own environment hides it from the app, if the app's container has the same.

    `endpoint` is the URL that the broker's own endpoint begins with, `directory` where it publishes.
    """
    keys = [name for name in ACCESS_KEY_ID_VARIABLES if environ.get(name)]
    if keys:
        yield Rival(
            name=keys[0],
            why="is set: SDKs take keys from the environment before all else.",
            remedy="Remove it from the app's env, envFrom and image.",
        )
    if environ.get("AWS_WEB_IDENTITY_TOKEN_FILE", "").startswith(EKS_TOKEN_DIRECTORY):
        yield Rival(
            name="AWS_WEB_IDENTITY_TOKEN_FILE",
            why="was set by EKS's webhook: SDKs with it call STS themselves.",
            remedy="Annotate the pod with eks.amazonaws.com/skip-containers: <the app's container>.",
        )
    uri = environ.get(FULL_URI, "")
    if uri and not uri.startswith(endpoint):
        yield Rival(
            name=FULL_URI,
            why="leads elsewhere, to EKS Pod Identity's agent perhaps.",
            remedy=f"Delete the service account's Pod Identity association, or set it to {endpoint}/… in the app.",
        )
    if environ.get(RELATIVE_URI):
        yield Rival(
            name=RELATIVE_URI,
            why=f"is set: SDKs ask 169.254.170.2 with it, and most ignore {FULL_URI} then.",
            remedy="Remove it from the app's container.",
        )
    yield from _named_or_filed(environ, directory)


def _named_or_filed(environ: Mapping[str, str], directory: str) -> Iterator[Rival]:
    profile = next((name for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE") if environ.get(name)), "")
    if profile:
        yield Rival(
            name=profile,
            why="is set: SDKs look for that profile, and fail where no file has it.",
            remedy="Remove it from the app's container, or let it name a profile of the broker.",
        )
    for file in rival_files(environ):
        if not file.path.startswith(f"{directory}/"):
            yield Rival(
                name=file.variable if environ.get(file.variable) else file.path,
                why=f"leads to a file whose [{file.section}] has {file.key}: SDKs take that before any endpoint.",
                remedy=f"Remove it from the app's container, or set {file.variable} there.",
            )


def _expanded(path: str, environ: Mapping[str, str]) -> str:
    if not path.startswith("~/"):
        return path
    home = environ.get("HOME") or os.path.expanduser("~")  # noqa: PTH111 - from the user's entry, as SDKs do
    return home + path[1:]


def _text(path: str) -> str:
    """Return what stands in a file; nothing where it cannot be read, or is a pipe or a device."""
    with suppress(OSError):
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if stat.S_ISREG(os.fstat(file).st_mode):
                return os.read(file, _MAXIMUM_LENGTH_READ).decode(errors="replace")
        finally:
            os.close(file)
    return ""


def _keys(text: str, section: str) -> set[str]:
    """Return the keys of one section of an INI file, those of its nested (indented) lines left out."""
    keys: set[str] = set()
    is_inside = False
    for line in text.splitlines():
        heading = _HEADING.match(line)
        if heading:
            is_inside = heading[1].strip("\"'") == section
        elif is_inside and line[:1] not in " \t#;":
            keys.add(re.split("[=:]", line, maxsplit=1)[0].strip().lower())
    return keys
