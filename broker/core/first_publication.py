"""Waiting for the first generation: when to go on, and which fault to end with. For `once` and `exec`.

Rules: what passes by itself is waited for until the deadline; what an operator must mend ends the wait at once, unless
another awaited profile may still come; a chained role that waits for its source has the source's fault. Pure: told by
snapshots and the clock's time.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import TYPE_CHECKING

from broker.core.errors import BrokerError, Disposition, ExchangeUnavailable, PublishError, TokenError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from broker.core.schedule import RefreshPolicy
    from broker.core.status import ProfileStatus, Snapshot

_NO_MATTER_OF_TIME = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
"""What keeps files from being written until somebody mends the pod."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Awaited:
    """What is waited for, from `began` (monotonic) on.

    It is the profile of that `name`; "": all that are required, or all where none is.
    """

    began: timedelta
    timeout: timedelta
    policy: RefreshPolicy
    name: str = ""

    def unfinished(self, snapshot: Snapshot) -> Sequence[ProfileStatus]:
        """Return the awaited profiles that have nothing published."""
        if self.name:
            awaited = [profile for profile in snapshot.profiles if profile.profile == self.name]
        else:
            awaited = [profile for profile in snapshot.profiles if profile.required] or list(snapshot.profiles)
        return [profile for profile in awaited if not profile.published_generation]

    def is_over(self, snapshot: Snapshot, now: timedelta) -> bool:
        """Return whether there is nothing more to wait for; `now` is monotonic."""
        return self._is_late(now) or all(_is_hopeless(each, self.policy) for each in self._to_mend(snapshot))

    def fault(self, snapshot: Snapshot, now: timedelta) -> BrokerError | None:
        """Return the fault to end with, once the wait has ended; None where all is published."""
        if not self.unfinished(snapshot):
            return None
        error = _gravest_fault(self._to_mend(snapshot), self.policy)
        if error is not None:
            return error
        if not self._is_late(now):
            return ExchangeUnavailable("A signal came before the answer of STS.")
        return ExchangeUnavailable(
            f"STS had not answered after {self.timeout.total_seconds():g} s.",
            "Give --timeout more seconds, or look at what stands between the pod and STS: proxy, firewall, mesh.",
        )

    def _to_mend(self, snapshot: Snapshot) -> Sequence[ProfileStatus]:
        """Return the profiles whose faults keep the unfinished ones waiting: themselves, or their sources."""
        by_name = {profile.profile: profile for profile in snapshot.profiles}
        found = []
        for each in self.unfinished(snapshot):
            profile = each
            while profile.source_fault is not None:
                profile = by_name[profile.source]
            found.append(profile)
        return found

    def _is_late(self, now: timedelta) -> bool:
        return now >= self.began + self.timeout


def _is_hopeless(profile: ProfileStatus, policy: RefreshPolicy) -> bool:
    """Return whether the profile has a fault that waiting will not mend."""
    if profile.fault is None:
        return False
    error, tried_enough = profile.fault.error, profile.fault.count > policy.soon_attempts
    if isinstance(error, PublishError):
        return error.errno in _NO_MATTER_OF_TIME
    disposition = error.disposition
    return disposition is Disposition.SLOW or (disposition is Disposition.SOON_THEN_SLOW and tried_enough)


def _gravest_fault(unfinished: Sequence[ProfileStatus], policy: RefreshPolicy) -> BrokerError | None:
    """Return the fault to end with: one that waiting will not mend, else one of the token, else any."""
    faults = [
        (not _is_hopeless(profile, policy), not isinstance(profile.fault.error, TokenError), profile.fault.error)
        for profile in unfinished
        if profile.fault is not None
    ]
    return min(faults, key=lambda fault: fault[:2])[-1] if faults else None
