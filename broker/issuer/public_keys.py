"""The public keys of an issuer: from PEM and from JWK, to JWK, with the key ids of Kubernetes. Pure.

Keys are the types that STS accepts: RSA of at least 2048 bits, and EC on P-256, P-384 or P-521 (botocore's model of
WebIdentityToken). Private keys are refused. No message quotes a key.
cryptography decodes the keys and finds out whether their numbers are sound: docs/adr/0010-issuer-keys.md.
Sources: RFC 7517 and RFC 7518 section 6; for key ids, kubernetes pkg/serviceaccount/jwt.go keyIDFromPublicKey.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    SECP384R1,
    SECP521R1,
    EllipticCurvePublicKey,
    EllipticCurvePublicNumbers,
)
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from broker.discovery.key_documents import CURVE_ALGORITHMS, PublishedKey, WeakKeyError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

RSA_BITS_MINIMUM = 2048
"""RFC 7518 section 3.3: a key of 2048 bits or more MUST be used."""
_RSA_EXPONENT_MAXIMUM = 2**31 - 1
"""The largest exponent that Go accepts (crypto/rsa), in which API servers are written."""
_CURVES = {"P-256": SECP256R1(), "P-384": SECP384R1(), "P-521": SECP521R1()}
_CURVE_NAMES = {curve.name: name for name, curve in _CURVES.items()}
_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----\s(.*?)-----END \1-----", re.DOTALL)
_CONVERSIONS = {
    "RSA PUBLIC KEY": "openssl rsa -RSAPublicKey_in -in FILE -pubout",
    "CERTIFICATE": "openssl x509 -in FILE -noout -pubkey",
}
_MEMBERS = ("use", "kty", "kid", "crv", "alg", "n", "e", "x", "y")
_NUMBERS_NOT_SOUND = "its numbers are not those of an RSA key"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKey:
    """A public key with its id and the algorithm of its signatures."""

    kid: str
    algorithm: str
    key: RSAPublicKey | EllipticCurvePublicKey

    @property
    def description(self) -> str:
        """The algorithm and size of the key."""
        if isinstance(self.key, RSAPublicKey):
            return f"{self.algorithm}, {self.key.key_size} bits"
        return f"{self.algorithm}, {_CURVE_NAMES[self.key.curve.name]}"

    def document(self) -> dict[str, str]:
        """Return the key as a JWK, with the members that Kubernetes writes, in its order."""
        if isinstance(self.key, RSAPublicKey):
            members = RSAAlgorithm.to_jwk(self.key, as_dict=True)
        else:
            members = ECAlgorithm.to_jwk(self.key, as_dict=True)
        named = {**members, "use": "sig", "kid": self.kid, "alg": self.algorithm}
        return {name: str(named[name]) for name in _MEMBERS if name in named}


def from_pem(text: str, origin: str) -> list[PublicKey]:
    """Return the keys of a PEM file. Raises ValueError with a sentence that names `origin` and quotes no key."""
    if "PRIVATE KEY-----" in text:
        raise ValueError(
            f"{origin} holds a private key, which must not be published and is not needed here. "
            f"Give its public key: openssl pkey -in FILE -pubout"
        )
    blocks = _BLOCK.findall(text)
    if not blocks:
        raise ValueError(f"{origin} has no PEM block; expected -----BEGIN PUBLIC KEY-----.")
    keys = []
    for label, body in blocks:
        if label != "PUBLIC KEY":
            conversion = f" Convert it: {_CONVERSIONS[label]}" if label in _CONVERSIONS else ""
            raise ValueError(f"{origin} has a block {label}; expected PUBLIC KEY.{conversion}")
        try:
            keys.append(from_subject_public_key_info(base64.b64decode("".join(body.split()), validate=True)))
        except ValueError as error:  # of this module or of base64: neither quotes the key
            raise ValueError(f"{origin} has a PUBLIC KEY that cannot be used: {error}.") from None
    return keys


def from_subject_public_key_info(encoded: bytes) -> PublicKey:
    """Return the key of a DER SubjectPublicKeyInfo (RFC 5280 section 4.1). Raises ValueError, and nothing else.

    The encoding must be the one that Kubernetes writes, because the key id is its hash.
    """
    try:
        key = load_der_public_key(encoded)
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("it is not an RSA key or an EC key on P-256, P-384 or P-521") from None
    algorithm = _judge_type(key)
    assert isinstance(key, RSAPublicKey | EllipticCurvePublicKey)
    if key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) != encoded:
        raise ValueError(
            "its encoding is not the one that Kubernetes writes; convert it: openssl pkey -pubin -in FILE -pubout "
            "-ec_conv_form uncompressed"
        )
    kid = base64.urlsafe_b64encode(hashlib.sha256(encoded).digest()).rstrip(b"=").decode()
    return PublicKey(kid=kid, algorithm=algorithm, key=key)


def from_published(published: PublishedKey) -> PublicKey:
    """Return the key in a JWK. Raises ValueError with a phrase, and nothing else."""
    members = published.members
    key: RSAPublicKey | EllipticCurvePublicKey
    if published.is_rsa:
        n, e = (int.from_bytes(_decode(members, name)) for name in ("n", "e"))
        _judge_rsa(n.bit_length(), e)
        try:
            key = RSAPublicNumbers(e, n).public_key()
        except ValueError:
            raise ValueError(_NUMBERS_NOT_SOUND) from None
    else:
        key = _read_point(members)
    _judge_type(key)
    return PublicKey(kid=published.kid, algorithm=published.algorithm, key=key)


def _read_point(members: Mapping[str, Any]) -> EllipticCurvePublicKey:
    name = str(members.get("crv"))
    curve = _CURVES[name]
    length = (curve.key_size + 7) // 8
    x, y = (_decode(members, each) for each in ("x", "y"))
    if len(x) != length or len(y) != length:
        raise ValueError(f"x and y must have {length} bytes each (RFC 7518 section 6.2.1)")
    try:
        return EllipticCurvePublicNumbers(int.from_bytes(x), int.from_bytes(y), curve).public_key()
    except ValueError:
        raise ValueError(f"its point is not on {name}") from None


def _judge_type(key: PublicKeyTypes) -> str:
    """Return the algorithm of the key's signatures. Raises ValueError if STS does not accept such a key."""
    if isinstance(key, RSAPublicKey):
        numbers = key.public_numbers()
        _judge_rsa(key.key_size, numbers.e)
        if numbers.n % 2 == 0:
            raise ValueError(_NUMBERS_NOT_SOUND)
        return "RS256"
    if not isinstance(key, EllipticCurvePublicKey):
        raise ValueError("it is neither an RSA nor an EC key; STS accepts no others")  # noqa: TRY004 - content, not type
    name = _CURVE_NAMES.get(key.curve.name)
    if name is None:
        raise ValueError("its curve is not P-256, P-384 or P-521")
    return CURVE_ALGORITHMS[name]


def _judge_rsa(bits: int, exponent: int) -> None:
    if bits < RSA_BITS_MINIMUM:
        raise WeakKeyError(f"it has {bits} bits; expected {RSA_BITS_MINIMUM} or more")
    if exponent > _RSA_EXPONENT_MAXIMUM:
        raise ValueError(_NUMBERS_NOT_SOUND)


def _decode(members: Mapping[str, Any], name: str) -> bytes:
    """Return the bytes of a JWK member in base64url without padding (RFC 7515 section 2)."""
    text = members.get(name)
    if not isinstance(text, str) or not re.fullmatch(r"[A-Za-z0-9_-]+", text) or len(text) % 4 == 1:
        raise ValueError(f"{name} is not base64url without padding")
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
