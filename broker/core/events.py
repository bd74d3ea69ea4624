"""Events: what happens to a profile. The main loop emits them; the status and the log record them.

Every event has `at`, the moment on both clocks. Secrets in events are wrapped in `Secret`. Events have no generated
`__eq__` and `__repr__`, which took one percent of the CPU time of a start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.core.records import Struct

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from broker.core.clock import Instant
    from broker.core.errors import BrokerError, PublishError, SourceUnavailable, TokenError
    from broker.core.model import BoundToken, Generation, TemporaryCredentials
    from broker.core.notifications import Notification, Outcome
    from broker.core.notify_targets import NotifyFailure
    from broker.core.schedule import Decision, Phase


class Turned(Struct, frozen=True, kw_only=True, eq=False):
    """The main loop began an iteration."""

    at: Instant


class RefreshRequested(Struct, frozen=True, kw_only=True, eq=False):
    """A refresh of every profile was requested."""

    at: Instant


class Restored(Struct, frozen=True, kw_only=True, eq=False):
    """Readers have this generation from an earlier start, and the broker holds it again. It is not a refresh."""

    at: Instant
    generation: Generation
    phase: Phase
    refresh_at: datetime


class TokenObserved(Struct, frozen=True, kw_only=True, eq=False):
    """There is a usable token: a new one, or the first one after a time without."""

    at: Instant
    profile: str
    token: BoundToken


class TokenUnfit(Struct, frozen=True, kw_only=True, eq=False):
    """There is no usable token, for a reason that differs from the previous read."""

    at: Instant
    profile: str
    error: TokenError


class SourceObserved(Struct, frozen=True, kw_only=True, eq=False):
    """The source of a chained role has valid credentials again."""

    at: Instant
    profile: str


class SourceUnfit(Struct, frozen=True, kw_only=True, eq=False):
    """The source of a chained role has no valid credentials any more, or has none yet."""

    at: Instant
    profile: str
    error: SourceUnavailable


class Decided(Struct, frozen=True, kw_only=True, eq=False):
    """The phase changed, or the time of the next refresh."""

    at: Instant
    profile: str
    decision: Decision


class Exchanged(Struct, frozen=True, kw_only=True, eq=False):
    """STS issued credentials, which are not published yet. `duration` is how long the exchange took.

    `previous` are the credentials that they replace.
    """

    at: Instant
    generation: Generation
    duration: timedelta
    previous: TemporaryCredentials | None = None


class ExchangeFailed(Struct, frozen=True, kw_only=True, eq=False):
    """STS issued no credentials. `failures` counts all failures in a row; `retry_in` is the backoff that follows."""

    at: Instant
    profile: str
    error: BrokerError
    duration: timedelta
    fingerprint: str
    phase: Phase
    failures: int
    retry_in: timedelta


class Published(Struct, frozen=True, kw_only=True, eq=False):
    """Readers have this generation, which completes the refresh. `refresh_at` is when the next refresh is due."""

    at: Instant
    generation: Generation
    refresh_at: datetime


class PublishedLost(Struct, frozen=True, kw_only=True, eq=False):
    """The published files of a profile are gone, and the broker did not remove them."""

    at: Instant
    profile: str


class PublishFailed(Struct, frozen=True, kw_only=True, eq=False):
    """A sink could not be written to. `failures` and `retry_in` are as in ExchangeFailed."""

    at: Instant
    profile: str
    error: PublishError
    failures: int
    retry_in: timedelta


class NotificationEnded(Struct, frozen=True, kw_only=True, eq=False):
    """A notification ended, with or without success. `failure` is that of the last try; None for a success."""

    at: Instant
    profile: str
    notification: Notification
    outcome: Outcome
    failure: NotifyFailure | None


Event = (
    Turned
    | RefreshRequested
    | Restored
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
    | NotificationEnded
)
