"""Failures, and the delays after them.

This module is pure: a `Failure` is recorded by the main loop, and `schedule.backoff` decides how long its delay is.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from tenacity import RetryCallState, Retrying
from tenacity.wait import wait_exponential

if TYPE_CHECKING:
    from broker.core.errors import Disposition

_RETRYING = Retrying()
"""The retry object that a RetryCallState belongs to. It never runs: the main loop does the retries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Delays that double from `base` to `cap`: the wait strategy of tenacity."""

    base: timedelta
    cap: timedelta

    def ceiling(self, attempts: int) -> timedelta:
        """Return the maximum delay after `attempts` (from 1) failures in a row."""
        state = RetryCallState(retry_object=_RETRYING, fn=None, args=(), kwargs={})
        state.attempt_number = attempts
        return timedelta(seconds=wait_exponential(multiplier=self.base.total_seconds(), max=self.cap)(state))


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """The last failed exchange or publish.

    `at` is monotonic. `attempts` counts failures of this kind in a row, `streak` failures of all kinds in a row.
    `jitter` is a random number in [0, 1), drawn when it failed.
    """

    reason: str
    at: timedelta
    disposition: Disposition
    attempts: int
    streak: int
    jitter: float
    took: timedelta = timedelta(0)
    """How long the failed attempt took."""
    fingerprint: str = ""
    """The fingerprint of the token, or of the source's generation, that was used."""
