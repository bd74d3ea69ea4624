"""A message of a companion to the main loop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.core.clock import Instant


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Call:
    """Message: call this function with the time, on the thread of the loop."""

    function: Callable[[Instant], None]
