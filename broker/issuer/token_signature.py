"""Verify a token's signature with a published key. PyJWT and cryptography do the work; STS's own check decides.

Nothing of the token is quoted.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import jwt

from broker.core.findings import failed, ok, quoted

if TYPE_CHECKING:
    from broker.core.findings import Finding
    from broker.core.model import BoundToken
    from broker.issuer.public_keys import PublicKey

_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
"""RFC 7515 section 7.1. PyJWT skips characters that are not base64url, where STS need not."""


def examine(token: BoundToken, key: PublicKey) -> Finding:
    """Return whether the key signed the token."""
    name = quoted(key.kid)
    if _is_signed_by(token, key):
        return ok("token", f"The token is signed with the published key {name}.")
    found = f"The token is not signed with the published key {name}, although it names it."
    return failed("token", found, "Publish the key with which the cluster signs: kubectl get --raw /openid/v1/jwks.")


def _is_signed_by(token: BoundToken, key: PublicKey) -> bool:
    text = token.raw.reveal()
    if _COMPACT.fullmatch(text) is None:
        return False
    try:
        jwt.PyJWS().decode(text, key.key, algorithms=[key.algorithm])
    except jwt.PyJWTError:
        return False
    return True
