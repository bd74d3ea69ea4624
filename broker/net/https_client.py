"""One GET over https, as STS would do it: bounded in time and size, no redirect followed, the certificates kept.

Rules: the time covers everything, name resolution too, so the work runs on a thread that is left behind when the time
is over; no scheme but https is spoken; what cannot be verified is still fetched, marked, and believed by nobody, so
that one run tells every fault. No exception leaves it.
http.client and ssl rather than botocore's urllib3: docs/adr/0010-issuer-keys.md.
"""

from __future__ import annotations

import http.client
import ssl
import threading
import time
from base64 import b64encode
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from broker import __version__
from broker.core.findings import quoted
from broker.net.urls import HTTPS_PORT, split

if TYPE_CHECKING:
    from collections.abc import Mapping
    from urllib.parse import SplitResult

MAXIMUM_BYTES = 262_144
"""Of a document: 200 keys of 4096 bits are under half of it. AWS tells no limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """How servers are reached. `redirected` maps (host, port), "" or 0 for any, to another address, as curl does."""

    timeout_seconds: float = 5.0
    ca_bundle: str = ""
    redirected: Mapping[tuple[str, int], tuple[str, int]] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a server said. `distrust` says why its certificate was not verified; `via` names another way than DNS'.

    `date` is the Date header, "" where there is none.
    """

    status: int
    content_type: str
    location: str
    body: bytes
    seconds: float
    chain: tuple[bytes, ...]
    distrust: ssl.SSLCertVerificationError | None
    needs_tls_13: bool
    address: str
    via: str
    date: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """Why there is no answer, and what to look at."""

    found: str
    remedy: str


def get(url: str, route: Route) -> Answer | Silence:
    """Fetch a URL that `issuer_url.split` takes; the answer has MAXIMUM_BYTES + 1 bytes at most."""
    outcome: list[Answer | Silence] = []
    thread = threading.Thread(target=lambda: outcome.append(_get(url, route)), daemon=True)
    thread.start()
    thread.join(route.timeout_seconds)
    return outcome[0] if outcome else _late(route)


def default_verification(ca_bundle: str) -> ssl.SSLContext:
    """Return a context that trusts the bundle's CAs, or the system's. Raises ValueError where it is no such file.

    Without what Python 3.13 demands beyond OpenSSL's own rules: AWS tells of no such demand.
    """
    try:
        context = ssl.create_default_context(cafile=ca_bundle or None)
    except ssl.SSLError:
        raise ValueError("it holds no CA certificates") from None
    except OSError as error:
        raise ValueError(error.strerror or "it cannot be read") from None
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def _get(url: str, route: Route) -> Answer | Silence:
    parts = split(url)
    assert parts is not None
    try:
        way = _way(parts.hostname or "", parts.port or HTTPS_PORT, route)
    except ValueError as error:
        return Silence(found=str(error), remedy="Write HTTPS_PROXY=http://HOST:PORT, or unset it.")
    try:
        return _tried(parts, way, route)
    except TimeoutError:
        return _late(route)
    except (OSError, http.client.HTTPException, ValueError) as error:
        return _explained(error, way)


def _tried(parts: SplitResult, way: _Way, route: Route) -> Answer:
    """Return the answer, at the third try at the latest: with TLS 1.3 if it must be, unverified if it must be."""
    began = time.monotonic()
    distrust: ssl.SSLCertVerificationError | None = None
    needs_tls_13 = False
    while True:
        context = default_verification(route.ca_bundle)
        if distrust is not None:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if not needs_tls_13:
            context.maximum_version = ssl.TLSVersion.TLSv1_2
        try:
            response, body, chain, address = _exchange(parts, way, context, route.timeout_seconds)
        except ssl.SSLCertVerificationError as error:
            distrust = error
        except ssl.SSLError:
            if needs_tls_13:
                raise
            needs_tls_13 = True
        else:
            return Answer(
                status=response.status,
                content_type=response.headers.get("Content-Type", ""),
                location=response.headers.get("Location", ""),
                body=body,
                seconds=time.monotonic() - began,
                chain=chain,
                distrust=distrust,
                needs_tls_13=needs_tls_13,
                address=address,
                via=way.via,
                date=response.headers.get("Date", ""),
            )


def _exchange(
    parts: SplitResult, way: _Way, context: ssl.SSLContext, timeout_seconds: float
) -> tuple[http.client.HTTPResponse, bytes, tuple[bytes, ...], str]:
    """Return the response with its body, and the server's certificates and address.

    The connection is plain until TLS with the host itself is put on top, whichever way leads to it.
    """
    host, port = parts.hostname or "", parts.port or HTTPS_PORT
    connection = http.client.HTTPConnection(way.address, way.port, timeout=timeout_seconds)
    if way.proxy_headers is not None:
        connection.set_tunnel(host, port, dict(way.proxy_headers))
    try:
        connection.connect()
        address = str(connection.sock.getpeername()[0])
        connection.sock = context.wrap_socket(connection.sock, server_hostname=host)
        chain = _chain(connection.sock)
        headers = {
            "Accept": "application/json",
            "Host": parts.netloc if port != HTTPS_PORT else host,
            "User-Agent": f"sts-federation-broker/{__version__}",
        }
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("GET", target, headers=headers)
        response = connection.getresponse()
        body = response.read(MAXIMUM_BYTES + 1)
        if response.length and len(body) <= MAXIMUM_BYTES:
            raise http.client.IncompleteRead(b"", response.length)
    finally:
        connection.close()
    return response, body, chain, address


@dataclass(frozen=True, slots=True, kw_only=True)
class _Way:
    """Where to connect to. `proxy_headers` None: no proxy; `via` tells of a way that is not DNS'."""

    address: str
    port: int
    proxy_headers: Mapping[str, str] | None = None
    via: str = ""


def _way(host: str, port: int, route: Route) -> _Way:
    """Return the way to a host. Raises ValueError where the proxy is none that can be used."""
    for wanted in ((host, port), (host, 0), ("", port), ("", 0)):
        if wanted in route.redirected:
            address, other = route.redirected[wanted]
            address, other = address or host, other or port
            return _Way(address=address, port=other, via=f"{address}:{other} (--connect-to)")
    proxy = "" if _is_bypassed(host, route.environ) else _variable(route.environ, "https_proxy")
    if not proxy:
        return _Way(address=host, port=port)
    parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    if parts.scheme != "http" or not parts.hostname:
        raise ValueError("HTTPS_PROXY is no http:// URL")
    headers = {}
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers["Proxy-Authorization"] = "Basic " + b64encode(pair.encode()).decode()
    address, other = parts.hostname, parts.port or 80
    via = f"the proxy {quoted(address)}:{other} (HTTPS_PROXY)"
    return _Way(address=address, port=other, proxy_headers=headers, via=via)


def _is_bypassed(host: str, environ: Mapping[str, str]) -> bool:
    entries = [entry.strip().lower() for entry in _variable(environ, "no_proxy").split(",")]
    names = [entry.removeprefix("*").removeprefix(".") for entry in entries]
    return "*" in entries or any(name and (host == name or host.endswith(f".{name}")) for name in names)


def _variable(environ: Mapping[str, str], name: str) -> str:
    """Return the variable, in small letters first, as curl and botocore look for it."""
    return environ.get(name) or environ.get(name.upper()) or ""


def _chain(connection: Any) -> tuple[bytes, ...]:  # noqa: ANN401 - an SSLSocket, of which the types know too little
    """Return the certificates as the server sent them.

    SSLSocket itself tells them from Python 3.13 on; before that, the object beneath it does.
    """
    if hasattr(connection, "get_unverified_chain"):
        return tuple(connection.get_unverified_chain())
    beneath: Any = getattr(connection, "_sslobj", None)
    if not hasattr(beneath, "get_unverified_chain"):
        return tuple(each for each in [connection.getpeercert(binary_form=True)] if each)
    return tuple(ssl.PEM_cert_to_DER_cert(each.public_bytes()) for each in beneath.get_unverified_chain())


def _late(route: Route) -> Silence:
    return Silence(
        found=f"no whole answer in {route.timeout_seconds:g} s",
        remedy="STS gives up after about 5 s: look at the server's load, at firewalls, and at DNS.",
    )


def _explained(error: Exception, way: _Way) -> Silence:
    said = quoted((isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__)
    where = f"by {way.via}: " if way.via else ""
    if isinstance(error, ssl.SSLError):
        return Silence(
            found=f"{where}TLS failed: {said}", remedy="Look at the server's TLS: 1.2 and 1.3 are spoken here."
        )
    if isinstance(error, OSError):
        remedy = "STS comes from the internet: public DNS and an open port 443 are needed."
        return Silence(found=f"{where}{said}", remedy=remedy if not way.via else "Look at that way first.")
    return Silence(found=f"{where}no HTTP answer: {said}", remedy="Look at what answers there.")
