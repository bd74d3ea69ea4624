"""Failures, and the delays after them.

This module is pure: a `Failure` is recorded by the main loop, and `schedule.backoff` decides how long its delay is.
"""

from __future__ import annotations

from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING

from broker.core.records import Struct

if TYPE_CHECKING:
    from broker.core.clock import Instant
    from broker.core.errors import BrokerError, Disposition


class Backoff(Struct, frozen=True, kw_only=True):
    """Delays that double from `base` to `cap`: the wait strategy of tenacity."""

    base: timedelta
    cap: timedelta

    def ceiling(self, attempts: int) -> timedelta:
        """Return the maximum delay after `attempts` (from 1) failures in a row."""
        return _compute_ceiling(self, attempts)


@lru_cache(maxsize=256)  # a failure of a day has more attempts than that
def _compute_ceiling(strategy: Backoff, attempts: int) -> timedelta:
    # Imported by the first failure: at the start, it would take 5 ms of CPU time and 0.5 MiB.
    from tenacity import RetryCallState, Retrying  # noqa: PLC0415
    from tenacity.wait import wait_exponential  # noqa: PLC0415

    # The retry object never runs: the main loop does the retries.
    state = RetryCallState(retry_object=Retrying(), fn=None, args=(), kwargs={})
    state.attempt_number = attempts
    return timedelta(seconds=wait_exponential(multiplier=strategy.base.total_seconds(), max=strategy.cap)(state))


class Failure(Struct, frozen=True, kw_only=True):
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


def count_failure(
    before: Failure | None, error: BrokerError, at: Instant, jitter: float, *, fingerprint: str = ""
) -> Failure:
    """Return the failure, counted together with those before it."""
    is_same_kind = before is not None and before.reason == error.reason
    return Failure(
        reason=error.reason,
        at=at.monotonic,
        disposition=error.disposition,
        attempts=before.attempts + 1 if before is not None and is_same_kind else 1,
        streak=before.streak + 1 if before is not None else 1,
        jitter=jitter,
        fingerprint=fingerprint,
    )
