"""Decode a bound token with pyjwt: claims and fingerprint. Nothing is verified here; STS does that.

The resident process has this done by a worker, because `import jwt` loads ssl and urllib.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import jwt

from broker.core.errors import TokenMalformed
from broker.core.model import SPIFFE_SCHEME, BoundToken, Secret, UnverifiedClaims
from broker.tokens.token_file import WRONG_FILE_REMEDY

if TYPE_CHECKING:
    from collections.abc import Mapping

_FINGERPRINT_LENGTH = 12
_REQUIRED = ("iss", "sub", "exp")
"""The claims without which STS refuses a token, "Missing a required claim" (aws-actions/configure-aws-credentials#502).

It requires `aud` as well (aws/aws-sdk-ruby#2698); an absent audience is reported like a wrong one.
"""
_SPIRE_REMEDY = (
    "STS finds the IAM OIDC provider by iss, which SPIRE writes into JWT-SVIDs only if it is configured to. Set "
    "jwt_issuer of the SPIRE server to the https:// URL of SPIRE's OIDC discovery provider (docs/other-issuers.md)."
)


def parse_token(text: str, *, origin: str) -> BoundToken:
    """Return the token in `text`; `origin`, usually the file's name, is for the error message.

    Raises TokenMalformed if it is not a JWT, or has no `iss`, `sub` or `exp`.
    """
    try:
        decoded = jwt.decode_complete(text, options={"verify_signature": False})
        payload = decoded["payload"]
        absent = [name for name in _REQUIRED if payload.get(name) in (None, "")]
        claims = None if absent else _read_claims(payload, decoded["header"])
    except (jwt.PyJWTError, ValueError, TypeError, OSError, OverflowError, AttributeError, KeyError, RecursionError):
        # The text of these errors may quote the token, so it is dropped.
        raise TokenMalformed(
            f"The token in {origin} is not a JWT with the claims of a bound token ({len(text):,} characters); "
            "expected three base64url parts with at least iss, sub, aud and exp.",
            WRONG_FILE_REMEDY,
        ) from None
    if claims is None:
        is_svid = absent == ["iss"] and str(payload["sub"]).startswith(SPIFFE_SCHEME)
        raise TokenMalformed(
            f"The token in {origin} has no {' and no '.join(absent)} claim; STS requires iss, sub, aud and exp.",
            _SPIRE_REMEDY if is_svid else WRONG_FILE_REMEDY,
        )
    fingerprint = hashlib.sha256(text.encode()).hexdigest()[:_FINGERPRINT_LENGTH]
    return BoundToken(raw=Secret(text), fingerprint=fingerprint, claims=claims)


def _read_claims(payload: Mapping[str, Any], header: Mapping[str, Any]) -> UnverifiedClaims:
    """Return the claims of a decoded token. Raises KeyError, TypeError or ValueError if one is absent or malformed."""
    audience = payload.get("aud", [])
    kubernetes = payload.get("kubernetes.io") or {}
    return UnverifiedClaims(
        issuer=str(payload["iss"]),
        subject=str(payload["sub"]),
        audiences=(audience,) if isinstance(audience, str) else tuple(str(each) for each in audience),
        issued_at=_read_optional_date(payload.get("iat")),
        not_before=_read_optional_date(payload.get("nbf")),
        expires_at=_read_date(payload["exp"]),
        namespace=str(kubernetes.get("namespace", "")),
        service_account=str(kubernetes.get("serviceaccount", {}).get("name", "")),
        pod=str(kubernetes.get("pod", {}).get("name", "")),
        pod_uid=str(kubernetes.get("pod", {}).get("uid", "")),
        node=str(kubernetes.get("node", {}).get("name", "")),
        repository=_read_name(payload, "repository"),
        run_id=_read_name(payload, "run_id"),
        project_path=_read_name(payload, "project_path"),
        job_id=_read_name(payload, "job_id"),
        key_id=str(header.get("kid", "")),
        algorithm=str(header.get("alg", "")),
    )


def _read_name(payload: Mapping[str, Any], claim: str) -> str:
    """Return a claim that names something, or "" if it is absent or neither text nor a number."""
    value = payload.get(claim)
    return str(value) if isinstance(value, str | int) else ""


def _read_optional_date(seconds: object) -> datetime | None:
    return None if seconds is None else _read_date(seconds)


def _read_date(seconds: object) -> datetime:
    """Return a JWT NumericDate as a datetime. Raises TypeError, ValueError, OSError or OverflowError."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise TypeError("a NumericDate must be a number")
    return datetime.fromtimestamp(seconds, UTC)
