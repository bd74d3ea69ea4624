"""The first refresh of a profile, and why a fleet that starts together calls STS evenly.

Each refresh is due one cycle after the one before. A cycle is nearly constant: only a tenth of the lifetime is left to
chance (`RefreshPolicy.lead`). Pods that start together would therefore refresh together, within that tenth. It would
take many cycles until they have drifted apart.

A fleet that has run for long calls STS evenly, because each pod is at another point of its cycle, and all points are
equally likely. A new fleet gets into this state at once: the first refresh of each profile is due at a random point of
its first cycle. From then on, the ordinary cycles keep the fleet in that state.

The first cycle is thus half a cycle shorter on average, and never longer. It costs half a call more for each pod, once.
First refreshes begin a minute after the start, so that pods that live for seconds cost no second call. If the minimum
interval is longer, they begin after it, because it would hold back earlier ones and make them coincide.

This module is pure: random numbers are arguments.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from broker.core.model import TemporaryCredentials
    from broker.core.schedule import RefreshPolicy

LARGEST_JITTER = 5.0
"""A lead is at least half of the lifetime, and each whole jitter adds a tenth, so this is a lead of all of it."""


def spread_first_refresh(held: TemporaryCredentials, policy: RefreshPolicy, jitter: float, place: float) -> float:
    """Return the jitter for the first credentials of a profile, which may be greater than 1.

    `jitter` in [0, 1) is what determines an ordinary cycle. `place` in [0, 1) is the point of that cycle at which the
    refresh is due instead: 0 is its end, and 1 would be the earliest time for a first refresh. A refresh that would be
    due before that time anyway is not moved.
    """
    spare = min(_get_spare_share(each, policy, jitter) for each in (held.lifetime, held.planned_lifetime))
    return jitter + place * spare / policy.jitter_share


def _get_spare_share(lifetime: timedelta, policy: RefreshPolicy, jitter: float) -> float:
    """Return how much earlier the refresh may be, as a share of the lifetime."""
    earliest = max(policy.minimum_interval, policy.first_refresh_after)
    spare = lifetime - policy.lead(lifetime, jitter) - earliest
    return spare / lifetime if spare > timedelta(0) else 0.0
