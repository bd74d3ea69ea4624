"""What happens to a profile, as values: the loop emits them, `status` and `logs` take them in.

Every event has `at`, the moment on both clocks. None holds a secret that is not wrapped. They are neither compared nor
printed: what Python generates for that would be a hundredth of a start's CPU.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from broker.core.clock import Instant
    from broker.core.errors import BrokerError, PublishError, SourceUnavailable, TokenError
    from broker.core.model import BoundToken, Generation
    from broker.core.schedule import Decision, Phase


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Turned:
    """The loop has made a turn."""

    at: Instant


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class RefreshRequested:
    """Somebody asked for a refresh of every profile."""

    at: Instant


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class TokenObserved:
    """There is a fit token: another than before, or after a time without."""

    at: Instant
    profile: str
    token: BoundToken


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class TokenUnfit:
    """The file holds no token that may be sent, for another reason than at the last look."""

    at: Instant
    profile: str
    error: TokenError


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class SourceObserved:
    """A chained role's source has unexpired credentials, after a time without."""

    at: Instant
    profile: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class SourceUnfit:
    """A chained role's source has no unexpired credentials, for another reason than at the last look."""

    at: Instant
    profile: str
    error: SourceUnavailable


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Decided:
    """The phase, or the time at which a refresh is next due, has changed."""

    at: Instant
    profile: str
    decision: Decision


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Exchanged:
    """STS gave credentials, which are not published yet."""

    at: Instant
    generation: Generation
    duration: timedelta


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class ExchangeFailed:
    """STS gave none. `failures` counts all faults in a row, `retry_in` is the backoff that follows."""

    at: Instant
    profile: str
    error: BrokerError
    duration: timedelta
    fingerprint: str
    phase: Phase
    failures: int
    retry_in: timedelta


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Published:
    """Readers have this generation: the refresh is complete. `refresh_at` is when the next one is due."""

    at: Instant
    generation: Generation
    refresh_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class PublishedLost:
    """What was published of a profile is there no more, for a reason that is not ours."""

    at: Instant
    profile: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class PublishFailed:
    """A sink could not take the generation."""

    at: Instant
    profile: str
    error: PublishError
    failures: int
    retry_in: timedelta


Event = (
    Turned
    | RefreshRequested
    | TokenObserved
    | TokenUnfit
    | SourceObserved
    | SourceUnfit
    | Decided
    | Exchanged
    | ExchangeFailed
    | Published
    | PublishedLost
    | PublishFailed
)
