"""Describe and judge an issuer's keys, signatures and certificates: with cryptography, or without it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from broker.core.findings import failed, ok, quoted
from broker.discovery import key_documents

if TYPE_CHECKING:
    from broker.core.findings import Finding
    from broker.core.model import BoundToken
    from broker.discovery.key_documents import PublishedKey
    from broker.net.http_messages import CertificateFault, TlsSession

_PUBLIC_CERTIFICATE = (
    "Use a certificate from a public CA, sent with its intermediates. For a private CA, list the thumbprint in the IAM "
    "provider, and give this check the CA's file."
)


class Examiner(Protocol):
    """Describes keys and certificates, and judges signatures."""

    def describe_key(self, key: PublishedKey) -> str:
        """Return a short description of the key. Raises ValueError, with a phrase, if its numbers are not sound."""

    def describe_certificate(self, host: str, session: TlsSession) -> str:
        """Return a sentence about the host's certificate, "" if nothing is known about it."""

    def check_signature(self, token: BoundToken, key: PublishedKey) -> Finding:
        """Return whether the key, which has the token's kid and algorithm, signed the token."""


class StructureExaminer:
    """An `Examiner` without cryptography. It leaves signatures to STS, which verifies them."""

    def describe_key(self, key: PublishedKey) -> str:
        """Return the key's algorithm."""
        return key_documents.describe_algorithm(key)

    def describe_certificate(self, host: str, session: TlsSession) -> str:
        """Return the names and the expiry date in the host's own certificate."""
        certificate = session.certificate
        if certificate is None:
            return ""
        names = f"{quoted(certificate.subject)}, issued by {quoted(certificate.issuer)}"
        return f"{host}: {names}; valid until {certificate.not_after:%Y-%m-%d}."

    def check_signature(self, token: BoundToken, key: PublishedKey) -> Finding:
        """Return that the key is published."""
        del token
        return ok("token", f"The token's key {quoted(key.kid)} is published. STS verifies the signature.")


def explain_distrust(host: str, fault: CertificateFault, description: str) -> Finding:
    """Return the finding for a certificate that could not be verified. `description` says what is known about it."""
    remedy = _PUBLIC_CERTIFICATE
    if fault.is_expired:
        found, remedy = "A certificate has expired.", "Renew it."
    elif fault.is_not_yet_valid:
        found, remedy = "A certificate is not valid yet.", "Check its dates and this machine's clock."
    elif fault.is_about_host:
        found, remedy = f"The certificate is not for {host}.", f"Use one that names {host}."
    elif fault.is_self_signed:
        found = "The certificate is self-signed."
    else:
        found = f"The certificate is not trusted ({quoted(fault.message)})."
    return failed("certificate", f"{found} {description or f'Host: {host}.'}", remedy)
