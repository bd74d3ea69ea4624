"""NO_PROXY: which hosts are reached without the proxy, in all the forms that people write. Pure.

There is no standard. Understood are the forms of curl, of Go (golang.org/x/net/http/httpproxy) and of Python's urllib
together: names, which include their subdomains, with or without `.` or `*.` before them; addresses and CIDR blocks,
which match URLs with an address only; ports; `*` for every host. Entries are separated by commas, white space or both.
What matches nothing is reported by `find_unusable_entries`.
"""

from __future__ import annotations

import re
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Final

from broker.core.model import printable
from broker.core.records import Struct
from broker.net.urls import host_address

if TYPE_CHECKING:
    from collections.abc import Iterator
    from ipaddress import IPv4Network, IPv6Network

_EVERYTHING: Final = "*"
_SEPARATORS: Final = re.compile(r"[,\s]+")
_NAME: Final = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*")
_WITH_PORT: Final = re.compile(r"(?P<host>\[[^\]]*\]|[^:]*):(?P<port>[0-9]{1,5})")
_ENTRIES_MAXIMUM: Final = 3
"""How many entries a message quotes."""
_LENGTH_MAXIMUM: Final = 60


class _Entry(Struct, frozen=True, kw_only=True):
    """What one entry matches: a name with its subdomains, or a network; at one port, or at each (0)."""

    name: str = ""
    network: IPv4Network | IPv6Network | None = None
    port: int = 0

    def matches(self, host: str, port: int) -> bool:
        if self.port not in (0, port):
            return False
        if self.network is not None:
            address = host_address(host)
            return address is not None and address in self.network
        return host == self.name or host.endswith(f".{self.name}")


def is_bypassed(host: str, port: int, value: str) -> bool:
    """Return whether the value of NO_PROXY says that this host is reached without the proxy."""
    host = host.strip("[]").rstrip(".").lower()
    return bypasses_everything(value) or any(entry.matches(host, port) for _, entry in _parse(value) if entry)


def bypasses_everything(value: str) -> bool:
    """Return whether the value names every host."""
    return _EVERYTHING in _SEPARATORS.split(value)


def find_unusable_entries(value: str) -> str:
    """Return the entries that match no host, as a phrase, and "" if each one can match."""
    texts = [text for text, entry in _parse(value) if entry is None]
    found = ["an entry with @" if "@" in text else f'"{printable(text)[:_LENGTH_MAXIMUM]}"' for text in texts]
    more = f" and {len(found) - _ENTRIES_MAXIMUM} more" if len(found) > _ENTRIES_MAXIMUM else ""
    return ", ".join(found[:_ENTRIES_MAXIMUM]) + more


def _parse(value: str) -> Iterator[tuple[str, _Entry | None]]:
    """Yield each entry but `*` as it was written, and what it matches, None if nothing."""
    for text in _SEPARATORS.split(value):
        if text and text != _EVERYTHING:
            yield text, _parse_entry(text.lower())


def _parse_entry(text: str) -> _Entry | None:
    with_port = _WITH_PORT.fullmatch(text)
    host, port = (with_port["host"], int(with_port["port"])) if with_port else (text, 0)
    try:
        address = ip_network(host, strict=False) if "/" in host else ip_network(ip_address(host.strip("[]")))
    except ValueError:
        name = host.removeprefix("*").removeprefix(".").rstrip(".")
        is_name = _NAME.fullmatch(name) is not None and not name.rpartition(".")[2].isdigit()  # "10." is not one
        return _Entry(name=name, port=port) if is_name else None
    return _Entry(network=address, port=port)
