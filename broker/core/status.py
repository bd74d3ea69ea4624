"""The status of every profile, for probes, metrics and `/status`.

The main loop records its events with `Status.record`, from one thread; any thread can take a `Snapshot`. `is_live` and
`is_ready` define liveness and readiness. The status contains no secret. This module does not know how it is displayed.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from broker.core.events import (
    Decided,
    Event,
    Exchanged,
    ExchangeFailed,
    NotificationEnded,
    Published,
    PublishedLost,
    PublishFailed,
    RefreshRequested,
    Restored,
    SourceObserved,
    SourceUnfit,
    TokenObserved,
    TokenUnfit,
    Turned,
)
from broker.core.faults import FAILURE, SUCCESS, Fault, count_refresh, update_fault
from broker.core.notifications import Notified
from broker.core.records import Struct, field, replace
from broker.core.schedule import Phase
from broker.core.session_sizes import UNKNOWN_SIZES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from broker.core.model import Generation, ProfileSpec
    from broker.core.session_sizes import SessionSizes
    from broker.core.web_identity_status import WebIdentityTokenStatus

LIVE_WITHIN = timedelta(seconds=90)
"""Three times `RefreshPolicy.nap`: a main loop that has begun no iteration for this long is stuck."""
DURATION_BUCKETS_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Durations(Struct, frozen=True, kw_only=True):
    """A histogram: `counts` has a number for each bucket of DURATION_BUCKETS_SECONDS, and one for longer durations."""

    counts: tuple[int, ...] = (0,) * (len(DURATION_BUCKETS_SECONDS) + 1)
    sum_seconds: float = 0.0

    def add(self, duration: timedelta) -> Durations:
        """Return the histogram with one more duration."""
        seconds = duration.total_seconds()
        index = sum(seconds > bound for bound in DURATION_BUCKETS_SECONDS)
        counts = tuple(count + (position == index) for position, count in enumerate(self.counts))
        return Durations(counts=counts, sum_seconds=self.sum_seconds + seconds)


class ProfileStatus(Struct, frozen=True, kw_only=True):
    """The current state of one profile. `refreshes` counts by outcome and reason; generation 0 means none yet."""

    profile: str
    role_arn: str
    required: bool
    source: str = ""
    """The source profile of a chained role; "" for a profile that uses a token."""
    phase: Phase = Phase.STARTING
    generation: int = 0
    expires_at: datetime | None = None
    published_generation: int = 0
    published_received_at: datetime | None = None
    published_usable_until: datetime | None = None
    assumed_role_arn: str = ""
    sizes: SessionSizes = UNKNOWN_SIZES
    """Those of the newest session; unknown after a restart, until the next exchange."""
    refresh_at: datetime | None = None
    token_fingerprint: str = ""
    token_issued_at: datetime | None = None
    token_expires_at: datetime | None = None
    token_fault: Fault | None = None
    source_fault: Fault | None = None
    exchange_fault: Fault | None = None
    publish_fault: Fault | None = None
    refreshes: Mapping[tuple[str, str], int] = field(default_factory=dict)
    publish_failures: int = 0
    notifications: Mapping[str, Notified] = field(default_factory=dict)
    """How the notifications of each target ended, by its label."""

    @property
    def fault(self) -> Fault | None:
        """The fault to fix first. Without a token or source there is no exchange, and without it nothing to publish."""
        return self.token_fault or self.source_fault or self.exchange_fault or self.publish_fault


class Snapshot(Struct, frozen=True, kw_only=True):
    """The status at one moment.

    `turned_at` is when the last iteration of the main loop began (monotonic). `clock_skew` is the clock of STS minus
    the clock of the node. `web_identity_tokens` has no entry for profiles without such a token.
    """

    profiles: Sequence[ProfileStatus]
    exchange_durations: Durations
    turned_at: timedelta | None
    clock_skew: timedelta | None
    web_identity_tokens: Sequence[WebIdentityTokenStatus] = ()


class Status:
    """Keeps the current status."""

    def __init__(self, profiles: Sequence[ProfileSpec]) -> None:
        self._profiles = {
            spec.name: ProfileStatus(
                profile=spec.name,
                role_arn=spec.role_arn,
                required=spec.required,
                source=spec.chain.source if spec.chain else "",
                notifications={target.label: Notified() for target in spec.notify},
            )
            for spec in profiles
        }
        self._durations = Durations()
        self._turned_at: timedelta | None = None
        self._clock_skew: timedelta | None = None

    def snapshot(self) -> Snapshot:
        """Return the current status, which later events do not change. Any thread may call this."""
        return Snapshot(
            profiles=tuple(self._profiles.values()),
            exchange_durations=self._durations,
            turned_at=self._turned_at,
            clock_skew=self._clock_skew,
        )

    def record(self, event: Event) -> None:
        """Update the status."""
        if isinstance(event, Exchanged | ExchangeFailed):
            self._durations = self._durations.add(event.duration)
        match event:
            case Turned():
                self._turned_at = event.at.monotonic
            case RefreshRequested():
                pass
            case Restored() | Exchanged() | Published():
                name = event.generation.profile
                self._profiles[name] = _apply(self._profiles[name], event)
                skew = event.generation.credentials.clock_skew
                self._clock_skew = self._clock_skew if skew is None else skew
            case _:
                self._profiles[event.profile] = _apply(self._profiles[event.profile], event)


def is_live(snapshot: Snapshot, monotonic: timedelta) -> bool:
    """Return whether the main loop is alive. Neither STS nor the disk affects it."""
    return snapshot.turned_at is not None and monotonic - snapshot.turned_at < LIVE_WITHIN


def has_readers_served(profile: ProfileStatus, now: datetime) -> bool:
    """Return whether the profile's readers have unexpired credentials."""
    return profile.published_usable_until is not None and profile.published_usable_until > now


def unready_profiles(snapshot: Snapshot, now: datetime) -> tuple[str, ...]:
    """Return the required profiles whose readers have no unexpired credentials."""
    return tuple(
        profile.profile for profile in snapshot.profiles if profile.required and not has_readers_served(profile, now)
    )


def is_ready(snapshot: Snapshot, now: datetime) -> bool:
    """Return whether readers of every required profile have unexpired credentials."""
    return not unready_profiles(snapshot, now)


def why_unready(profile: ProfileStatus) -> str:
    """Return why readers of the files have no unexpired credentials."""
    if profile.fault is not None:
        return f"{profile.fault.error.reason}: {profile.fault.error}"
    return "no credentials published yet" if profile.published_usable_until is None else "credentials expired"


def why_not_held(profile: ProfileStatus) -> str:
    """Return why the broker itself holds no unexpired credentials, whether or not it could publish them."""
    fault = profile.fault
    if fault is not None and fault is not profile.publish_fault:
        return f"{fault.error.reason}: {fault.error}"
    return "no credentials yet" if profile.expires_at is None else "credentials expired"


def _apply(  # noqa: C901, PLR0911 - one for each event
    profile: ProfileStatus,
    event: TokenObserved
    | TokenUnfit
    | SourceObserved
    | SourceUnfit
    | Decided
    | Restored
    | Exchanged
    | ExchangeFailed
    | Published
    | PublishedLost
    | PublishFailed
    | NotificationEnded,
) -> ProfileStatus:
    """Return the status of the profile after the event."""
    match event:
        case Decided(decision=decision):
            return replace(profile, phase=decision.phase, refresh_at=decision.refresh_at)
        case TokenObserved(token=token):
            return replace(
                profile,
                token_fingerprint=token.fingerprint,
                token_issued_at=token.claims.issued_at,
                token_expires_at=token.claims.expires_at,
                token_fault=None,
            )
        case TokenUnfit():
            return replace(profile, token_fault=update_fault(profile.token_fault, event.error, event.at))
        case SourceObserved():
            return replace(profile, source_fault=None)
        case SourceUnfit():
            return replace(profile, source_fault=update_fault(profile.source_fault, event.error, event.at))
        case Exchanged(generation=generation):
            return replace(_apply_generation(profile, generation), exchange_fault=None)
        case Restored(generation=generation):
            profile = replace(_apply_generation(profile, generation), phase=event.phase)
            return _apply_publication(profile, generation, event.refresh_at)
        case ExchangeFailed():
            profile = replace(profile, exchange_fault=update_fault(profile.exchange_fault, event.error, event.at))
            return _count_refresh(profile, FAILURE, event.error.reason)
        case PublishedLost():
            return replace(profile, published_received_at=None, published_usable_until=None)
        case NotificationEnded():
            label = event.notification.target.label
            notified = profile.notifications[label].add(event.outcome, event.failure)
            return replace(profile, notifications={**profile.notifications, label: notified})
        case Published(generation=generation):
            profile = replace(_apply_publication(profile, generation, event.refresh_at), publish_fault=None)
            return _count_refresh(profile, SUCCESS, generation.reason)
        case _:
            profile = replace(
                profile,
                publish_failures=profile.publish_failures + 1,
                publish_fault=update_fault(profile.publish_fault, event.error, event.at),
            )
            return _count_refresh(profile, FAILURE, event.error.reason)


def _apply_generation(profile: ProfileStatus, generation: Generation) -> ProfileStatus:
    """Return the status of a profile for which the broker holds this generation."""
    return replace(
        profile,
        generation=generation.number,
        expires_at=generation.credentials.expires_at,
        assumed_role_arn=generation.credentials.assumed_role_arn,
        sizes=generation.credentials.sizes,
    )


def _apply_publication(profile: ProfileStatus, generation: Generation, refresh_at: datetime) -> ProfileStatus:
    """Return the status of a profile whose readers have this generation."""
    return replace(
        profile,
        published_generation=generation.number,
        published_received_at=generation.credentials.received_at,
        published_usable_until=generation.credentials.usable_until,
        refresh_at=refresh_at,
    )


def _count_refresh(profile: ProfileStatus, outcome: str, reason: str) -> ProfileStatus:
    """Return the profile with one more refresh of this outcome and reason."""
    return replace(profile, refreshes=count_refresh(profile.refreshes, outcome, reason))
