"""Waiting for the first credentials, for `once` and `exec`: when to stop, and which error to end with.

Rules: errors that pass without action are waited for until the deadline. An error that needs an operator ends the wait
at once, unless another awaited profile can still succeed. A chained role that waits for its source has the source's
fault. This module is pure: it works on snapshots and on the time that it is given.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from broker.core.errors import BrokerError, Disposition, ExchangeUnavailable, PublishError, TokenError
from broker.core.records import Struct

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from broker.core.schedule import RefreshPolicy
    from broker.core.status import ProfileStatus, Snapshot

_LASTING_ERRNOS = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
"""Errors of writing that last until somebody changes the pod."""


class Awaited(Struct, frozen=True, kw_only=True):
    """The profiles to wait for, from `began` (monotonic) on.

    These are the profile with that `name`. If `name` is "", all required profiles, or all profiles if none is required.
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
        """Return whether to stop waiting; `now` is monotonic."""
        if self._is_past_deadline(now):
            return True
        return all(_has_lasting_fault(each, self.policy) for each in self._find_blocking_profiles(snapshot))

    def fault(self, snapshot: Snapshot, now: timedelta) -> BrokerError | None:
        """Return the error to end with once the wait is over; None if everything is published."""
        if not self.unfinished(snapshot):
            return None
        error = _select_error(self._find_blocking_profiles(snapshot), self.policy)
        if error is not None:
            return error
        if not self._is_past_deadline(now):
            return ExchangeUnavailable("A signal stopped the broker before STS answered.")
        return ExchangeUnavailable(
            f"STS did not answer within {self.timeout.total_seconds():g} s.",
            "Increase --timeout, or check the network path from the pod to STS: proxy, firewall, service mesh.",
        )

    def _find_blocking_profiles(self, snapshot: Snapshot) -> Sequence[ProfileStatus]:
        """Return the profiles whose faults block the unfinished ones: these themselves, or their sources."""
        by_name = {profile.profile: profile for profile in snapshot.profiles}
        found = []
        for each in self.unfinished(snapshot):
            profile = each
            while profile.source_fault is not None:
                profile = by_name[profile.source]
            found.append(profile)
        return found

    def _is_past_deadline(self, now: timedelta) -> bool:
        return now >= self.began + self.timeout


def _has_lasting_fault(profile: ProfileStatus, policy: RefreshPolicy) -> bool:
    """Return whether the profile has a fault that does not pass without action."""
    if profile.fault is None:
        return False
    error, is_repeated = profile.fault.error, profile.fault.count > policy.soon_attempts
    if isinstance(error, PublishError):
        return error.errno in _LASTING_ERRNOS
    disposition = error.disposition
    return disposition is Disposition.SLOW or (disposition is Disposition.SOON_THEN_SLOW and is_repeated)


def _select_error(profiles: Sequence[ProfileStatus], policy: RefreshPolicy) -> BrokerError | None:
    """Return the error to end with: a lasting one, otherwise one of the token, otherwise any."""
    errors = [
        (not _has_lasting_fault(profile, policy), not isinstance(profile.fault.error, TokenError), profile.fault.error)
        for profile in profiles
        if profile.fault is not None
    ]
    return min(errors, key=lambda error: error[:2])[-1] if errors else None
