"""What a TLS server's certificates say: names, expiry, and the thumbprint that IAM keeps of them.

Rules: it reads, and verifies nothing: OpenSSL does. Names are shown as they stand, which proves nothing by itself.
Knows no network. Sources: RFC 5280 section 4.1; IAM's model of ThumbprintList, and the IAM User Guide, "Obtain the
thumbprint for an OpenID Connect identity provider": SHA-1 of the last certificate that the server sends.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from broker.issuer import der

if TYPE_CHECKING:
    from collections.abc import Sequence

_NAMES = {
    bytes.fromhex("550403"): "CN",
    bytes.fromhex("55040a"): "O",
    bytes.fromhex("55040b"): "OU",
}
_VERSION = 0xA0


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """A certificate as a server sent it."""

    subject: str
    issuer: str
    not_before: datetime
    not_after: datetime
    sha1: str


def read(encoded: bytes) -> Certificate:
    """Return what the DER certificate says. Raises ValueError, and nothing else."""
    outer = der.DerReader(encoded)
    content = outer.reader(der.SEQUENCE).reader(der.SEQUENCE)
    if content.next_tag() == _VERSION:
        content.take_any()
    content.take(der.INTEGER)  # the serial number, of any sign
    content.take(der.SEQUENCE)
    issuer = _name(content.reader(der.SEQUENCE))
    validity = content.reader(der.SEQUENCE)
    not_before, not_after = _instant(validity), _instant(validity)
    return Certificate(
        subject=_name(content.reader(der.SEQUENCE)),
        issuer=issuer,
        not_before=not_before,
        not_after=not_after,
        sha1=hashlib.sha1(encoded, usedforsecurity=False).hexdigest(),
    )


def read_all(chain: Sequence[bytes]) -> list[Certificate]:
    """Return what can be read of a chain: a certificate that cannot be is left out."""
    found = []
    for encoded in chain:
        try:
            found.append(read(encoded))
        except ValueError:
            continue
    return found


def _name(reader: der.DerReader) -> str:
    parts = []
    while reader.next_tag() is not None:
        group = reader.reader(der.SET)
        while group.next_tag() is not None:
            pair = group.reader(der.SEQUENCE)
            kind = _NAMES.get(pair.take(der.OBJECT_IDENTIFIER))
            text = pair.take_any()[1].decode("utf-8", errors="replace")
            if kind:
                parts.append(f"{kind}={text}")
    return ", ".join(parts) or "no name"


def _instant(reader: der.DerReader) -> datetime:
    tag, content = reader.take_any()
    text = content.decode("ascii")  # UnicodeDecodeError is a ValueError
    if tag == der.UTC_TIME:
        # RFC 5280 section 4.1.2.5.1: two digits mean 1950 to 2049.
        century = "20" if text[:2] < "50" else "19"
        text = century + text
    elif tag != der.GENERALIZED_TIME:
        raise ValueError("expected a time")
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
