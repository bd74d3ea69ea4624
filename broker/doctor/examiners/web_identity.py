"""Examine web identity tokens: whether STS issues one now, and whether the published one is fresh.

STS is called once for each profile that has `web_identity_token`, with the session of its exchange. The token never
leaves this process.
"""

from __future__ import annotations

import os
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from broker.core.errors import ExchangeError, TokenError
from broker.core.web_identity_spec import FILE_ENDING
from broker.doctor.checks import Outcome, label
from broker.doctor.examiners.exchange import RETRY_REMEDY
from broker.publish.owned_files import NotRestorable
from broker.publish.token_sink import read_token_file
from broker.tokens.decoding import parse_token

if TYPE_CHECKING:
    from datetime import datetime

    from broker.core.model import ProfileSpec, SourceSession
    from broker.doctor.checks import Report
    from broker.sts.exchange import StsExchanger

CALL_CHECK: Final = "web-identity-token"
FILE_CHECK: Final = "web-identity-file"
_CALL_ALLOWANCE: Final = timedelta(seconds=30)
"""STS refuses a token that outlives the session, which the exchange has just begun."""
_BROKER_REMEDY: Final = "Look for web_identity_token_failed in the broker's log, which says why."


def examine_call(
    profile: ProfileSpec,
    session: SourceSession | None,
    exchanger: StsExchanger | None,
    report: Report,
    of: str,
) -> None:
    """Request a token. Without an exchanger (there is no memory for it) or a session, the call is not made."""
    spec = profile.web_identity_token
    assert spec is not None
    if exchanger is None or session is None:
        report.not_checked((CALL_CHECK,), "", because="memory" if exchanger is None else label("exchange", of), of=of)
        return
    from broker.sts.web_identity_token import request_token  # noqa: PLC0415 - botocore, only where memory suffices

    report.announce(f"the web identity token of profile {profile.name}")
    try:
        duration = min(spec.duration, session.generation.credentials.lifetime - _CALL_ALLOWANCE)
        token = request_token(exchanger, profile, session, duration)
    except ExchangeError as error:
        remedy = error.remedy or RETRY_REMEDY
        report.failed(CALL_CHECK, error.message, remedy, of=of, reason=error.reason, error_code=error.code)
        return
    found = f"STS issues web identity tokens for {', '.join(spec.audiences)} (request id {token.request_id or 'none'})."
    report.ok(CALL_CHECK, found, of=of)


def examine_token_file(profile: ProfileSpec, directory: str, report: Report, now: datetime, of: str) -> None:
    """Compare the published token with the settings and the clock."""
    spec = profile.web_identity_token
    assert spec is not None
    name = f"{profile.name}.{FILE_ENDING}"
    try:
        text = _read(directory, profile.name)
        claims = parse_token(text, origin=name).claims if text is not None else None
    except (NotRestorable, TokenError) as error:
        remedy = "Remove the file. The broker writes it again."
        report.failed(
            FILE_CHECK, f"{name} is not a token of the broker: {getattr(error, 'message', error)}", remedy, of=of
        )
        return
    cause = report.find(CALL_CHECK, of, Outcome.FAILED)
    if claims is None:
        report.not_checked(
            (FILE_CHECK,), f"There is no {name} in {directory}.", because=cause.label if cause else "", of=of
        )
        return
    remaining = claims.expires_at - now
    if sorted(claims.audiences) != sorted(spec.audiences):
        found = f"{name} is for {', '.join(claims.audiences)}; the settings have {', '.join(spec.audiences)}."
    elif remaining <= timedelta(0):
        found = f"{name} expired at {claims.expires_at:%Y-%m-%dT%H:%M:%SZ}."
    else:
        report.ok(FILE_CHECK, f"{name} is valid for {remaining.total_seconds():.0f} s.", of=of)
        return
    if cause is not None:
        report.follows(FILE_CHECK, found, because=cause.label, of=of)
    else:
        report.failed(FILE_CHECK, found, _BROKER_REMEDY, of=of)


def _read(directory: str, profile: str) -> str | None:
    """Return the published token, None if there is none. Raises NotRestorable."""
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None  # reported by another check
    try:
        return read_token_file(descriptor, profile)
    finally:
        os.close(descriptor)
