"""TLS as the HTTPS client needs it: which CAs are trusted, and what a session discloses about the server."""

from __future__ import annotations

import contextlib
import os
import ssl
import threading
from datetime import UTC, datetime
from enum import Enum, unique
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from broker.files.regular_file import require_regular_file
from broker.net.http_messages import CertificateFault, PeerCertificate

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from broker.net.deadlines import Deadline

_NO_CHECK_TIME = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME of OpenSSL's x509_vfy.h, for which the ssl module has no name."""
_SHORT_NAMES = {"commonName": "CN", "organizationName": "O", "organizationalUnitName": "OU"}


_LOCK = threading.Lock()
_deadlines = threading.local()


class WatchedSocket(ssl.SSLSocket):
    """A TLS socket that the deadline of its thread's exchange cuts off, from before the handshake on.

    urllib3 makes a TLS socket known only when its handshake is done.
    """

    def do_handshake(self, block: bool = False) -> None:  # noqa: FBT001, FBT002 - the signature of the base class
        """Shake hands in the time that is left. Raises TimeoutError if there is none."""
        deadline: Deadline = _deadlines.deadline
        deadline.watch_socket(self)
        self.settimeout(deadline.remaining())
        super().do_handshake(block)


def set_deadline(deadline: Deadline) -> None:
    """Let this deadline cut off the TLS sockets that the calling thread makes. The thread is the exchange's own."""
    _deadlines.deadline = deadline


@unique
class Trust(Enum):
    """How much of a certificate is verified."""

    FULL = "full"
    ALL_BUT_DATES = "all but dates"
    ALL_BUT_HOST = "all but host"
    NONE = "none"


def verification_context(ca_bundle: str, trust: Trust = Trust.FULL) -> ssl.SSLContext:
    """Return a context that trusts the CAs in the file, or the system's if the name is empty.

    Raises ValueError, with a phrase, if the file has no CA certificates or cannot be read.
    Python 3.13 demands more of certificates than OpenSSL does; AWS documents no such demand, so it is turned off.
    """
    try:
        if ca_bundle:
            require_regular_file(ca_bundle)  # OpenSSL would block on a FIFO
        context = ssl.create_default_context(cafile=ca_bundle or None)
    except ssl.SSLError:
        raise ValueError("it holds no CA certificates") from None
    except OSError as error:
        raise ValueError(error.strerror or "it cannot be read") from None
    context.sslsocket_class = WatchedSocket
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if trust is Trust.ALL_BUT_DATES:
        context.verify_flags |= ssl.VerifyFlags(_NO_CHECK_TIME)
    elif trust is Trust.ALL_BUT_HOST:
        context.check_hostname = False
    elif trust is Trust.NONE:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def shared_context(ca_bundle: str) -> ssl.SSLContext:
    """Return a context that verifies in full, the same one until the file changes. Raises as `verification_context`.

    Loading botocore's 130 CAs takes 50 ms of CPU and 1 MiB for each context. Do not change the context: others use it.
    """
    with _LOCK:
        signature = None
        if ca_bundle:
            with contextlib.suppress(OSError):  # verification_context explains it
                status = os.stat(ca_bundle)  # noqa: PTH116 - pathlib adds nothing here
                signature = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
        return _load_context(ca_bundle, signature)


@lru_cache(maxsize=2)
def _load_context(ca_bundle: str, signature: object) -> ssl.SSLContext:
    """Return a new context. `signature` identifies the file's content."""
    del signature
    return verification_context(ca_bundle)


def read_chain(session: ssl.SSLSocket) -> tuple[bytes, ...]:
    """Return the certificates as the server sent them, in DER.

    SSLSocket has a method for it from Python 3.13 on. In 3.11 and 3.12 the standard library has the same method only on
    the object under the socket (docs/adr/0015-https-client.md). Without either, only the server's own is returned.
    """
    if hasattr(session, "get_unverified_chain"):
        return tuple(session.get_unverified_chain())
    lower: Any = getattr(session, "_sslobj", None)
    if hasattr(lower, "get_unverified_chain"):
        return tuple(ssl.PEM_cert_to_DER_cert(each.public_bytes()) for each in lower.get_unverified_chain())
    own = session.getpeercert(binary_form=True)
    return (own,) if own else ()


def read_certificate(session: ssl.SSLSocket) -> PeerCertificate | None:
    """Return the server's certificate, or None if it was not verified."""
    fields: Mapping[str, Any] | None = session.getpeercert()
    if not fields:
        return None
    return PeerCertificate(
        subject=_format_name(fields.get("subject", ())),
        issuer=_format_name(fields.get("issuer", ())),
        names=tuple(str(name) for _, name in fields.get("subjectAltName", ())),
        not_before=_read_time(fields["notBefore"]),
        not_after=_read_time(fields["notAfter"]),
    )


def describe_fault(error: ssl.SSLCertVerificationError) -> CertificateFault:
    """Return why a certificate could not be verified."""
    return CertificateFault(
        code=error.verify_code, message=error.verify_message.rstrip("."), found_at=datetime.now(UTC)
    )


def _format_name(name: Iterable[Iterable[tuple[str, str]]]) -> str:
    """Return a name as text, from the nested pairs of `getpeercert`."""
    pairs = [(_SHORT_NAMES.get(kind), value) for group in name for kind, value in group]
    return ", ".join(f"{kind}={value}" for kind, value in pairs if kind) or "no name"


def _read_time(text: str) -> datetime:
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(text), UTC)
