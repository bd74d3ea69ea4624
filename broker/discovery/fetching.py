"""Fetch one of an issuer's documents, and explain why STS would not accept the answer.

No redirect is followed, and the answer is bounded in time and size: see broker.net.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from broker.core.findings import quoted
from broker.net.http_messages import MAXIMUM_BODY_BYTES, Failure, Request

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.net.http_messages import Answer, NoAnswer
    from broker.net.routes import Route

MAXIMUM_SECONDS = 5.0
"""AWS re:Post on InvalidIdentityToken. --timeout may be longer, to find out how slow a server is."""
MAXIMUM_BYTES = MAXIMUM_BODY_BYTES
_ACCEPT = {
    "discovery": "application/json, */*;q=0.1",
    "jwks": "application/jwk-set+json, application/json;q=0.9, */*;q=0.1",
}
"""A Kubernetes API server answers 406 to `Accept: application/json` for its keys."""
_REACH = "STS connects from the internet: it needs public DNS and an open port 443."
_REMEDIES = {
    Failure.SETTING: "Check the URL.",
    Failure.PROXY_URL: "Write HTTPS_PROXY=http://HOST:PORT, or unset it.",
    Failure.CA_BUNDLE: "Use a PEM file with CA certificates.",
    Failure.NAME: _REACH,
    Failure.CONNECTION: _REACH,
    Failure.PROXY: "Let the proxy allow CONNECT to this host, or add the host to NO_PROXY.",
    Failure.CERTIFICATE: "Use a certificate from a public CA, sent with its intermediates.",
    Failure.TLS: "Check the server's TLS; this client accepts TLS 1.2 and 1.3.",
    Failure.PROTOCOL: "Check what answers there.",
    Failure.TIMEOUT: "STS gives up after about 5 s: check the server's load, firewalls, and DNS.",
    Failure.RESOURCES: "Free some of this machine's threads.",
}


def document_fetcher(
    fetch: Callable[[Request, Route], Answer | NoAnswer], route: Route
) -> Callable[[str, str], Answer | NoAnswer]:
    """Return a function that fetches a document by its kind ("discovery" or "jwks") and URL, over this route."""
    return lambda kind, url: fetch(
        Request(url=url, headers={"Accept": _ACCEPT[kind]}, maximum_bytes=MAXIMUM_BYTES), route
    )


def describe_failure(failure: NoAnswer) -> tuple[str, str]:
    """Return why there is no answer, as a phrase, and what to do."""
    prefix = {Failure.TLS: "TLS failed: ", Failure.PROTOCOL: "no HTTP answer: "}.get(failure.failure, "")
    where = f"by {failure.via}: " if failure.via else ""
    remedy = _REMEDIES.get(failure.failure, "")
    if failure.via and failure.failure in {Failure.CONNECTION, Failure.NAME}:
        remedy = "Check that address first."
    return f"{where}{prefix}{failure.found}", remedy


def find_http_fault(answer: Answer) -> tuple[str, str] | None:
    """Return what is wrong with an answer whatever its content, as a phrase, and what to do; None if nothing is."""
    if answer.location and 300 <= answer.status < 400:  # noqa: PLR2004 - HTTP's redirections
        found = f"answers {answer.status} and redirects to {quoted(answer.location)}"
        return found, "Serve it at this address: AWS does not document that STS follows redirects."
    if answer.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return f"answers {answer.status}", "Let everyone read it: STS has no credentials for it."
    if answer.status != HTTPStatus.OK:
        return f"answers {answer.status}; expected 200", "Upload it there: sts-broker issuer render writes it."
    if answer.is_truncated:
        return f"has over {MAXIMUM_BYTES:,} bytes", "Serve only the document; it needs a few thousand bytes."
    return None
