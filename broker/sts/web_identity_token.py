"""Calls to STS: GetWebIdentityToken, signed with the credentials of the profile.

The call goes to the regional endpoint: the global one does not have it
(https://docs.aws.amazon.com/STS/latest/APIReference/API_GetWebIdentityToken.html). The token in the response is neither
decoded nor logged.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from broker.core.model import Secret
from broker.core.web_identity_token import WebIdentityToken
from broker.net.http_dates import server_time
from broker.sts.exchange import compute_lifetime, convert_to_utc, reject_response
from broker.sts.web_identity_refusals import explain_token_refusal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

    from broker.core.clock import Instant
    from broker.core.model import ProfileSpec, SourceSession
    from broker.sts.exchange import StsExchanger

_WHAT = "The response of STS to GetWebIdentityToken"
_JWT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")


def request_token(
    exchanger: StsExchanger, profile: ProfileSpec, session: SourceSession, duration: timedelta
) -> WebIdentityToken:
    """Return a token of this lifetime that STS issues for the session. Raises ExchangeError and nothing else.

    The profile has `web_identity_token`.
    """
    spec = profile.web_identity_token
    assert spec is not None
    parameters = {
        "Audience": list(spec.audiences),
        "DurationSeconds": int(duration.total_seconds()),
        "SigningAlgorithm": spec.signing_algorithm,
    }

    def make_call() -> Mapping[str, Any]:
        client = exchanger.client(profile.region, signed=True)
        with exchanger.signer.using(session.generation.credentials):
            response: Mapping[str, Any] = client.get_web_identity_token(**parameters)
        return response

    began = exchanger.clock.read()
    response = exchanger.call(profile, session, make_call, explain_token_refusal)
    return _check(response, profile.name, duration, began, exchanger.clock.read())


def _check(
    response: Mapping[str, Any], profile: str, duration: timedelta, began: Instant, ended: Instant
) -> WebIdentityToken:
    """Return the token in the response. Raises ResponseInvalid if it is not usable.

    `received_at` is the start of the call, because the token may have been issued at any time since then.
    """
    metadata = response.get("ResponseMetadata", {})
    given, expires_at = response.get("WebIdentityToken"), convert_to_utc(response.get("Expiration"))
    raw = given if isinstance(given, str) and _JWT.fullmatch(given) else ""
    took = ended.monotonic - began.monotonic
    if not raw or expires_at is None:
        fields = {"WebIdentityToken": raw, "Expiration": expires_at}
        unusable = ", ".join(name for name, value in fields.items() if not value)
        raise reject_response(_WHAT, f"missing, blank or malformed fields: {unusable}", metadata)
    date = server_time(metadata.get("HTTPHeaders", {}).get("date", ""))
    lifetime = compute_lifetime(duration, date, ended.now, expires_at)
    if lifetime <= took:
        raise reject_response(_WHAT, f"the token expired at {expires_at:%Y-%m-%dT%H:%M:%SZ}", metadata)
    return WebIdentityToken(
        profile=profile,
        raw=Secret(raw),
        received_at=ended.now - took,
        expires_at=expires_at,
        lifetime=lifetime,
        request_id=str(metadata.get("RequestId", "")),
    )
