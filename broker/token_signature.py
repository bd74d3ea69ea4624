"""Checks a token's signature by a published key, where `cryptography` is there to do it.

Rules: it is told when it was not checked; the image has no `cryptography` (docs/adr/0002-dependencies.md), and STS's
own check is the one that counts. Nothing of the token is quoted. Knows no network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import jwt

from broker.findings import failed, ok, quoted, warning

if TYPE_CHECKING:
    from broker.findings import Finding
    from broker.model import BoundToken
    from broker.public_keys import PublicKey


def examine(token: BoundToken, key: PublicKey) -> Finding:
    """Say whether the key, whose id the token names, signed it."""
    name = quoted(key.kid)
    try:
        public = jwt.PyJWK(key.document(), algorithm=key.algorithm)
    except (jwt.PyJWTError, NotImplementedError):
        said = f"The token's key {name} is published. Its signature is unchecked: cryptography is not here."
        return warning("token", said, "Run this check from a checkout of the repository, which has it.")
    try:
        jwt.api_jws.decode(token.raw.reveal(), public, algorithms=[key.algorithm])
    except jwt.PyJWTError:
        said = f"The token's signature is not by the published key {name}."
        return failed("token", said, "Publish the key with which the cluster signs: kubectl get --raw /openid/v1/jwks.")
    return ok("token", f"The token is signed by the published key {name}.")
