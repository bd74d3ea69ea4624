"""Failures of the network path to STS: turns a call without a usable answer into what was found and what to change.

The exchange and the doctor use the same texts. Nothing here quotes a proxy's URL, which may contain a password. This
module does not import botocore. Pure.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from broker.core.errors import NO_THREAD
from broker.core.findings import quoted
from broker.core.records import Struct
from broker.net.http_messages import Failure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from broker.core.model import StsSpec
    from broker.net.http_messages import CertificateFault, NoAnswer, PeerCertificate

ENDPOINT_SETTING = "sts.endpoint_url (AWS_ENDPOINT_URL_STS)"
_BUNDLE_SETTING = "sts.ca_bundle (AWS_CA_BUNDLE)"
_NAMES_SHOWN = 4
_NO_PROXY = "If STS is reachable without the proxy, add its host to NO_PROXY."
PROXY_URL_REMEDY = f"Set HTTPS_PROXY=http://HOST:PORT, or unset it. {_NO_PROXY}"


class Explanation(Struct, frozen=True, kw_only=True):
    """What was found, as a sentence, and what to change, "" if there is nothing but waiting."""

    found: str
    remedy: str = ""


def explain_failure(failure: NoAnswer, url: str, spec: StsSpec) -> Explanation:
    """Return the explanation of a call to this URL that has no answer."""
    if failure.fault is not None:
        return explain_certificate(failure.fault, url, spec)
    found, remedy = _BY_FAILURE[failure.failure]
    if failure.failure is Failure.PROXY:
        remedy = explain_proxy_refusal(failure.status, url)
    elif failure.via and failure.failure in {Failure.NAME, Failure.CONNECTION}:
        found, remedy = _UNREACHABLE_PROXY
    by = f" by {failure.via}" if failure.via else ""
    bundle = spec.ca_bundle or "the system's"
    return Explanation(found=found.format(url=url, by=by, found=failure.found, bundle=bundle), remedy=remedy)


def explain_proxy_refusal(status: int, url: str) -> str:
    """Return what to change if a proxy refuses CONNECT with this status, 0 if it did not answer."""
    host = url.partition("://")[2].partition("/")[0]
    if status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
        return (
            "The proxy requires a user: set HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT from a Secret, with special "
            "characters of the password percent-encoded. If the variable has a user, the proxy rejects it."
        )
    if status == HTTPStatus.FORBIDDEN:
        return f"Let the proxy allow CONNECT to {host} at port 443, or add the host to NO_PROXY."
    if status in {0, HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT}:
        return f"The proxy cannot reach {host}: check its DNS and its firewall. {_NO_PROXY}"
    return f"Check that HTTPS_PROXY names a proxy that allows CONNECT to {host}. {_NO_PROXY}"


def explain_certificate(
    fault: CertificateFault, url: str, spec: StsSpec, certificate: PeerCertificate | None = None
) -> Explanation:
    """Return the explanation of a certificate that is not trusted. `certificate` is the server's, if it is known."""
    found = f"The certificate of {url} is not trusted: {quoted(fault.message)}."
    if certificate is not None:
        names = quoted(", ".join(certificate.names[:_NAMES_SHOWN]) or certificate.subject)
        found = f"{found} It is for {names}, issued by {quoted(certificate.issuer)}."
    if fault.is_about_dates:
        found = f"{found} This node's clock is at {fault.found_at:%Y-%m-%dT%H:%M:%SZ}."
        remedy = (
            "If that is wrong, fix the node's clock (NTP). Otherwise, renew the certificate of the server, or of the"
        )
        remedy = f"{remedy} proxy that intercepts the connection."
    elif fault.is_about_host:
        remedy = (
            f"Another server answers in the place of that host. Check DNS, the private DNS of the VPC endpoint, any "
            f"proxy, and {ENDPOINT_SETTING}, which must have a name that the certificate has."
        )
    elif spec.ca_bundle:
        remedy = f"Add the CA that issued it to {spec.ca_bundle}, the file of {_BUNDLE_SETTING}, or unset that setting."
    else:
        remedy = (
            f"If a proxy, a firewall or a private endpoint has certificates of its own CA, set {_BUNDLE_SETTING} to a "
            "file with that CA. Otherwise, somebody may be intercepting the connection."
        )
    return Explanation(found=found, remedy=remedy)


_REACH_REMEDY = (
    f"Check DNS, NetworkPolicy, firewall and routes of the pod, VPC endpoint, region (AWS_REGION), and "
    f"{ENDPOINT_SETTING}. If a proxy is required, set HTTPS_PROXY."
)
_CONNECTION_REMEDY = (
    f"{_REACH_REMEDY} In a service mesh, the proxy may not have started yet: make it a native sidecar, or exclude port "
    "443 from it."
)
_UNREACHABLE_PROXY = (
    "Cannot reach the proxy for {url}{by}: {found}.",
    f"Check HTTPS_PROXY, and allow the pod to reach the proxy (NetworkPolicy). {_NO_PROXY}",
)
_BY_FAILURE: Mapping[Failure, tuple[str, str]] = {
    Failure.SETTING: ("Cannot call {url}: {found}.", f"Check {ENDPOINT_SETTING}."),
    Failure.PROXY_URL: ("Cannot call {url}: {found}.", PROXY_URL_REMEDY),
    Failure.CA_BUNDLE: (
        "Cannot call {url}: {found} ({bundle}).",
        f"Set {_BUNDLE_SETTING} to a PEM file with CA certificates.",
    ),
    Failure.NAME: ("Cannot connect to {url}: {found}.", _REACH_REMEDY),
    Failure.CONNECTION: ("Cannot connect to {url}: {found}.", _CONNECTION_REMEDY),
    Failure.PROXY: ("Cannot call {url}{by}: {found}.", ""),  # the remedy depends on the status
    Failure.TLS: (
        "The TLS connection to {url}{by} failed: {found}.",
        f"Check what answers there: it must be STS, with TLS 1.2 or 1.3. Check {ENDPOINT_SETTING} and HTTPS_PROXY.",
    ),
    Failure.PROTOCOL: (
        "{url}{by} sent no complete HTTP response: {found}.",
        f"If this persists, check {ENDPOINT_SETTING}, and any proxy or service mesh on the network path.",
    ),
    Failure.TIMEOUT: (
        "No response from {url}{by}: {found}.",
        "If this persists, check NetworkPolicy, firewall, VPC endpoint, service mesh and HTTPS_PROXY.",
    ),
    Failure.RESOURCES: NO_THREAD,
}
"""What was found and what to change, by the kind of failure. CERTIFICATE has a function of its own."""
