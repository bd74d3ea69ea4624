"""Checks of single settings.

Each function returns the value in the form in which the broker uses it, or raises ValueError with the form that was
expected. What STS would reject although botocore sends it is rejected here.

Does not read files. Two checks look at the file system or the environment: `readable` and `api_address`.
"""

from __future__ import annotations

import json
import os
import re
import string
from datetime import date
from typing import TYPE_CHECKING

from broker.core.notify_targets import SIGNALS
from broker.core.web_identity_spec import MAXIMUM_AUDIENCE_LENGTH
from broker.files.regular_file import NotRegularFileError, require_regular_file

if TYPE_CHECKING:
    from collections.abc import Mapping

MAXIMUM_POLICY_LENGTH = 2048
"""Characters of an inline session policy (botocore's STS model)."""
_POLICY_ARN = re.compile(r"arn:[a-z0-9-]+:iam::(\d{12}|aws):policy/[\x21-\x7e]{1,900}")
_HEALTH_ADDRESS = re.compile(r"(\*|\[[0-9A-Fa-f:.]+\]|[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*|[A-Za-z0-9_.-]+):([0-9]{1,5})")
_LABEL = "[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_PLAIN_URL = re.compile(rf"https?://(?P<host>{_LABEL}(\.{_LABEL})*\.?|\[[0-9A-Fa-f:.]+\])(:(?P<port>[0-9]{{1,5}}))?/?")
_API_HOST = re.compile("[A-Za-z0-9.:-]{1,253}")
_MAXIMUM_PORT = 65535
_MAXIMUM_QUOTED_LENGTH = 100
_POLICY_TEXT = re.compile("[\t\n\r\x20-\xff]+")
_SPACE_OUTSIDE_STRINGS = re.compile(r'("(?:[^"\\]|\\.)*")|[ \t\n\r]+', re.DOTALL)
_TAG_PUNCTUATION = frozenset("_.:/=+-@")
_TAG_TEXT = "letters, digits, spaces and any of _.:/=+-@"
_MAXIMUM_TAGS = 50
_MAXIMUM_TAG_KEY_LENGTH = 128
_MAXIMUM_TAG_VALUE_LENGTH = 256
_MODES = (0o400, 0o440, 0o444, 0o600, 0o640, 0o644)


def comma_separated(value: object) -> object:
    """Return the parts of a comma-separated text, which is how the environment gives lists. Keep any other value."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def policy_arns(arns: tuple[str, ...]) -> tuple[str, ...]:
    """Return the ARNs of managed policies. Raises ValueError."""
    for arn in arns:
        if not _POLICY_ARN.fullmatch(arn):
            raise ValueError(
                f"{arn!r} is not a policy ARN; expected one such as arn:aws:iam::aws:policy/ReadOnlyAccess"
            )
    return arns


def token_audiences(audiences: tuple[str, ...]) -> tuple[str, ...]:
    """Return the audiences of a web identity token (botocore's STS model). Raises ValueError."""
    for audience in audiences:
        if not 1 <= len(audience) <= MAXIMUM_AUDIENCE_LENGTH or not audience.isprintable() or audience.isspace():
            raise ValueError(f"expected audiences of 1 to {MAXIMUM_AUDIENCE_LENGTH:,} printable characters")
    if len(set(audiences)) < len(audiences):
        raise ValueError("an audience is listed twice; remove one of them")
    return audiences


def policy_text(text: str) -> str:
    """Return the text of a session policy that STS accepts, without the white space that it would count.

    Raises ValueError.
    """
    try:
        document = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not valid JSON: {error}") from None
    if not isinstance(document, dict) or "Statement" not in document:
        raise ValueError("not an IAM policy; expected a JSON object with a Statement")
    if not _POLICY_TEXT.fullmatch(text):
        raise ValueError(
            "has a character that STS rejects in a policy; remove control characters and characters above U+00FF"
        )
    compact = _SPACE_OUTSIDE_STRINGS.sub(lambda found: found[1] or "", text)
    if len(compact) > MAXIMUM_POLICY_LENGTH:
        raise ValueError(
            f"has {len(compact):,} characters without white space; STS accepts at most {MAXIMUM_POLICY_LENGTH:,}"
        )
    return compact


def _refuse_constant(text: str) -> object:
    raise ValueError(f"{text} is not a JSON number")


def policy_value(value: object) -> object:
    """Return the text of a policy, whether it was written as YAML or as text. Raises ValueError."""
    if not isinstance(value, dict):
        return value
    try:
        return json.dumps(value, separators=(",", ":"), allow_nan=False, default=_format_date)
    except TypeError as error:
        raise ValueError(f"cannot be converted to JSON: {error}") from None


def _format_date(value: object) -> object:
    """Return the text of a date, because YAML reads an unquoted `Version: 2012-10-17` as a date."""
    if type(value) is date:
        return value.isoformat()
    raise TypeError(f"JSON has no type for {type(value).__name__}")


def mode(value: object) -> object:
    """Return the mode of a file, written as `0640`, `640` or a number. Raises ValueError."""
    if isinstance(value, str) and re.fullmatch(r"0?o?[0-7]{3}", value):
        value = int(value.replace("o", ""), 8)
    if value not in _MODES:
        raise ValueError(f"expected one of {', '.join(f'{mode:04o}' for mode in _MODES)}, in quotes")
    return value


def address(value: str) -> str:
    """Return `HOST:PORT`. Raises ValueError."""
    parts = _HEALTH_ADDRESS.fullmatch(value)
    if not parts or int(parts[2]) > _MAXIMUM_PORT:
        raise ValueError("expected HOST:PORT, such as *:9910, 127.0.0.1:9910 or [::1]:9910")
    return value


def loopback_address(value: str) -> str:
    """Return `HOST:PORT` with a loopback host, without brackets. Raises ValueError."""
    host, _, port = address(value).rpartition(":")
    host = "127.0.0.1" if host == "localhost" else host.strip("[]")
    if not _is_loopback(host):
        raise ValueError("credentials are served on loopback only; expected 127.0.0.1:PORT or [::1]:PORT")
    return f"{host}:{port}"


def _is_loopback(host: str) -> bool:
    import ipaddress  # noqa: PLC0415 - needed only for a few settings

    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def process_command(command: str) -> str:
    """Return a command that names the profile or its file, with no other replacement fields. Raises ValueError."""
    try:
        fields = {part[1:] for part in string.Formatter().parse(command) if part[1] is not None}
    except ValueError:
        fields = {("", "", None)}
    if not fields <= {("file", "", None), ("profile", "", None), ("directory", "", None)}:
        raise ValueError("expected {file}, {profile} or {directory}, and no other braces")
    if not fields - {("directory", "", None)}:
        raise ValueError("would be the same command for every profile; add {file} or {profile}")
    if not command.isprintable():
        raise ValueError("expected one line of printable characters")
    return command


def tags(tags: dict[str, str]) -> dict[str, str]:
    """Return session tags that STS accepts (botocore's STS model; IAM guide, "Session tags"). Raises ValueError."""
    if len(tags) > _MAXIMUM_TAGS:
        raise ValueError(f"has {len(tags)} tags; STS accepts at most {_MAXIMUM_TAGS}")
    seen: set[str] = set()
    for key, value in tags.items():
        if not 1 <= len(key) <= _MAXIMUM_TAG_KEY_LENGTH or not _is_tag_text(key) or key.lower().startswith("aws:"):
            raise ValueError(
                f"{key!r} is not a tag key; expected 1 to {_MAXIMUM_TAG_KEY_LENGTH} {_TAG_TEXT}, not starting with aws:"
            )
        if len(value) > _MAXIMUM_TAG_VALUE_LENGTH or not _is_tag_text(value):
            raise ValueError(f"{key}: expected a value of at most {_MAXIMUM_TAG_VALUE_LENGTH} {_TAG_TEXT}")
        if key.lower() in seen:
            raise ValueError(f"{key}: two keys differ only in case, and STS treats them as one; remove one of them")
        seen.add(key.lower())
    return tags


def _is_tag_text(text: str) -> bool:
    import unicodedata  # noqa: PLC0415 - needed only if there are tags

    return all(character in _TAG_PUNCTUATION or unicodedata.category(character)[0] in "LNZ" for character in text)


def external_id(text: str) -> str:
    """Return an external ID (botocore's STS model). Raises ValueError."""
    if not re.fullmatch(r"[A-Za-z0-9_+=,.@:/-]{2,1224}", text):
        raise ValueError("expected 2 to 1,224 letters, digits and any of +=,.@:/_-")
    return text


def source_identity(text: str) -> str:
    """Return a source identity, whose characters the schema has checked. Raises ValueError."""
    if text.lower().startswith("aws:"):
        raise ValueError("expected a source identity that does not start with aws:")
    return text


def sts_url(value: str) -> str:
    """Return the URL of an STS endpoint, without a trailing slash. Raises ValueError.

    Plain HTTP is for a server on loopback only, such as a local simulator.
    """
    parts = _PLAIN_URL.fullmatch(value)
    if not parts or not 0 < int(parts["port"] or 443) <= _MAXIMUM_PORT:
        raise ValueError("expected https://HOST or https://HOST:PORT, without user, path or query")
    if value.startswith("http://") and not _is_loopback(parts["host"].strip("[]")):
        raise ValueError(
            "plain HTTP would send the token and the credentials across the network unencrypted; expected https://, or "
            "a loopback host such as 127.0.0.1"
        )
    return value.rstrip("/")


def loopback_url(value: str) -> str:
    """Return an `http://` URL on loopback. Raises ValueError.

    `localhost` becomes 127.0.0.1: without an entry in /etc/hosts, a DNS server would decide where a bearer token goes.
    """
    from broker.net.urls import split  # noqa: PLC0415 - needed only for targets of `notify`

    parts = split(value)
    host = parts.hostname if parts else None
    is_plain = parts is not None and parts.scheme == "http" and parts.username is None and not parts.fragment
    if parts is None or host is None or not is_plain or parts.port == 0 or not _is_loopback(host):
        raise ValueError(
            "expected http://127.0.0.1:PORT/PATH or http://[::1]:PORT/PATH, because the app is in the same pod"
        )
    if host != "localhost":
        return value
    return parts._replace(netloc=f"127.0.0.1:{parts.port or 80}").geturl()


def signal_name(value: str) -> str:
    """Return the name of a signal, without SIG. Raises ValueError."""
    name = value.removeprefix("SIG")
    if name not in SIGNALS:
        raise ValueError(f"expected one of {', '.join(SIGNALS)}")
    return name


def api_address(environ: Mapping[str, str]) -> tuple[str, int]:
    """Return host and port of the Kubernetes API, from the variables that Kubernetes sets in every pod.

    Raises ValueError.
    """
    host, port = environ.get("KUBERNETES_SERVICE_HOST", ""), environ.get("KUBERNETES_SERVICE_PORT", "")
    if not _API_HOST.fullmatch(host) or not re.fullmatch("[0-9]{1,5}", port) or not 0 < int(port) <= _MAXIMUM_PORT:
        raise ValueError(
            "token-request needs KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT, which Kubernetes sets in every "
            f"pod; found {host[:_MAXIMUM_QUOTED_LENGTH]!r} and {port[:_MAXIMUM_QUOTED_LENGTH]!r}. Run the broker in a "
            "pod, or set token_source to file"
        )
    return host, int(port)


def absolute(path: str) -> str:
    """Return an absolute path. Raises ValueError."""
    if not path.startswith("/"):  # this also rejects a token that was pasted instead of its path
        raise ValueError("expected an absolute path")
    return path


def readable(path: str) -> str:
    """Return the path of a regular file that can be read. Raises ValueError."""
    try:
        require_regular_file(path)
    except NotRegularFileError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from None
    except OSError:
        is_readable = False
    else:
        is_readable = os.access(path, os.R_OK)
    if not is_readable:
        raise ValueError(f"cannot read a file at {path}; correct the path, or its permissions")
    return path


def profile_name(value: str) -> str:
    """Return the name of a profile. Raises ValueError."""
    if value == "DEFAULT":
        raise ValueError("INI parsers apply the section DEFAULT to every profile; choose another name")
    return value
