"""What the text of a setting must look like.

Each function returns the value as it is used, or raises ValueError saying what to write. What STS would refuse and
botocore would not is refused here.

Knows no file but those whose readability it checks.
"""

from __future__ import annotations

import json
import os
import re
import string
from datetime import date
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

MAXIMUM_POLICY_LENGTH = 2048
"""Characters of an inline session policy (botocore's STS model)."""
_POLICY_ARN = re.compile(r"arn:[a-z0-9-]+:iam::(\d{12}|aws):policy/[\x21-\x7e]{1,900}")
_HEALTH_ADDRESS = re.compile(r"(\*|\[[0-9A-Fa-f:.]+\]|[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*|[A-Za-z0-9_.-]+):([0-9]{1,5})")
_LABEL = "[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_PLAIN_URL = re.compile(rf"https?://({_LABEL}(\.{_LABEL})*\.?|\[[0-9A-Fa-f:.]+\])(:(?P<port>[0-9]{{1,5}}))?/?")
_API_HOST = re.compile("[A-Za-z0-9.:-]{1,253}")
_LAST_PORT = 65535
_POLICY_TEXT = re.compile("[\t\n\r\x20-\xff]+")
_TAG_SIGNS = frozenset("_.:/=+-@")
_TAG_TEXT = "letters, digits, spaces and any of _.:/=+-@"
_MAXIMUM_TAGS = 50
_MAXIMUM_TAG_KEY_LENGTH = 128
_MAXIMUM_TAG_VALUE_LENGTH = 256
_MODES = (0o400, 0o440, 0o444, 0o600, 0o640, 0o644)


def comma_separated(value: object) -> object:
    """Return the parts of a text, as the environment gives lists; another value as it is."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def policy_arns(arns: tuple[str, ...]) -> tuple[str, ...]:
    """Return the ARNs of managed policies. Raises ValueError."""
    for arn in arns:
        if not _POLICY_ARN.fullmatch(arn):
            raise ValueError(f"{arn!r} is no policy ARN, such as arn:aws:iam::aws:policy/ReadOnlyAccess")
    return arns


def policy_text(text: str) -> str:
    """Return the text of a session policy that STS would take. Raises ValueError."""
    if len(text) > MAXIMUM_POLICY_LENGTH:
        raise ValueError(f"{len(text):,} characters; STS takes at most {MAXIMUM_POLICY_LENGTH:,}")
    try:
        document = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"no valid JSON: {error}") from None
    if not isinstance(document, dict) or "Statement" not in document:
        raise ValueError("no IAM policy: expected a JSON object with a Statement")
    if not _POLICY_TEXT.fullmatch(text):
        raise ValueError("a character that STS refuses in a policy (above U+00FF, or a control character)")
    return text


def _no_number(text: str) -> object:
    raise ValueError(f"{text} is no number in JSON")


def policy_value(value: object) -> object:
    """Return the text of a policy, be it written as YAML or as text. Raises ValueError."""
    if not isinstance(value, dict):
        return value
    try:
        return json.dumps(value, separators=(",", ":"), allow_nan=False, default=_as_written)
    except TypeError as error:
        raise ValueError(f"cannot be written as JSON: {error}") from None


def _as_written(value: object) -> object:
    """Return the text of a date: YAML takes `Version: 2012-10-17` for one."""
    if type(value) is date:
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} is no type of JSON")


def mode(value: object) -> object:
    """Return the mode of a file, written as `0640`, `640` or a number. Raises ValueError."""
    if isinstance(value, str) and re.fullmatch(r"0?o?[0-7]{3}", value):
        value = int(value.replace("o", ""), 8)
    if value not in _MODES:
        raise ValueError(f"write one of {', '.join(f'{mode:04o}' for mode in _MODES)}, in quotes")
    return value


def address(value: str) -> str:
    """Return `HOST:PORT`. Raises ValueError."""
    parts = _HEALTH_ADDRESS.fullmatch(value)
    if not parts or int(parts[2]) > _LAST_PORT:
        raise ValueError("write HOST:PORT, such as *:9910, 127.0.0.1:9910 or [::1]:9910")
    return value


def loopback_address(value: str) -> str:
    """Return `HOST:PORT` where the host is a loopback address, without brackets. Raises ValueError."""
    host, _, port = address(value).rpartition(":")
    host = "127.0.0.1" if host == "localhost" else host.strip("[]")
    import ipaddress  # noqa: PLC0415 - most settings say nothing of it

    try:
        is_loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_loopback = False
    if not is_loopback:
        raise ValueError("credentials are served on loopback only: write 127.0.0.1:PORT or [::1]:PORT")
    return f"{host}:{port}"


def process_command(command: str) -> str:
    """Return a command that names the profile's file, or the profile, with no other blanks. Raises ValueError."""
    try:
        blanks = {part[1:] for part in string.Formatter().parse(command) if part[1] is not None}
    except ValueError:
        blanks = {("", "", None)}
    if not blanks <= {("file", "", None), ("profile", "", None), ("directory", "", None)}:
        raise ValueError("write {file}, {profile} or {directory} in it, and no other braces")
    if not blanks - {("directory", "", None)}:
        raise ValueError("it gives every profile the same: write {file} or {profile} in it")
    if not command.isprintable():
        raise ValueError("write one line of printable characters")
    return command


def tags(tags: dict[str, str]) -> dict[str, str]:
    """Return session tags that STS would take (botocore's STS model; IAM guide, "Session tags"). Raises ValueError."""
    if len(tags) > _MAXIMUM_TAGS:
        raise ValueError(f"{len(tags)} tags; STS takes at most {_MAXIMUM_TAGS}")
    seen: set[str] = set()
    for key, value in tags.items():
        if not 1 <= len(key) <= _MAXIMUM_TAG_KEY_LENGTH or not _is_tag_text(key) or key.lower().startswith("aws:"):
            raise ValueError(f"{key!r}: a key is 1 to {_MAXIMUM_TAG_KEY_LENGTH} {_TAG_TEXT}, not beginning with aws:")
        if len(value) > _MAXIMUM_TAG_VALUE_LENGTH or not _is_tag_text(value):
            raise ValueError(f"{key}: a value is at most {_MAXIMUM_TAG_VALUE_LENGTH} {_TAG_TEXT}")
        if key.lower() in seen:
            raise ValueError(f"{key}: two keys differ in capitals alone, and STS takes them for one")
        seen.add(key.lower())
    return tags


def _is_tag_text(text: str) -> bool:
    import unicodedata  # noqa: PLC0415 - most settings have no tags

    return all(sign in _TAG_SIGNS or unicodedata.category(sign)[0] in "LNZ" for sign in text)


def external_id(text: str) -> str:
    """Return an external id (botocore's STS model). Raises ValueError."""
    if not re.fullmatch(r"[A-Za-z0-9_+=,.@:/-]{2,1224}", text):
        raise ValueError("write 2 to 1,224 letters, digits and any of +=,.@:/_-")
    return text


def source_identity(text: str) -> str:
    """Return a source identity, whose characters have been looked at. Raises ValueError."""
    if text.lower().startswith("aws:"):
        raise ValueError("write one that does not begin with aws:")
    return text


def plain_url(value: str) -> str:
    """Return the URL of a host, without a slash at its end. Raises ValueError."""
    parts = _PLAIN_URL.fullmatch(value)
    if not parts or not 0 < int(parts["port"] or 443) <= _LAST_PORT:
        raise ValueError("write https://HOST or https://HOST:PORT, without user, path or query")
    return value.rstrip("/")


def api_address(environ: Mapping[str, str]) -> tuple[str, int]:
    """Return host and port of the Kubernetes API, as Kubernetes tells every pod. Raises ValueError."""
    host, port = environ.get("KUBERNETES_SERVICE_HOST", ""), environ.get("KUBERNETES_SERVICE_PORT", "")
    if not _API_HOST.fullmatch(host) or not re.fullmatch("[0-9]{1,5}", port) or not 0 < int(port) <= _LAST_PORT:
        raise ValueError(
            "token-request needs KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT, which Kubernetes sets in every "
            f"pod; found {host[:100]!r} and {port[:100]!r}: run it in a pod, or set file"
        )
    return host, int(port)


def absolute(path: str) -> str:
    """Return an absolute path. Raises ValueError."""
    if not path.startswith("/"):  # which a token that was pasted here does not either
        raise ValueError("write an absolute path")
    return path


def readable(path: str) -> str:
    """Return the path of a file that can be read. Raises ValueError."""
    if not os.access(path, os.R_OK):
        raise ValueError(f"no readable file at {path}")
    return path


def profile_name(value: str) -> str:
    """Return the name of a profile. Raises ValueError."""
    if value == "DEFAULT":
        raise ValueError("INI readers give what stands under DEFAULT to every profile: choose another name")
    return value
