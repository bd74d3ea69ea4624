"""Read a TLS server's certificates: names, dates, and the thumbprint that IAM keeps. Pure.

Nothing is verified here; OpenSSL has done so. Names are shown as the certificate has them, which proves nothing.
Sources: IAM's API model of ThumbprintList, and the IAM User Guide, "Obtain the thumbprint for an OpenID Connect
identity provider": the SHA-1 hash of the last certificate that the server sends.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

_SHOWN = {
    x509.NameOID.COMMON_NAME: "CN",
    x509.NameOID.ORGANIZATION_NAME: "O",
    x509.NameOID.ORGANIZATIONAL_UNIT_NAME: "OU",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """A certificate as a server sent it. `sha1` is the hash of its DER encoding, in hexadecimal."""

    subject: str
    issuer: str
    not_before: datetime
    not_after: datetime
    sha1: str


def read(encoded: bytes) -> Certificate:
    """Return the facts of a DER certificate. Raises ValueError, and nothing else."""
    try:
        with warnings.catch_warnings(action="ignore"):  # deprecations that concern who issued it, not who reads it
            parsed = x509.load_der_x509_certificate(encoded)
            return Certificate(
                subject=_format_name(parsed.subject),
                issuer=_format_name(parsed.issuer),
                not_before=parsed.not_valid_before_utc,
                not_after=parsed.not_valid_after_utc,
                sha1=parsed.fingerprint(hashes.SHA1()).hex(),  # noqa: S303 - IAM's thumbprint is a SHA-1 hash
            )
    except x509.InvalidVersion:
        raise ValueError("a certificate of an unknown version") from None


def read_all(chain: Sequence[bytes]) -> list[Certificate]:
    """Return the certificates of a chain, without those that cannot be read."""
    found = []
    for encoded in chain:
        try:
            found.append(read(encoded))
        except ValueError:
            continue
    return found


def _format_name(name: x509.Name) -> str:
    """Return the CN, O and OU of a name, in the order in which it has them."""
    pairs = [(_SHOWN.get(each.oid), each.value) for each in name]
    return ", ".join(f"{kind}={value if isinstance(value, str) else value.hex()}" for kind, value in pairs if kind) or (
        "no name"
    )
