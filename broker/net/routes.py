"""How a request reaches its server: directly, by another address, or through a proxy. Pure.

The variables are read as curl and botocore read them: names in lower case first. `no_proxy` has the forms of NO_PROXY.
"""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from broker.core.findings import quoted
from broker.core.records import Unprinted, field
from broker.net import no_proxy
from broker.net.urls import HTTP_PORT, HTTPS_PORT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from urllib.parse import SplitResult


NO_PROXY_REMEDY = (
    "Write names or domains in NO_PROXY, such as sts.eu-west-1.amazonaws.com or .amazonaws.com, separated by commas."
)


class Route(Unprinted, frozen=True, kw_only=True):
    """How servers are reached and how far they are trusted.

    timeout_seconds: the limit on the whole exchange, name resolution and all attempts included.
    connect_seconds: the limit on connecting, to all addresses in sum and a proxy's CONNECT included. None: no other
        limit than that on the whole exchange.
    ca_bundle: a PEM file with the CAs to trust; "" for the system's.
    connect_to: other addresses to connect to, by (host, port); "" or 0 stands for any host or port, as in curl.
    environ: where HTTPS_PROXY, HTTP_PROXY and NO_PROXY are looked up; without them no proxy is used.
    allows_http: whether plain http:// URLs may be fetched.
    reads_unverified: whether to fetch from a server whose certificate cannot be verified, and say so in the answer.
        Only for requests without secrets.
    tries_tls_12_first: whether to find out if the server takes TLS 1.2.
    """

    timeout_seconds: float = 5.0
    connect_seconds: float | None = None
    ca_bundle: str = ""
    connect_to: Mapping[tuple[str, int], tuple[str, int]] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=dict)
    allows_http: bool = False
    reads_unverified: bool = False
    tries_tls_12_first: bool = False


class Hop(Unprinted, frozen=True, kw_only=True):
    """The address to connect to.

    `proxy_headers` is None if that is not a proxy. `via` describes the address, "" if it is the host's own.
    """

    address: str
    port: int
    proxy_headers: Mapping[str, str] | None = None
    via: str = ""


def target_port(parts: SplitResult) -> int:
    """Return the port of a URL, or the default of its scheme."""
    return parts.port or (HTTPS_PORT if parts.scheme == "https" else HTTP_PORT)


def choose_hop(parts: SplitResult, route: Route) -> Hop:
    """Return the address to connect to for a URL. Raises ValueError if the proxy variable cannot be used."""
    host, port = parts.hostname or "", target_port(parts)
    for key in ((host, port), (host, 0), ("", port), ("", 0)):
        if key in route.connect_to:
            address, other_port = route.connect_to[key]
            address, other_port = address or host, other_port or port
            return Hop(address=address, port=other_port, via=f"{address}:{other_port} (--connect-to)")
    variable = f"{parts.scheme}_proxy"
    proxy = find_proxy(parts, route.environ)
    return _proxy_hop(proxy, variable.upper()) if proxy else Hop(address=host, port=port)


def find_proxy(parts: SplitResult, environ: Mapping[str, str]) -> str:
    """Return the value of the proxy variable for a URL, "" if there is none or NO_PROXY names the host."""
    host = parts.hostname or ""
    is_bypassed = no_proxy.is_bypassed(host, target_port(parts), _lookup(environ, "no_proxy"))
    return "" if is_bypassed else _lookup(environ, f"{parts.scheme}_proxy")


def find_no_proxy_fault(environ: Mapping[str, str]) -> str:
    """Return the sentence about entries of NO_PROXY that match no host, "" if there are none, or no HTTPS_PROXY."""
    found = no_proxy.find_unusable_entries(_lookup(environ, "no_proxy")) if _lookup(environ, "https_proxy") else ""
    return f"NO_PROXY has entries that match no host: {found}." if found else ""


def find_proxy_fault(environ: Mapping[str, str]) -> str:
    """Return why HTTPS_PROXY cannot be used for any host, "" if it can be or NO_PROXY names every host.

    The value is not quoted, because it may contain a password.
    """
    is_bypassed = no_proxy.bypasses_everything(_lookup(environ, "no_proxy"))
    proxy = "" if is_bypassed else _lookup(environ, "https_proxy")
    try:
        if proxy:
            _proxy_hop(proxy, "HTTPS_PROXY")
    except ValueError as error:
        return str(error)
    return ""


def _proxy_hop(proxy: str, variable: str) -> Hop:
    parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    try:
        address, port = parts.hostname or "", parts.port or HTTP_PORT
    except ValueError:
        address, port = "", 0
    if parts.scheme != "http" or not address:
        raise ValueError(f"{variable} is not an http:// URL")
    headers = {}
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers["Proxy-Authorization"] = "Basic " + b64encode(pair.encode()).decode()
    return Hop(
        address=address, port=port, proxy_headers=headers, via=f"the proxy {quoted(address)}:{port} ({variable})"
    )


def _lookup(environ: Mapping[str, str], name: str) -> str:
    return environ.get(name) or environ.get(name.upper()) or ""
