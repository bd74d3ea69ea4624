"""Decode a bound token with pyjwt: claims and fingerprint. Nothing is verified here; STS does that.

The resident process has this done by a worker, because `import jwt` loads ssl and urllib.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import jwt

from broker.core.errors import TokenMalformed
from broker.core.model import BoundToken, Secret, UnverifiedClaims
from broker.tokens.token_file import WRONG_FILE_REMEDY

if TYPE_CHECKING:
    from collections.abc import Mapping

_FINGERPRINT_LENGTH = 12


def parse_token(text: str, *, origin: str) -> BoundToken:
    """Return the token in `text`; `origin`, usually the file's name, is for the error message.

    Raises TokenMalformed if it is not a JWT, or has no `iss`, `sub` or `exp`.
    """
    try:
        decoded = jwt.decode_complete(text, options={"verify_signature": False})
        claims = _read_claims(decoded["payload"], decoded["header"])
    except (jwt.PyJWTError, ValueError, TypeError, OSError, OverflowError, AttributeError, KeyError, RecursionError):
        # The text of these errors may quote the token, so it is dropped.
        raise TokenMalformed(
            f"The token in {origin} is not a JWT with the claims of a bound token ({len(text):,} characters); "
            "expected three base64url parts with at least iss, sub, aud and exp.",
            WRONG_FILE_REMEDY,
        ) from None
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
        key_id=str(header.get("kid", "")),
        algorithm=str(header.get("alg", "")),
    )


def _read_optional_date(seconds: object) -> datetime | None:
    return None if seconds is None else _read_date(seconds)


def _read_date(seconds: object) -> datetime:
    """Return a JWT NumericDate as a datetime. Raises TypeError, ValueError, OSError or OverflowError."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise TypeError("a NumericDate must be a number")
    return datetime.fromtimestamp(seconds, UTC)
