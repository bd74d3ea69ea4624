"""The public halves of an issuer's signing keys: from PEM and from JWK, to JWK, with the key ids of Kubernetes.

Rules: the kinds that STS takes and no others (RS256/384/512 and ES256/384/512, botocore's model of WebIdentityToken);
points must be on their curves; private keys are refused, and nothing of a key is ever quoted but its id.
Knows no file. Why it reads keys by itself: docs/adr/0010-issuer-keys.md.
Sources: RFC 7517, 7518 (section 6), 5280, 5480, 8017; key ids: kubernetes pkg/serviceaccount/jwt.go keyIDFromPublicKey.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass

from broker.issuer import der

RSA_BITS_MINIMUM = 2048
"""RFC 7518 section 3.3: a key of 2048 bits or larger MUST be used. It says nothing of larger ones."""
_RSA_EXPONENT_MAXIMUM = 2**31 - 1
"""What Go, in which API servers are written, reads (crypto/rsa)."""
_RSA_OID = bytes.fromhex("2a864886f70d010101")
_EC_OID = bytes.fromhex("2a8648ce3d0201")
_UNCOMPRESSED = 4
_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----\s(.*?)-----END \1-----", re.DOTALL)
_INSTEAD = {
    "RSA PUBLIC KEY": "openssl rsa -RSAPublicKey_in -in FILE -pubout",
    "CERTIFICATE": "openssl x509 -in FILE -noout -pubkey",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A curve y² = x³ - 3x + b over the field of p (FIPS 186-4 appendix D.1.2)."""

    name: str
    algorithm: str
    oid: bytes
    length: int
    p: int
    b: int

    def holds(self, x: int, y: int) -> bool:
        """Say whether the point is on the curve."""
        return x < self.p and y < self.p and (y * y - (x * x * x - 3 * x + self.b)) % self.p == 0


CURVES = (
    Curve(
        name="P-256",
        algorithm="ES256",
        oid=bytes.fromhex("2a8648ce3d030107"),
        length=32,
        p=2**256 - 2**224 + 2**192 + 2**96 - 1,
        b=0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B,
    ),
    Curve(
        name="P-384",
        algorithm="ES384",
        oid=bytes.fromhex("2b81040022"),
        length=48,
        p=2**384 - 2**128 - 2**96 + 2**32 - 1,
        b=int("b3312fa7e23ee7e4988e056be3f82d19181d9c6efe8141120314088f5013875ac656398d8a2ed19d2a85c8edd3ec2aef", 16),
    ),
    Curve(
        name="P-521",
        algorithm="ES512",
        oid=bytes.fromhex("2b81040023"),
        length=66,
        p=2**521 - 1,
        b=int(
            "51953eb9618e1c9a1f929a21a0b68540eea2da725b99b315f3b8b489918ef109e156193951ec7e937b1652c0bd3bb1bf073573df883d2c"
            "34f1ef451fd46b503f00",
            16,
        ),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKey:
    """A key with its id. `numbers` are n and e of RSA (`curve` None), or x and y of a point."""

    kid: str
    algorithm: str
    numbers: tuple[int, int]
    curve: Curve | None = None

    @property
    def description(self) -> str:
        """The kind of key, for people."""
        return f"{self.algorithm}, {self.curve.name if self.curve else f'{self.numbers[0].bit_length()} bits'}"

    def document(self) -> dict[str, str]:
        """Return the key as a JWK, with the members that Kubernetes writes, in their order."""
        named: dict[str, str] = {"use": "sig", "kty": "EC" if self.curve else "RSA", "kid": self.kid}
        if self.curve:
            named["crv"] = self.curve.name
        named["alg"] = self.algorithm
        for name, number in zip(("x", "y") if self.curve else ("n", "e"), self.numbers, strict=True):
            length = self.curve.length if self.curve else (number.bit_length() + 7) // 8
            named[name] = _base64url(number.to_bytes(length, "big"))
        return named


def from_pem(text: str, origin: str) -> list[PublicKey]:
    """Return the keys of a PEM file. Raises ValueError with a sentence that names `origin` and quotes no key."""
    blocks = _BLOCK.findall(text)
    if "PRIVATE KEY-----" in text:
        raise ValueError(
            f"{origin} holds a private key, which must not be published and is not needed here. "
            f"Give its public half: openssl pkey -in FILE -pubout"
        )
    if not blocks:
        raise ValueError(f"{origin} has no PEM block; expected -----BEGIN PUBLIC KEY-----.")
    keys = []
    for label, body in blocks:
        if label != "PUBLIC KEY":
            told = f" Make one: {_INSTEAD[label]}" if label in _INSTEAD else ""
            raise ValueError(f"{origin} has a block {label}; expected PUBLIC KEY.{told}")
        try:
            keys.append(from_subject_public_key_info(base64.b64decode("".join(body.split()), validate=True)))
        except ValueError as error:  # its sentences are our own, and binascii's quote nothing
            raise ValueError(f"{origin} has a PUBLIC KEY that cannot be used: {error}.") from None
    return keys


def from_subject_public_key_info(encoded: bytes) -> PublicKey:
    """Return the key of a DER SubjectPublicKeyInfo (RFC 5280 section 4.1). Raises ValueError, and nothing else."""
    outer = der.DerReader(encoded)
    info = outer.reader(der.SEQUENCE)
    outer.finish()
    kind = info.reader(der.SEQUENCE)
    content = info.bits()
    info.finish()
    kid = _base64url(hashlib.sha256(encoded).digest())
    oid = kind.take(der.OBJECT_IDENTIFIER)
    if oid == _RSA_OID:
        if kind.take(der.NULL):
            raise ValueError("an RSA key with parameters")
        kind.finish()
        return _rsa_key(content, kid)
    if oid != _EC_OID:
        raise ValueError("it is neither an RSA nor an EC key, and STS takes no other")
    curve_oid = kind.take(der.OBJECT_IDENTIFIER)
    kind.finish()
    curve = next((each for each in CURVES if each.oid == curve_oid), None)
    if curve is None:
        raise ValueError("its curve is none of P-256, P-384 and P-521")
    if len(content) != 1 + 2 * curve.length or content[0] != _UNCOMPRESSED:
        raise ValueError("its point is not written in full (uncompressed)")
    x, y = (int.from_bytes(half, "big") for half in (content[1 : 1 + curve.length], content[1 + curve.length :]))
    return _ec_key(curve, x, y, kid)


def from_numbers(kty: str, members: dict[str, str], *, kid: str, algorithm: str) -> PublicKey:
    """Return the key that a JWK's base64url members say. Raises ValueError, and nothing else."""
    if kty == "RSA":
        n, e = (int.from_bytes(_from_base64url(members.get(name), name), "big") for name in ("n", "e"))
        return _checked_rsa(PublicKey(kid=kid, algorithm=algorithm or "RS256", numbers=(n, e)))
    curve = next((each for each in CURVES if each.name == members.get("crv")), None)
    if curve is None:
        raise ValueError("its curve is none of P-256, P-384 and P-521")
    x, y = (_from_base64url(members.get(name), name) for name in ("x", "y"))
    if len(x) != curve.length or len(y) != curve.length:
        raise ValueError(f"x and y must have {curve.length} bytes each (RFC 7518 section 6.2.1)")
    return _ec_key(curve, int.from_bytes(x, "big"), int.from_bytes(y, "big"), kid)


def _rsa_key(content: bytes, kid: str) -> PublicKey:
    outer = der.DerReader(content)
    numbers = outer.reader(der.SEQUENCE)
    outer.finish()
    n, e = numbers.natural(), numbers.natural()
    numbers.finish()
    return _checked_rsa(PublicKey(kid=kid, algorithm="RS256", numbers=(n, e)))


def _checked_rsa(key: PublicKey) -> PublicKey:
    n, e = key.numbers
    if n.bit_length() < RSA_BITS_MINIMUM:
        raise ValueError(f"it has {n.bit_length()} bits; expected {RSA_BITS_MINIMUM} or more")
    if n % 2 == 0 or e % 2 == 0 or not 1 < e <= _RSA_EXPONENT_MAXIMUM:
        raise ValueError("its numbers are no RSA key's")
    return key


def _ec_key(curve: Curve, x: int, y: int, kid: str) -> PublicKey:
    if not curve.holds(x, y):
        raise ValueError(f"its point is not on {curve.name}")
    return PublicKey(kid=kid, algorithm=curve.algorithm, numbers=(x, y), curve=curve)


def _base64url(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _from_base64url(text: str | None, name: str) -> bytes:
    if not isinstance(text, str) or not re.fullmatch(r"[A-Za-z0-9_-]+", text):
        raise ValueError(f"{name} is no base64url without padding")
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error:
        raise ValueError(f"{name} is no base64url without padding") from None
