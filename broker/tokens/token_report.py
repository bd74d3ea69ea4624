"""`sts-broker token`: shows a token's claims, its dates relative to now, and whether it can be sent to STS.

The token and its signature are never printed. The claims are unverified, and the output says so.
"""

from __future__ import annotations

import json
import sys
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TextIO

from broker.core.clock import SystemClock
from broker.core.errors import ConfigurationError, TokenUnavailable
from broker.core.model import DEFAULT_AUDIENCE, DEFAULT_TOKEN_FILE, TokenRequestSpec, printable
from broker.core.session_names import session_name_for
from broker.core.timestamps import timestamp
from broker.core.token_issuers import is_rotated_by_kubelet
from broker.settings.validators import api_address
from broker.tokens.decoding import parse_token
from broker.tokens.token_file import (
    MAXIMUM_TOKEN_LENGTH,
    decode_token,
    find_unfitness,
    is_not_yet_valid,
    read_token_text,
    rotation_age,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from broker.core.errors import TokenError
    from broker.core.model import BoundToken


def show(*, path: str, audience: str, as_json: bool, environ: Mapping[str, str], output: TextIO) -> int:
    """Print the token's claims and dates. Return 0, or 3 if the token cannot be sent to STS.

    Raises TokenError if there are no claims to print, ConfigurationError if the settings cannot be read.
    """
    lookup = _setting_lookup(environ)
    audience = audience or lookup("BROKER_AUDIENCE", "audience") or DEFAULT_AUDIENCE
    fault: TokenError | None = None
    if not path and lookup("BROKER_TOKEN_SOURCE", "token_source") == "token-request":
        origin, token = "the Kubernetes API", _request_token(environ, audience)  # which checks the new token
        now = SystemClock().read().now
    else:
        is_given = bool(path)
        path = path or lookup("AWS_WEB_IDENTITY_TOKEN_FILE", "web_identity_token_file") or DEFAULT_TOKEN_FILE
        origin = "standard input" if path == "-" else path
        token = read_token(path, is_given=is_given)
        now = SystemClock().read().now
        fault = find_fault(token, audience=audience, now=now, origin=origin)
    if as_json:
        output.write(json.dumps(document(token, fault, now), indent=2) + "\n")
    else:
        output.writelines(f"{name:<12} {value}\n" for name, value in lines(token, fault, now, origin=origin))
    return 0 if fault is None else fault.exit_code


def find_fault(token: BoundToken, *, audience: str, now: datetime, origin: str) -> TokenError | None:
    """Return why STS would refuse the token for this audience now, as far as its claims show; None if it would not."""
    fault = find_unfitness(token, audience=audience, now=now, origin=origin)
    not_before = token.claims.not_before
    if fault is None and not_before is not None and is_not_yet_valid(token, now):
        fault = TokenUnavailable(
            f"The token in {origin} is not valid before {timestamp(not_before)} (nbf), "
            f"{_format_span(not_before - now)} from now by this node's clock.",
            "Check this node's clock and the API server's.",
        )
    return fault


def read_token(path: str, *, is_given: bool) -> BoundToken:
    """Return the token in the file, whether it can be sent or not; "-" stands for standard input.

    `is_given`: the path was given on the command line. It may be a pipe, such as that of `<(kubectl create token …)`. A
    path from the settings is read as the broker reads it: regular files only.
    Raises TokenUnavailable or TokenMalformed.
    """
    if path == "-":
        return parse_token(_read_standard_input(), origin="standard input")
    return parse_token(read_token_text(path, accepts_pipes=is_given), origin=path)


def rotates_at(token: BoundToken) -> datetime | None:
    """Return when the kubelet rotates the token (k8s token_manager.go).

    None if the token has no `iat`, or isn't one that a kubelet rotates.
    """
    claims = token.claims
    if claims.issued_at is None or not is_rotated_by_kubelet(claims):
        return None
    return claims.issued_at + rotation_age(claims.expires_at - claims.issued_at)


def document(token: BoundToken, fault: TokenError | None, now: datetime) -> dict[str, object]:
    """Return the claims and dates as JSON values. Durations are in seconds, negative if they have passed."""
    claims, rotation = token.claims, rotates_at(token)
    return {
        "fit": fault is None,
        "fault": None if fault is None else {"reason": fault.reason, "message": fault.message, "remedy": fault.remedy},
        "fingerprint": token.fingerprint,
        "issuer": claims.issuer,
        "subject": claims.subject,
        "audiences": list(claims.audiences),
        "namespace": claims.namespace,
        "service_account": claims.service_account,
        "pod": claims.pod,
        "node": claims.node,
        "algorithm": claims.algorithm,
        "key_id": claims.key_id,
        "session_name": session_name_for(claims),
        "issued_at": None if claims.issued_at is None else timestamp(claims.issued_at),
        "expires_at": timestamp(claims.expires_at),
        "age_seconds": None if claims.issued_at is None else _seconds(now - claims.issued_at),
        "rotation_in_seconds": None if rotation is None else _seconds(rotation - now),
        "expires_in_seconds": _seconds(claims.expires_at - now),
    }


def lines(token: BoundToken, fault: TokenError | None, now: datetime, *, origin: str) -> list[tuple[str, str]]:
    """Return the lines of the output for people, each a name and a value."""
    claims, rotation = token.claims, rotates_at(token)
    shown = [
        ("token", f"{token.fingerprint} from {origin} (unverified)"),
        ("issuer", claims.issuer),
        ("subject", claims.subject),
        ("audience", ", ".join(claims.audiences)),
        ("pod", f"{claims.namespace}/{claims.pod}" if claims.pod else ""),
        ("node", claims.node),
        ("key", f"{claims.key_id} ({claims.algorithm})" if claims.key_id else claims.algorithm),
        ("session", session_name_for(claims)),
    ]
    if claims.issued_at is not None:
        age = now - claims.issued_at
        relative = f"{_format_span(age)} ago"
        if age < timedelta(0):
            relative = f"in {_format_span(-age)}: this node's clock is behind"
        shown.append(("issued", f"{timestamp(claims.issued_at)}, {relative}"))
    if rotation is not None:
        shown.append(("rotation", f"{timestamp(rotation)}, {_format_relative(rotation - now, past='overdue by {}')}"))
    expiry = _format_relative(claims.expires_at - now, past="expired {} ago")
    shown.append(("expires", f"{timestamp(claims.expires_at)}, {expiry}"))
    shown.append(("verdict", "can be sent to STS" if fault is None else f"{fault} [{fault.reason}]"))
    return [(name, printable(value)) for name, value in shown if value]


def _setting_lookup(environ: Mapping[str, str]) -> Callable[[str, str], str]:
    """Return a function that looks up a setting by its variable, then by its top-level key in the YAML file.

    It returns "" if neither is set. The whole configuration is not loaded, so that the verb works without a role.
    """
    document: dict[str, Any] = {}
    if path := environ.get("BROKER_CONFIG", ""):
        from broker.settings.yaml_file import read_mapping  # noqa: PLC0415 - only if there is a file

        document = read_mapping(path)
    return lambda variable, key: environ.get(variable, "").strip() or str(document.get(key) or "")


def _request_token(environ: Mapping[str, str], audience: str) -> BoundToken:
    """Return a new token from the Kubernetes API. Raises TokenError or ConfigurationError."""
    from broker.tokens.token_request_api import ask  # noqa: PLC0415 - imports TLS, which reading a file does not need

    try:
        host, port = api_address(environ)
    except ValueError as error:
        raise ConfigurationError((f"token_source (BROKER_TOKEN_SOURCE): {error}",)) from None
    return ask(TokenRequestSpec(host=host, port=port), audience)


def _read_standard_input() -> str:
    text = decode_token(sys.stdin.buffer.read(MAXIMUM_TOKEN_LENGTH + 1), origin="standard input")
    if not text:
        raise TokenUnavailable("Nothing on standard input; expected a JWT.")
    return text


def _format_relative(duration: timedelta, *, past: str) -> str:
    """Return a time from now; `past` is the phrase for one that has passed, with `{}` for the span."""
    return f"in {_format_span(duration)}" if duration >= timedelta(0) else past.format(_format_span(-duration))


def _format_span(duration: timedelta) -> str:
    """Return `1 d 2 h`, `48 min 3 s`: the two largest units that matter."""
    seconds, parts = _seconds(duration), []
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, seconds = divmod(seconds, length)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2]) or "0 s"


def _seconds(duration: timedelta) -> int:
    return int(duration.total_seconds())
