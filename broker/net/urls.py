"""Split URLs strictly: only what could be fetched is a URL."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import SplitResult, urlsplit

HTTPS_PORT = 443
_URL_CHARACTERS = re.compile(r"[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]+")
_HOST = re.compile(r"(?=.{1,253}$)[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?)*")


def split(url: str) -> SplitResult | None:
    """Return the URL's parts, None where it is none that could be fetched."""
    if not _URL_CHARACTERS.fullmatch(url):
        return None
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises where it is no number
    except ValueError:
        return None
    return parts if parts.scheme and parts.hostname and is_host(parts.hostname) else None


def is_host(text: str) -> bool:
    """Say whether the text is a host's name or address."""
    return _HOST.fullmatch(text) is not None or host_address(text) is not None


def host_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return the IP address that the host is, None for a name."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
