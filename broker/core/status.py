"""What is known of every profile, for those who ask: probes, metrics, `/status`.

The loop's events come in through `Status.record`, from one thread; any thread takes a `Snapshot`. `is_live` and
`is_ready` are the only places that say what live and ready mean. Holds no secret and refuses to know how it is shown.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from broker.core.events import (
    Decided,
    Event,
    Exchanged,
    ExchangeFailed,
    Published,
    PublishedLost,
    PublishFailed,
    RefreshRequested,
    SourceObserved,
    SourceUnfit,
    TokenObserved,
    TokenUnfit,
    Turned,
)
from broker.core.schedule import Phase

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from broker.core.clock import Instant
    from broker.core.errors import BrokerError
    from broker.core.model import ProfileSpec

LIVE_WITHIN = timedelta(seconds=90)
"""Three naps: a loop that has not turned for so long is stuck."""
DURATION_BUCKETS_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
SUCCESS = "success"
FAILURE = "failure"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A fault that a profile has now, since when it has lasted, and how often an attempt met it (a token's: once)."""

    error: BrokerError
    since: datetime
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Durations:
    """A histogram: `counts` has one number a bucket of DURATION_BUCKETS_SECONDS, and one for what is longer."""

    counts: tuple[int, ...] = (0,) * (len(DURATION_BUCKETS_SECONDS) + 1)
    sum_seconds: float = 0.0

    def with_another(self, duration: timedelta) -> Durations:
        """Return the histogram with one more duration in it."""
        seconds = duration.total_seconds()
        index = sum(seconds > bound for bound in DURATION_BUCKETS_SECONDS)
        counts = tuple(count + (position == index) for position, count in enumerate(self.counts))
        return Durations(counts=counts, sum_seconds=self.sum_seconds + seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileStatus:
    """One profile as it is now. `refreshes` counts by outcome and reason; generation 0 means none yet."""

    profile: str
    role_arn: str
    required: bool
    source: str = ""
    """The profile that a chained role is asked for with; "" where a token is sent."""
    phase: Phase = Phase.STARTING
    generation: int = 0
    expires_at: datetime | None = None
    published_generation: int = 0
    published_received_at: datetime | None = None
    published_usable_until: datetime | None = None
    assumed_role_arn: str = ""
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

    @property
    def fault(self) -> Fault | None:
        """The fault to mend first: without token or source there is no exchange, without that nothing to publish."""
        return self.token_fault or self.source_fault or self.exchange_fault or self.publish_fault


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Everything at one moment. `turned_at` is the loop's last turn, monotonic; `clock_skew` STS's clock less ours."""

    profiles: Sequence[ProfileStatus]
    exchange_durations: Durations
    turned_at: timedelta | None
    clock_skew: timedelta | None


class Status:
    """Holds the present state."""

    def __init__(self, profiles: Sequence[ProfileSpec]) -> None:
        self._profiles = {
            spec.name: ProfileStatus(
                profile=spec.name,
                role_arn=spec.role_arn,
                required=spec.required,
                source=spec.chain.source if spec.chain else "",
            )
            for spec in profiles
        }
        self._durations = Durations()
        self._turned_at: timedelta | None = None
        self._clock_skew: timedelta | None = None

    def snapshot(self) -> Snapshot:
        """Return the state as it is now, which later events do not touch. Any thread may call it."""
        return Snapshot(
            profiles=tuple(self._profiles.values()),
            exchange_durations=self._durations,
            turned_at=self._turned_at,
            clock_skew=self._clock_skew,
        )

    def record(self, event: Event) -> None:
        """Take in what happened."""
        if isinstance(event, Exchanged | ExchangeFailed):
            self._durations = self._durations.with_another(event.duration)
        match event:
            case Turned():
                self._turned_at = event.at.monotonic
            case RefreshRequested():
                pass
            case Exchanged() | Published():
                name = event.generation.profile
                self._profiles[name] = _after(self._profiles[name], event)
                skew = event.generation.credentials.clock_skew
                self._clock_skew = self._clock_skew if skew is None else skew
            case _:
                self._profiles[event.profile] = _after(self._profiles[event.profile], event)


def is_live(snapshot: Snapshot, monotonic: timedelta) -> bool:
    """Return whether the loop turns. Neither STS nor the disk has a say in it."""
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
    """Return why readers of the files have no unexpired credentials, in a sentence or two."""
    if profile.fault is not None:
        return f"{profile.fault.error.reason}: {profile.fault.error}"
    return "no credentials published yet" if profile.published_usable_until is None else "credentials expired"


def why_not_held(profile: ProfileStatus) -> str:
    """Return why the broker itself holds no unexpired credentials: whether they could be published has no say in it."""
    fault = profile.fault
    if fault is not None and fault is not profile.publish_fault:
        return f"{fault.error.reason}: {fault.error}"
    return "no credentials yet" if profile.expires_at is None else "credentials expired"


def _after(  # noqa: PLR0911 - one for each event
    profile: ProfileStatus,
    event: TokenObserved
    | TokenUnfit
    | SourceObserved
    | SourceUnfit
    | Decided
    | Exchanged
    | ExchangeFailed
    | Published
    | PublishedLost
    | PublishFailed,
) -> ProfileStatus:
    """Return the profile's state after the event."""
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
            return replace(profile, token_fault=_lasting(profile.token_fault, event.error, event.at))
        case SourceObserved():
            return replace(profile, source_fault=None)
        case SourceUnfit():
            return replace(profile, source_fault=_lasting(profile.source_fault, event.error, event.at))
        case Exchanged(generation=generation):
            return replace(
                profile,
                generation=generation.number,
                expires_at=generation.credentials.expires_at,
                assumed_role_arn=generation.credentials.assumed_role_arn,
                exchange_fault=None,
            )
        case ExchangeFailed():
            profile = replace(profile, exchange_fault=_lasting(profile.exchange_fault, event.error, event.at))
            return _counted(profile, FAILURE, event.error.reason)
        case PublishedLost():
            return replace(profile, published_received_at=None, published_usable_until=None)
        case Published(generation=generation):
            profile = replace(
                profile,
                published_generation=generation.number,
                published_received_at=generation.credentials.received_at,
                published_usable_until=generation.credentials.usable_until,
                refresh_at=event.refresh_at,
                publish_fault=None,
            )
            return _counted(profile, SUCCESS, generation.reason)
        case _:
            profile = replace(
                profile,
                publish_failures=profile.publish_failures + 1,
                publish_fault=_lasting(profile.publish_fault, event.error, event.at),
            )
            return _counted(profile, FAILURE, event.error.reason)


def _lasting(before: Fault | None, error: BrokerError, at: Instant) -> Fault:
    """Return the fault as it is now; one that lasts keeps the time at which it began."""
    if before is not None and before.error.reason == error.reason:
        return Fault(error=error, since=before.since, count=before.count + 1)
    return Fault(error=error, since=at.now, count=1)


def _counted(profile: ProfileStatus, outcome: str, reason: str) -> ProfileStatus:
    """Return the profile with one more refresh that ended so."""
    key = (outcome, reason)
    return replace(profile, refreshes={**profile.refreshes, key: profile.refreshes.get(key, 0) + 1})
