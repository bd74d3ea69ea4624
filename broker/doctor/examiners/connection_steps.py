"""Steps of a way through a network, each bounded in time: a name is resolved, a connection made.

Rules: a step that takes longer is left behind on its thread, for the system's own patience is longer than a person's.
Whatever goes wrong is an OSError.
"""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING, Final, TypeVar

from broker.core.findings import quoted

if TYPE_CHECKING:
    from collections.abc import Callable

STEP_SECONDS: Final = 5.0
_ADDRESSES_TRIED: Final = 4
Found = TypeVar("Found")


def resolve(host: str, port: int) -> list[str]:
    """Return the addresses of a host. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def connect(addresses: list[str], port: int) -> None:
    """Connect to one of the addresses, and hang up. Raises the last one's OSError."""
    fault: OSError = OSError("no address")
    for address in addresses[:_ADDRESSES_TRIED]:
        try:
            share = STEP_SECONDS / min(len(addresses), _ADDRESSES_TRIED)
            socket.create_connection((address, port), timeout=share).close()
        except OSError as error:
            fault = error
        else:
            return
    raise fault


def within(step: Callable[[], Found]) -> Found:
    """Do a step on a thread that is left behind after `STEP_SECONDS`. Raises its OSError, or TimeoutError."""
    outcome: list[Found | OSError] = []

    def run() -> None:
        try:
            outcome.append(step())
        except OSError as error:
            outcome.append(error)
        except UnicodeError:  # of a name that no host can have
            outcome.append(socket.gaierror(socket.EAI_NONAME, "that is no name of a host"))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(STEP_SECONDS)
    if not outcome:
        raise TimeoutError(f"no answer in {STEP_SECONDS:g} s")
    if isinstance(outcome[0], OSError):
        raise outcome[0]
    return outcome[0]


def told(error: OSError) -> str:
    """Return what went wrong, in the system's words."""
    return quoted(error.strerror or str(error) or type(error).__name__)
