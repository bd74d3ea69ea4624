"""Reads the bound token from its file, afresh each time, and says exactly what is wrong with it if it is unfit.

A token that is absent, empty, too large, no JWT, without `exp`, expired or for another audience is never handed on.
The file is opened at each look, because the kubelet rotates by swapping a symlink: an open file would stay old for
ever. Refuses to verify anything: that is for STS, and the claims' type says so.
"""

from __future__ import annotations

import hashlib
import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import jwt

from broker.core.errors import TokenAudienceMismatch, TokenError, TokenExpired, TokenMalformed, TokenUnavailable
from broker.core.model import BoundToken, Secret, UnverifiedClaims

if TYPE_CHECKING:
    from collections.abc import Mapping

    from broker.core.clock import Clock

MAXIMUM_TOKEN_LENGTH = 20_000
"""STS's own limit on WebIdentityToken, in characters (botocore's STS model)."""
ROTATION_SHARE = 0.8
"""The kubelet replaces a token that is older than this share of its life, or than 24 hours (k8s token_manager.go)."""
ROTATION_AGE = timedelta(hours=24)
_FINGERPRINT_LENGTH = 12
FSGROUP_REMEDY = "Set fsGroup in the pod's securityContext, so that the kubelet lets the broker's group read it."
_PROJECTED_VOLUME_REMEDY = (
    "Mount a projected serviceAccountToken volume there (as a directory, not by subPath), or set "
    "AWS_WEB_IDENTITY_TOKEN_FILE to where it is."
)


class FileTokenSource:
    """The token in one file. It is read at each look, and parsed again only when it has changed."""

    def __init__(self, path: str, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._parsed: BoundToken | None = None

    def read(self, audience: str) -> BoundToken:
        """Return the token that stands in the file now, if it is fit to be sent for this audience.

        Raises TokenUnavailable, TokenMalformed, TokenExpired or TokenAudienceMismatch.
        """
        text = read_token_text(self._path)
        if self._parsed is None or self._parsed.raw != Secret(text):
            self._parsed = parse_token(text, origin=self._path)
        fault = find_unfitness(self._parsed, audience=audience, now=self._clock.read().now, origin=self._path)
        if fault is not None:
            raise fault
        return self._parsed


def read_token_text(path: str) -> str:
    """Return the text of the file without surrounding white space, reading no more than STS would take.

    Raises TokenUnavailable where there is none, TokenMalformed where it is too long or no text.
    """
    try:
        content = read_content(path)
    except (OSError, ValueError) as error:  # ValueError: a path that no file can have, such as YAML can spell
        number = error.errno if isinstance(error, OSError) else None
        found = os.strerror(number) if number else "it cannot be read"
        remedy = _PROJECTED_VOLUME_REMEDY
        if isinstance(error, PermissionError):
            remedy = FSGROUP_REMEDY
        raise TokenUnavailable(f"No token in {path}: {found}; expected a readable file.", remedy) from None
    if len(content) > MAXIMUM_TOKEN_LENGTH:
        raise TokenMalformed(
            f"The token in {path} is over {MAXIMUM_TOKEN_LENGTH:,} characters; STS takes no more.",
            "Point AWS_WEB_IDENTITY_TOKEN_FILE at the projected token; this file is something else.",
        )
    try:
        text = content.decode("ascii").strip()
    except UnicodeDecodeError:
        text = "\N{REPLACEMENT CHARACTER}"
    if not text:
        remedy = "The kubelet writes it: look at its log, on the node, if this stays."
        raise TokenUnavailable(f"The token file {path} is empty; expected a JWT.", remedy)
    return text


def read_content(path: str) -> bytes:
    """Return as much of a token's file as is worth reading. Raises OSError, or ValueError for a path that none has.

    A path that was resolved just before the kubelet's swap can end in the directory that it then deletes, so a file
    that is absent is looked for once more.
    """
    try:
        return _read(path)
    except FileNotFoundError:
        return _read(path)


def _read(path: str) -> bytes:
    with open(path, "rb") as file:  # noqa: PTH123 - one way to read in this package
        return file.read(MAXIMUM_TOKEN_LENGTH + 1)


def parse_token(text: str, *, origin: str) -> BoundToken:
    """Return the token that `text` is; `origin` (a file's name) is for the message.

    Raises TokenMalformed where it is no JWT or lacks `exp`.
    """
    try:
        decoded = jwt.decode_complete(text, options={"verify_signature": False})
        claims = _claims(decoded["payload"], decoded["header"])
    except (jwt.PyJWTError, ValueError, TypeError, OSError, OverflowError, AttributeError, KeyError, RecursionError):
        # What the libraries say may quote the token: it is not passed on.
        raise TokenMalformed(
            f"The token in {origin} is no JWT with the claims of a bound token ({len(text):,} characters); "
            "expected three base64url parts with at least iss, sub, aud and exp.",
            "Point AWS_WEB_IDENTITY_TOKEN_FILE at the projected token.",
        ) from None
    fingerprint = hashlib.sha256(text.encode()).hexdigest()[:_FINGERPRINT_LENGTH]
    return BoundToken(raw=Secret(text), fingerprint=fingerprint, claims=claims)


def find_unfitness(token: BoundToken, *, audience: str, now: datetime, origin: str) -> TokenError | None:
    """Return why this token must not be sent for this audience now, or None where it may be."""
    claims = token.claims
    if audience not in claims.audiences:
        found = ", ".join(claims.audiences) or "none"
        return TokenAudienceMismatch(
            f"The token in {origin} has audience {found}; expected {audience}.",
            f"Set audience: {audience} in the projected serviceAccountToken source, "
            "or BROKER_AUDIENCE to the audience that the IAM provider lists.",
        )
    if claims.expires_at <= now:
        ago = now - claims.expires_at
        return TokenExpired(
            f"The token in {origin} expired at {claims.expires_at:%Y-%m-%dT%H:%M:%SZ}, "
            f"{timedelta(seconds=int(ago.total_seconds()))} ago by this node's clock; expected one that is valid.",
            "The kubelet should have rotated it: look at the kubelet's log and the node's clock; a subPath mount "
            "is never rotated.",
        )
    return None


def rotation_age(life: timedelta) -> timedelta:
    """Return the age at which the kubelet replaces a token that lives so long, but for some seconds of chance."""
    return min(life * ROTATION_SHARE, ROTATION_AGE)


def _claims(payload: Mapping[str, Any], header: Mapping[str, Any]) -> UnverifiedClaims:
    """Return the claims of a decoded token. Raises KeyError, TypeError or ValueError where they are none."""
    audience = payload.get("aud", [])
    kubernetes = payload.get("kubernetes.io") or {}
    return UnverifiedClaims(
        issuer=str(payload["iss"]),
        subject=str(payload["sub"]),
        audiences=(audience,) if isinstance(audience, str) else tuple(str(each) for each in audience),
        issued_at=_instant(payload.get("iat")),
        not_before=_instant(payload.get("nbf")),
        expires_at=_required_instant(payload["exp"]),
        namespace=str(kubernetes.get("namespace", "")),
        service_account=str(kubernetes.get("serviceaccount", {}).get("name", "")),
        pod=str(kubernetes.get("pod", {}).get("name", "")),
        pod_uid=str(kubernetes.get("pod", {}).get("uid", "")),
        node=str(kubernetes.get("node", {}).get("name", "")),
        key_id=str(header.get("kid", "")),
        algorithm=str(header.get("alg", "")),
    )


def _instant(seconds: object) -> datetime | None:
    """Return a JWT NumericDate as an instant, None where the claim is absent."""
    return None if seconds is None else _required_instant(seconds)


def _required_instant(seconds: object) -> datetime:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise TypeError("a NumericDate is a number")
    return datetime.fromtimestamp(seconds, UTC)
