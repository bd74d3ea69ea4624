"""What STS means when it says no: its code, or else the HTTP status, told as the fault and the change that mends it.

The table is read by the wire code, not by botocore's exception class: other implementations spell theirs differently
(MinIO: `ExpiredToken`), and some answers carry none at all (Ceph). AWS's own sentence is kept, shortened and with the
token taken out, for it is what people search for.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from broker.errors import (
    ExchangeError,
    ExchangeThrottled,
    ExchangeUnavailable,
    RequestInvalid,
    RoleDenied,
    TokenRejected,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from broker.model import BoundToken, ProfileSpec

MAXIMUM_QUOTE_LENGTH = 300
_TOKEN_PIECE = re.compile(r"[A-Za-z0-9_-]{16,}")
_SERVER_FAULT = 500
_BY_CODE: Mapping[str, type[ExchangeError]] = {
    "AccessDenied": RoleDenied,
    "AccessDeniedException": RoleDenied,
    "ExpiredToken": TokenRejected,
    "ExpiredTokenException": TokenRejected,
    "IDPCommunicationError": ExchangeUnavailable,
    "IDPRejectedClaim": TokenRejected,
    "InternalError": ExchangeUnavailable,
    "InternalFailure": ExchangeUnavailable,
    "InvalidIdentityToken": TokenRejected,
    "InvalidParameterValue": RequestInvalid,
    "MalformedPolicyDocument": RequestInvalid,
    "MissingParameter": RequestInvalid,
    "PackedPolicyTooLarge": RequestInvalid,
    "RegionDisabledException": RequestInvalid,
    "RequestLimitExceeded": ExchangeThrottled,
    "RequestTimeout": ExchangeUnavailable,
    "ServiceUnavailable": ExchangeUnavailable,
    "SlowDown": ExchangeThrottled,
    "Throttling": ExchangeThrottled,
    "ThrottlingException": ExchangeThrottled,
    "TooManyRequestsException": ExchangeThrottled,
    "ValidationError": RequestInvalid,
}
_BY_STATUS: Mapping[int, type[ExchangeError]] = {
    401: TokenRejected,
    403: RoleDenied,
    408: ExchangeUnavailable,
    429: ExchangeThrottled,
}


def explain(response: Mapping[str, Any], profile: ProfileSpec, token: BoundToken) -> ExchangeError:
    """Return the fault that STS's answer stands for; `response` is that of botocore's ClientError."""
    error, metadata = response.get("Error", {}), response.get("ResponseMetadata", {})
    code, status = _quoted(str(error.get("Code") or ""), token), int(metadata.get("HTTPStatusCode", 0))
    quote = _quoted(str(error.get("Message") or ""), token)
    by_status = ExchangeUnavailable if status >= _SERVER_FAULT else _BY_STATUS.get(status, RequestInvalid)
    kind = _BY_CODE.get(code, by_status)
    named = code if code and not code.isdigit() else f"HTTP status {status}"
    subject = f"{token.claims.subject} for {profile.role_arn}"
    return kind(
        f"STS answered {named} to {subject}{f': {quote}' if quote else ''}".removesuffix(".") + ".",
        _remedy(code, quote, kind, profile, token),
        code=code,
        http_status=status,
        request_id=str(metadata.get("RequestId", "")),
    )


def _quoted(message: str, token: BoundToken) -> str:
    """Return AWS's word or sentence, safe to print: no token or piece of it, no control characters, not too long."""
    raw = token.raw.reveal()
    message = message.replace(raw, "<redacted>")
    message = _TOKEN_PIECE.sub(lambda piece: "<redacted>" if piece[0] in raw else piece[0], message)
    message = " ".join(message.split())
    return "".join(each for each in message if each.isprintable())[:MAXIMUM_QUOTE_LENGTH]


def _remedy(code: str, quote: str, kind: type[ExchangeError], profile: ProfileSpec, token: BoundToken) -> str:
    """Return what to change."""
    issuer = token.claims.issuer
    for part, remedy in _BY_QUOTE.items():
        if part in quote:
            return remedy.format(**_facts(profile, token))
    if code in _REMEDY_BY_CODE:
        return _REMEDY_BY_CODE[code].format(**_facts(profile, token))
    if kind is RoleDenied:
        return _TRUST_REMEDY.format(**_facts(profile, token))
    if kind is TokenRejected:
        return f"Compare `broker token` with the IAM OIDC provider of {issuer}."
    if kind is ExchangeThrottled:
        return "The quota is per account and Region: ask for longer sessions (duration_seconds), or raise the quota."
    return "" if kind is ExchangeUnavailable else "Look at the profile's settings and at AWS_ENDPOINT_URL_STS."


def _facts(profile: ProfileSpec, token: BoundToken) -> dict[str, str]:
    claims = token.claims
    return {
        "issuer": claims.issuer,
        "provider": claims.issuer.removeprefix("https://"),
        "subject": claims.subject,
        "audience": profile.audience,
        "role": profile.role_arn,
        "account": profile.role_arn.split(":")[4] or "the role's",
        "region": profile.region,
        "duration": str(int(profile.duration.total_seconds())),
        "expiry": f"{claims.expires_at:%Y-%m-%dT%H:%M:%SZ}",
    }


_TRUST_REMEDY = (
    "Either the role does not exist or its trust policy does not let this token in. It must allow "
    "sts:AssumeRoleWithWebIdentity to the provider {provider} where {provider}:sub is {subject} and "
    "{provider}:aud is {audience}. A change in IAM takes a few seconds to arrive."
)
_BY_QUOTE = {
    "No OpenIDConnect provider": (
        "Create an IAM OIDC provider in account {account} whose URL is exactly {issuer}; "
        "STS also says this where Region {region} is not enabled in the account."
    ),
    "Incorrect token audience": "Add {audience} to the client ids of the IAM OIDC provider for {issuer}.",
    "verification key": (
        "STS could not fetch the keys of {issuer}: its discovery document and JWKS must be public and answer within "
        "5 s. This often passes by itself."
    ),
    "MaxSessionDuration": "Lower duration_seconds from {duration}, or raise the maximum session duration of {role}.",
}
_REMEDY_BY_CODE = {
    "ExpiredToken": "The token runs to {expiry}: if that is still to come, the node's clock is behind STS.",
    "ExpiredTokenException": "The token runs to {expiry}: if that is still to come, the node's clock is behind STS.",
    "IDPCommunicationError": "STS could not reach {issuer}; it must be public and answer within 5 s.",
    "IDPRejectedClaim": "The issuer {issuer} no longer vouches for the token.",
    "MalformedPolicyDocument": "Mend session_policy or policy_arns of the profile.",
    "PackedPolicyTooLarge": "Shorten session_policy, or name fewer policy_arns.",
    "RegionDisabledException": "Activate STS for Region {region} in account {account}, or set AWS_REGION to another.",
}
