"""One HTTPS request, bounded in time and size, without redirects and without retries.

The time limit covers everything: name resolution, connecting, a proxy's CONNECT, the TLS handshake, headers and body.
The exchange runs on a thread of its own. When the limit is reached, its sockets are shut down, which ends that thread;
only a thread that waits for name resolution is left behind, because the C library cannot be interrupted there.
Results are values, so callers need no `try`, and no exception of urllib3 or ssl that quotes a request leaves here.
What was measured, and why urllib3: docs/adr/0015-https-client.md.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError, SystemTimeWarning

from broker import __version__
from broker.net.deadlines import Deadline
from broker.net.failures import ExchangeError, explain, timeout_failure
from broker.net.http_messages import MAXIMUM_HEADER_BYTES, Answer, Failure, NoAnswer, TlsSession
from broker.net.routes import choose_hop, target_port
from broker.net.tls import (
    Trust,
    describe_fault,
    read_certificate,
    read_chain,
    set_deadline,
    shared_context,
    verification_context,
)
from broker.net.urls import authority, host_address, split

if TYPE_CHECKING:
    from urllib.parse import SplitResult

    from urllib3.response import HTTPResponse

    from broker.net.http_messages import CertificateFault, Request
    from broker.net.routes import Hop, Route

_ADDRESSES_TRIED = 4
_THREAD_END_SECONDS = 1.0
"""How long to wait for the thread after its sockets were shut down. It takes milliseconds."""
_CUT_INTERVAL_SECONDS = 0.02
_SHORTEST_WAIT_SECONDS = 0.001
"""A socket's timeout must not be 0, which makes it non-blocking."""

warnings.simplefilter("ignore", SystemTimeWarning)  # urllib3 would print a line; callers report a wrong clock


def fetch(request: Request, route: Route) -> Answer | NoAnswer:
    """Send the request and return the server's answer, or why there is none within `route.timeout_seconds`."""
    exchange = _Exchange(request, route)
    thread = threading.Thread(target=exchange.run, name="https", daemon=True)
    try:
        thread.start()
    except RuntimeError:
        return NoAnswer(failure=Failure.RESOURCES, found="the system has no thread left")
    thread.join(route.timeout_seconds)
    if thread.is_alive():
        _stop(thread, exchange.deadline)
        return timeout_failure(route)
    if exchange.bug is not None:
        raise exchange.bug
    assert exchange.result is not None
    return exchange.result


def _stop(thread: threading.Thread, deadline: Deadline) -> None:
    """Shut down the exchange's sockets until its thread has ended: a new one may be opened between two looks."""
    ends = time.monotonic() + _THREAD_END_SECONDS
    while thread.is_alive() and time.monotonic() < ends:
        deadline.cut()
        thread.join(_CUT_INTERVAL_SECONDS)


class _Exchange:
    """One request with all its attempts. After `run`, either `result` or `bug` is set."""

    def __init__(self, request: Request, route: Route) -> None:
        self.deadline = Deadline(route.timeout_seconds)
        self.result: Answer | NoAnswer | None = None
        self.bug: BaseException | None = None
        self._request = request
        self._route = route

    def run(self) -> None:
        """Send the request. Raises nothing."""
        set_deadline(self.deadline)
        try:
            self.result = self._run()
        except BaseException as error:  # noqa: BLE001 - raised again by the thread that waits
            self.bug = error

    def _run(self) -> Answer | NoAnswer:
        parts = split(self._request.url)
        if parts is None or parts.scheme not in (("https", "http") if self._route.allows_http else ("https",)):
            return NoAnswer(failure=Failure.SETTING, found="it is not an https:// URL")
        try:
            hop = choose_hop(parts, self._route)
        except ValueError as error:
            return NoAnswer(failure=Failure.PROXY_URL, found=str(error))
        try:
            return self._try_until_answered(parts, hop)
        except (OSError, http.client.HTTPException, HTTPError, ExchangeError, ValueError) as error:
            return explain(error, self._route, hop)

    def _try_until_answered(self, parts: SplitResult, hop: Hop) -> Answer:
        """Return the answer of the first attempt that gets one.

        Where the route allows it, TLS 1.2 is tried before TLS 1.3, and what cannot be verified is read all the same:
        first without regard to its dates or host, so that the certificate can be shown, then without any verification.
        """
        trust, fault = Trust.FULL, None
        is_limited_to_tls_12 = self._route.tries_tls_12_first
        while True:
            context = self._make_context(trust, is_limited_to_tls_12) if parts.scheme == "https" else None
            try:
                needs_tls_13 = self._route.tries_tls_12_first and not is_limited_to_tls_12
                return self._attempt(parts, hop, context, fault, needs_tls_13=needs_tls_13)
            except ssl.SSLCertVerificationError as error:
                if not self._route.reads_unverified:
                    raise
                fault = fault or describe_fault(error)
                trust = _relax(trust, fault)
            except ssl.SSLError:
                if not is_limited_to_tls_12:
                    raise
                is_limited_to_tls_12 = False

    def _make_context(self, trust: Trust, is_limited_to_tls_12: bool) -> ssl.SSLContext:  # noqa: FBT001 - of the caller
        try:
            if trust is Trust.FULL and not is_limited_to_tls_12:
                return shared_context(self._route.ca_bundle)
            context = verification_context(self._route.ca_bundle, trust)
        except ValueError as error:
            raise ExchangeError(Failure.CA_BUNDLE, f"the CA bundle cannot be used: {error}") from None
        if is_limited_to_tls_12:
            context.maximum_version = ssl.TLSVersion.TLSv1_2
        return context

    def _attempt(
        self,
        parts: SplitResult,
        hop: Hop,
        context: ssl.SSLContext | None,
        fault: CertificateFault | None,
        *,
        needs_tls_13: bool,
    ) -> Answer:
        began = time.monotonic()
        connection = self._connect(parts, hop, context)
        try:
            session, address = connection.sock, ""
            if session is not None:
                address = str(session.getpeername()[0])
            tls = None
            if isinstance(session, ssl.SSLSocket):
                tls = TlsSession(
                    chain=read_chain(session),
                    certificate=read_certificate(session),
                    fault=fault,
                    needs_tls_13=needs_tls_13,
                )
            response, body = self._exchange(connection, parts, hop)
        finally:
            connection.close()
        return Answer(
            status=response.status,
            content_type=response.headers.get("Content-Type", ""),
            location=response.headers.get("Location", ""),
            date=response.headers.get("Date", ""),
            headers={name.lower(): value for name, value in response.headers.items()},
            body=body[: self._request.maximum_bytes],
            is_truncated=len(body) > self._request.maximum_bytes,
            seconds=time.monotonic() - began,
            address=address,
            via=hop.via,
            tls=tls,
        )

    def _connect(self, parts: SplitResult, hop: Hop, context: ssl.SSLContext | None) -> HTTPConnection:
        """Return an open connection to one of the hop's addresses, which share the time that is left."""
        addresses, limit = _resolve(hop), self._route.connect_seconds
        ends = time.monotonic() + (self.deadline.remaining() if limit is None else limit)
        for index, address in enumerate(addresses):
            left = min(self.deadline.remaining(), max(ends - time.monotonic(), _SHORTEST_WAIT_SECONDS))
            share = left / (len(addresses) - index)
            connection = self._prepare(parts, hop, context, address, share)
            try:
                connection.connect()
            except (NewConnectionError, ConnectTimeoutError):
                connection.close()
                if index == len(addresses) - 1:
                    raise
            except TimeoutError:  # not that of the connection, which urllib3 has a class for
                connection.close()
                if limit is None or hop.proxy_headers is None:
                    raise
                self.deadline.remaining()
                raise ExchangeError(Failure.PROXY, f"the proxy opened no tunnel within {share:.0f} s") from None
            except BaseException:
                connection.close()
                raise
            else:
                # The connection itself forgets its socket before the body is read, if the server closes the connection.
                self.deadline.watch_socket(connection.sock)
                connection.timeout = self.deadline.remaining()
                return connection
        raise OSError("the name has no address")

    def _prepare(
        self, parts: SplitResult, hop: Hop, context: ssl.SSLContext | None, address: str, seconds: float
    ) -> HTTPConnection:
        """Return a connection, not yet open, which the deadline can cut off at every step."""
        host = parts.hostname or ""
        connection: HTTPConnection
        if context is None:
            connection = HTTPConnection(address, hop.port, timeout=seconds)
        else:
            connection = HTTPSConnection(
                address,
                hop.port,
                timeout=seconds,
                ssl_context=context,
                server_hostname=host,
                assert_hostname=None if context.check_hostname else False,  # urllib3 would compare names itself
            )
            if hop.proxy_headers is not None:
                connection.set_tunnel(host, target_port(parts), dict(hop.proxy_headers))
        self.deadline.watch(lambda: connection.sock)
        return connection

    def _exchange(self, connection: HTTPConnection, parts: SplitResult, hop: Hop) -> tuple[HTTPResponse, bytes]:
        """Send the request and read the answer. Of a body that is too long, one byte more than allowed is read."""
        headers = {
            "User-Agent": f"sts-federation-broker/{__version__}",
            "Host": authority(parts),
            **self._request.headers,
        }
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        if parts.scheme == "http" and hop.proxy_headers is not None:
            target = f"http://{headers['Host']}{target}"
            headers |= hop.proxy_headers
        with suppress(BrokenPipeError):  # a server may answer, and close, before it has read the request
            connection.request(
                self._request.method, target, body=self._request.body, headers=headers, preload_content=False
            )
        response = connection.getresponse()
        if sum(len(name) + len(value) for name, value in response.headers.items()) > MAXIMUM_HEADER_BYTES:
            raise ExchangeError(Failure.PROTOCOL, f"the headers have over {MAXIMUM_HEADER_BYTES:,} bytes")
        body = bytearray()
        while piece := response.read(self._request.maximum_bytes + 1 - len(body), decode_content=False):
            body += piece
        return response, bytes(body)


def _relax(trust: Trust, fault: CertificateFault) -> Trust:
    """Return how much to verify at the next attempt, once a certificate could not be verified as far as `trust`."""
    if trust is Trust.FULL and fault.is_about_dates:
        return Trust.ALL_BUT_DATES
    if trust is Trust.FULL and fault.is_about_host:
        return Trust.ALL_BUT_HOST
    return Trust.NONE


def _resolve(hop: Hop) -> list[str]:
    """Return the first addresses of the hop. Raises OSError."""
    if host_address(hop.address) is not None:
        return [hop.address]
    try:
        found = socket.getaddrinfo(hop.address, hop.port, type=socket.SOCK_STREAM)
    except UnicodeError:  # a label that is empty or too long
        raise socket.gaierror(socket.EAI_NONAME, "the name is not a valid host name") from None
    return list(dict.fromkeys(str(address[0]) for *_, address in found))[:_ADDRESSES_TRIED]
