"""A message of a companion to the main loop. It is a plain class, because every broker imports it and few use it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.core.clock import Instant


class Call:
    """Message: call this function with the time, on the thread of the loop."""

    __slots__ = ("function",)

    def __init__(self, function: Callable[[Instant], None]) -> None:
        self.function = function
