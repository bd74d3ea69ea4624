"""Checks a token's signature by a published key: RSA's here, the curves' where `cryptography` is there to do it.

Rules: it is told when a signature was not checked; nothing of the token is quoted. RSA needs no library, for verifying
handles no secret: one power, and a comparison with the whole encoding that the signature must come to, so that no
padding is ever parsed (RFC 8017 sections 8.2.2 and 9.2). STS's own check is the one that counts. Knows no network.
Why the image has no `cryptography`: docs/adr/0002-dependencies.md.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from typing import TYPE_CHECKING

import jwt

from broker.core.findings import failed, ok, quoted, warning

if TYPE_CHECKING:
    from broker.core.findings import Finding
    from broker.core.model import BoundToken
    from broker.issuer.public_keys import PublicKey

_DIGEST_INFO = {
    "RS256": ("sha256", bytes.fromhex("3031300d060960864801650304020105000420")),
    "RS384": ("sha384", bytes.fromhex("3041300d060960864801650304020205000430")),
    "RS512": ("sha512", bytes.fromhex("3051300d060960864801650304020305000440")),
}
"""The hash, and what stands before it (RFC 8017 section 9.2, note 1)."""
_BASE64URL = re.compile(r"[A-Za-z0-9_-]+")


def examine(token: BoundToken, key: PublicKey) -> Finding:
    """Say whether the key, whose id the token names, signed it."""
    name = quoted(key.kid)
    is_signed = _is_signed_by_rsa(token, key) if key.curve is None else _is_signed_by_curve(token, key)
    if is_signed is None:
        said = f"The token's key {name} is published. Its signature is unchecked: {key.algorithm} needs cryptography."
        return warning("token", said, "Run this check from a checkout of the repository, which has it.")
    if not is_signed:
        said = f"The token's signature is not by the published key {name}."
        return failed("token", said, "Publish the key with which the cluster signs: kubectl get --raw /openid/v1/jwks.")
    return ok("token", f"The token is signed by the published key {name}.")


def _is_signed_by_rsa(token: BoundToken, key: PublicKey) -> bool:
    n, e = key.numbers
    length = (n.bit_length() + 7) // 8
    signed, _, last = token.raw.reveal().rpartition(".")
    signature = _decoded(last)
    if token.claims.algorithm != key.algorithm or len(signature) != length:
        return False
    number = int.from_bytes(signature, "big")
    hash_name, prefix = _DIGEST_INFO[key.algorithm]
    ending = b"\x00" + prefix + hashlib.new(hash_name, signed.encode()).digest()
    expected = b"\x00\x01" + b"\xff" * (length - len(ending) - 2) + ending
    return number < n and pow(number, e, n).to_bytes(length, "big") == expected


def _is_signed_by_curve(token: BoundToken, key: PublicKey) -> bool | None:
    """Return None where it cannot be told."""
    try:
        public = jwt.PyJWK(key.document(), algorithm=key.algorithm)
    except (jwt.PyJWTError, NotImplementedError):
        return None
    try:
        jwt.api_jws.decode(token.raw.reveal(), public, algorithms=[key.algorithm])
    except jwt.PyJWTError:
        return False
    return True


def _decoded(text: str) -> bytes:
    """Return what base64url without padding stands for; nothing where it is none."""
    if not _BASE64URL.fullmatch(text):
        return b""
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error:
        return b""
