"""The values of one HTTP exchange: the request, the answer, and the reason why there is no answer. Pure."""

from __future__ import annotations

from enum import Enum, unique
from typing import TYPE_CHECKING

from broker.core.records import Struct, Unprinted, field

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

MAXIMUM_BODY_BYTES = 262_144
"""A key document of 200 RSA keys of 4096 bits is less than half of this."""
MAXIMUM_HEADER_BYTES = 65_536
"""The limit on the sum of all header names and values."""
_EXPIRED, _NOT_YET_VALID, _HOST_MISMATCH, _ADDRESS_MISMATCH = 10, 9, 62, 64
_SELF_SIGNED = (18, 19)


class Request(Unprinted, frozen=True, kw_only=True):
    """One request. `headers` and `body` may hold secrets, so neither is printed.

    An answer's body is read up to `maximum_bytes`.
    """

    url: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    maximum_bytes: int = MAXIMUM_BODY_BYTES


class CertificateFault(Struct, frozen=True, kw_only=True):
    """Why a certificate could not be verified.

    `code` and `message` are those of OpenSSL (X509_V_ERR_… in x509_vfy.h); `found_at` is this machine's time.
    """

    code: int
    message: str
    found_at: datetime

    @property
    def is_expired(self) -> bool:
        """Whether a certificate of the chain has expired."""
        return self.code == _EXPIRED

    @property
    def is_not_yet_valid(self) -> bool:
        """Whether a certificate of the chain is not valid yet."""
        return self.code == _NOT_YET_VALID

    @property
    def is_about_dates(self) -> bool:
        """Whether another clock could find the chain valid."""
        return self.is_expired or self.is_not_yet_valid

    @property
    def is_about_host(self) -> bool:
        """Whether the certificate is for another host name or address."""
        return self.code in {_HOST_MISMATCH, _ADDRESS_MISMATCH}

    @property
    def is_self_signed(self) -> bool:
        """Whether the chain ends in a self-signed certificate that is not trusted."""
        return self.code in _SELF_SIGNED


class PeerCertificate(Struct, frozen=True, kw_only=True):
    """The server's own certificate, as the ssl module decodes it.

    `subject` and `issuer` have CN, O and OU. `names` are the host names and addresses that it is for.
    """

    subject: str
    issuer: str
    names: tuple[str, ...] = ()
    not_before: datetime
    not_after: datetime

    def is_valid_at(self, time: datetime) -> bool:
        """Return whether the time lies between the certificate's dates."""
        return self.not_before <= time <= self.not_after


class TlsSession(Struct, frozen=True, kw_only=True):
    """What TLS disclosed about the server.

    `chain` has the certificates as the server sent them, in DER. `certificate` is None if the certificate is not
    trusted: the ssl module decodes no certificate that it could not verify. If only its dates are wrong, or only its
    host name is, it is decoded.
    `fault` says why verification failed; None if it succeeded. `needs_tls_13` is True if the server refused TLS 1.2.
    """

    chain: tuple[bytes, ...] = ()
    certificate: PeerCertificate | None = None
    fault: CertificateFault | None = None
    needs_tls_13: bool = False

    def is_valid_at(self, time: datetime) -> bool:
        """Return whether the certificate's dates are wrong by this machine's clock only, and right at this time."""
        if self.certificate is None or self.fault is None or not self.fault.is_about_dates:
            return False
        return self.certificate.is_valid_at(time) and not self.certificate.is_valid_at(self.fault.found_at)


class Answer(Unprinted, frozen=True, kw_only=True):
    """A server's answer.

    `headers` has all headers by their names in lower case; a server may echo secrets in them, so they are not printed.
    `is_truncated` is True if the body was longer than the request's `maximum_bytes`. `seconds` is the duration of the
    attempt that succeeded. `address` is the IP address of the peer, which may be a proxy. `via` names the proxy or the
    other address that the route led to, "" if the host itself was contacted. `tls` is None for plain HTTP.
    """

    status: int
    content_type: str
    location: str
    date: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes
    is_truncated: bool
    seconds: float
    address: str
    via: str
    tls: TlsSession | None


@unique
class Failure(Enum):
    """What kind of failure left a request without an answer."""

    SETTING = "setting"
    """The URL or a header cannot be used."""
    PROXY_URL = "proxy url"
    """The proxy variable is not an http:// URL."""
    CA_BUNDLE = "ca bundle"
    """The file of trusted CAs cannot be used."""
    NAME = "name"
    CONNECTION = "connection"
    PROXY = "proxy"
    """The proxy refused to open a tunnel, or did not answer in time."""
    CERTIFICATE = "certificate"
    """The certificate could not be verified, and nothing was sent."""
    TLS = "tls"
    PROTOCOL = "protocol"
    """The server's bytes are not a complete HTTP answer, or its headers are too long."""
    TIMEOUT = "timeout"
    RESOURCES = "resources"
    """This machine has no thread left."""


class NoAnswer(Struct, frozen=True, kw_only=True):
    """Why there is no answer. `found` is a phrase without secrets; `via` is that of `Answer`.

    `status` is the status code with which a proxy refused, 0 otherwise. `fault` is given for Failure.CERTIFICATE.
    """

    failure: Failure
    found: str
    via: str = ""
    status: int = 0
    fault: CertificateFault | None = None
