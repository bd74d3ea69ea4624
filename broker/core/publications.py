"""A publish in progress. It runs in parallel to the main loop, because the volume may not answer."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from broker.core.records import Struct

if TYPE_CHECKING:
    from broker.core.clock import Instant
    from broker.core.model import Generation

PUBLISH_DEADLINE = timedelta(seconds=10)
"""A publish that takes longer is reported as failed. It is not stopped, because nothing can stop it."""
OVERDUE = (
    f"The publish directory has not answered for {PUBLISH_DEADLINE.total_seconds():.0f} s.",
    "Check the volume that publish.directory (BROKER_PUBLISH_DIRECTORY) is on. Use an emptyDir with medium: Memory.",
)
"""Message and remedy of the fault."""


class PendingPublish(Struct, frozen=True, kw_only=True):
    """A publish that has not ended: of which generations, since when, and whether it was reported as overdue."""

    generations: tuple[Generation, ...]
    began: Instant
    is_reported: bool = False

    def get_remaining_time(self, at: Instant) -> timedelta:
        """Return the time until it is overdue; zero or less if it is."""
        return self.began.monotonic + PUBLISH_DEADLINE - at.monotonic
