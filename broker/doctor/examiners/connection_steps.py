"""Single steps of a network path, each bounded in time: resolve a name, open a connection.

A step that takes too long is left to its thread, because the C library cannot be interrupted while it resolves a name.
Every failure is an OSError.
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
    """Return the IP addresses of a host. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def connect(addresses: list[str], port: int) -> None:
    """Open a connection to one of the first addresses, and close it. Raises the OSError of the last one."""
    fault: OSError = OSError("the name has no address")
    for address in addresses[:_ADDRESSES_TRIED]:
        try:
            share = STEP_SECONDS / min(len(addresses), _ADDRESSES_TRIED)
            socket.create_connection((address, port), timeout=share).close()
        except OSError as error:
            fault = error
        else:
            return
    raise fault


def run_bounded(step: Callable[[], Found]) -> Found:
    """Run a step for at most `STEP_SECONDS`. Raises its OSError, or TimeoutError."""
    outcome: list[Found | OSError] = []

    def run() -> None:
        try:
            outcome.append(step())
        except OSError as error:
            outcome.append(error)
        except UnicodeError:  # a label of the name is empty or too long
            outcome.append(socket.gaierror(socket.EAI_NONAME, "not a valid host name"))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(STEP_SECONDS)
    if not outcome:
        raise TimeoutError(f"no answer in {STEP_SECONDS:g} s")
    if isinstance(outcome[0], OSError):
        raise outcome[0]
    return outcome[0]


def describe_error(error: OSError) -> str:
    """Return the system's description of an error."""
    return quoted(error.strerror or str(error) or type(error).__name__)
