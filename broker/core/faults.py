"""Current faults, and counts of refreshes, as the status of credentials and of web identity tokens has them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.core.records import Struct

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from broker.core.clock import Instant
    from broker.core.errors import BrokerError

SUCCESS = "success"
FAILURE = "failure"


class Fault(Struct, frozen=True, kw_only=True):
    """A current fault of a profile. `count` is the number of attempts that met it; for a fault of the token, 1."""

    error: BrokerError
    since: datetime
    count: int


def update_fault(before: Fault | None, error: BrokerError, at: Instant) -> Fault:
    """Return the fault after another error. If the reason is the same, it keeps the time at which it began."""
    if before is not None and before.error.reason == error.reason:
        return Fault(error=error, since=before.since, count=before.count + 1)
    return Fault(error=error, since=at.now, count=1)


def count_refresh(counts: Mapping[tuple[str, str], int], outcome: str, reason: str) -> Mapping[tuple[str, str], int]:
    """Return the counts with one more refresh of this outcome and reason."""
    key = (outcome, reason)
    return {**counts, key: counts.get(key, 0) + 1}
