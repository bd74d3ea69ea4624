"""Split URLs strictly: a text that no client could fetch is not a URL. Pure."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import SplitResult, urlsplit

HTTPS_PORT = 443
HTTP_PORT = 80
_URL_CHARACTERS = re.compile(r"[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]+")
_HOST = re.compile(r"(?=.{1,253}$)[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?)*")


def split(url: str) -> SplitResult | None:
    """Return the parts of the URL, or None if no client could fetch it."""
    if not _URL_CHARACTERS.fullmatch(url):
        return None
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises ValueError for a port that is not a number from 0 to 65535
    except ValueError:
        return None
    return parts if parts.scheme and parts.hostname and is_host(parts.hostname) else None


def authority(parts: SplitResult) -> str:
    """Return the host and port as the Host header has them: without the default port, which signatures omit too."""
    named, default = parts.netloc.rpartition("@")[2], HTTPS_PORT if parts.scheme == "https" else HTTP_PORT
    return named.removesuffix(f":{default}") if parts.port == default else named.removesuffix(":")


def is_host(text: str) -> bool:
    """Return whether the text is a host name or an IP address."""
    return _HOST.fullmatch(text) is not None or host_address(text) is not None


def host_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return the IP address that the host is written as, or None for a name."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
