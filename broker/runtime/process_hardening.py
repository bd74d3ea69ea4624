"""Core dumps of the process are off: a dump on the node's disk would contain the token and the credentials.

Only the soft limit changes, so that `exec` can give its command the limits that the broker was started with.
"""

from __future__ import annotations

import resource
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

CoreLimits = tuple[int, int]
"""The soft and the hard limit of core dumps, in bytes; -1 means unlimited."""


def forbid_core_dumps() -> CoreLimits:
    """Turn core dumps off, for this process and those that it starts. Return the earlier limits."""
    before = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, before[1]))
    return before


@contextmanager
def use_core_limits(limits: CoreLimits) -> Iterator[None]:
    """Apply these limits inside the block, for a command that is started there, and turn core dumps off at its end."""
    resource.setrlimit(resource.RLIMIT_CORE, limits)
    try:
        yield
    finally:
        forbid_core_dumps()
