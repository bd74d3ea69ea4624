"""Explain why an exchange got no answer, from what urllib3, http.client, ssl and the system raised.

Only texts that cannot quote the request are used.
"""

from __future__ import annotations

import http.client
import re
import socket
import ssl
from typing import TYPE_CHECKING

from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError, ReadTimeoutError

from broker.core.findings import quoted
from broker.net.http_messages import Failure, NoAnswer
from broker.net.tls import describe_fault

if TYPE_CHECKING:
    from broker.net.routes import Hop, Route


class ExchangeError(Exception):
    """A failure that the client finds itself. `found` is a phrase that quotes nothing of the request."""

    def __init__(self, failure: Failure, found: str) -> None:
        super().__init__(found)
        self.failure, self.found = failure, found


def timeout_failure(route: Route) -> NoAnswer:
    """Return the failure of an exchange that has reached the route's limit."""
    return NoAnswer(failure=Failure.TIMEOUT, found=f"no complete answer within {route.timeout_seconds:g} s")


def explain(error: Exception, route: Route, hop: Hop) -> NoAnswer:
    """Return the failure that an exception means."""
    cause = error.__cause__ if isinstance(error, NewConnectionError) else error
    if isinstance(cause, ConnectTimeoutError) and route.connect_seconds is not None:
        found = f"no connection within {route.connect_seconds:g} s"
        return NoAnswer(failure=Failure.CONNECTION, found=found, via=hop.via)
    if isinstance(cause, TimeoutError | ReadTimeoutError | ConnectTimeoutError):
        return timeout_failure(route)
    if isinstance(cause, ssl.SSLCertVerificationError):
        fault = describe_fault(cause)
        return NoAnswer(failure=Failure.CERTIFICATE, found=quoted(fault.message), via=hop.via, fault=fault)
    refusal = re.match(r"Tunnel connection failed: (\d+)", str(cause)) if isinstance(cause, OSError) else None
    if refusal is not None:  # http.client has no class for it
        return NoAnswer(failure=Failure.PROXY, found=quoted(str(cause)), via=hop.via, status=int(refusal[1]))
    failure, found = _classify(cause)
    return NoAnswer(failure=failure, found=quoted(found or type(cause).__name__), via=hop.via)


def _classify(cause: BaseException | None) -> tuple[Failure, str]:
    """Return the kind of failure, and its description."""
    match cause:
        case ExchangeError():
            result = cause.failure, cause.found
        case ssl.SSLError():
            result = Failure.TLS, cause.strerror or str(cause.reason)
        case socket.gaierror():
            result = Failure.NAME, cause.strerror or "no such host"
        case http.client.HTTPException() | HTTPError():
            result = Failure.PROTOCOL, str(cause)
        case OSError():
            result = Failure.CONNECTION, cause.strerror or str(cause)
        case _:  # a ValueError of http.client, which quotes the header that it refuses
            result = Failure.SETTING, "the request cannot be written as HTTP"
    return result
