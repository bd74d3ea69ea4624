"""The refresh schedule: what to do for a profile now, and when to decide again.

`decide` tries its rules in the order in which docs/architecture.md lists them, and the first rule that matches applies.
Every number that affects the timing is a field of `RefreshPolicy`. Expiry is compared on the wall clock; backoff and
intervals are measured on the monotonic clock. This module is pure: time, random numbers and facts are arguments. It
does not know files, networks or the names of profiles.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import Enum, unique
from typing import TYPE_CHECKING

from broker.core.backoff import Backoff, Failure
from broker.core.errors import Disposition, SourceUnavailable, TokenError
from broker.core.model import BoundToken, Proof, SourceSession
from broker.core.records import Struct

if TYPE_CHECKING:
    from broker.core.clock import Instant
    from broker.core.model import TemporaryCredentials

Reading = BoundToken | SourceSession | TokenError | SourceUnavailable
"""The result of reading the token, or the source of a chained role."""
ZERO = timedelta(0)


@unique
class Action(Enum):
    """What the main loop does next for one profile."""

    EXCHANGE = "exchange"
    PUBLISH = "publish"
    WAIT = "wait"


@unique
class Phase(Enum):
    """The phase of a profile's credentials, by the time that remains of their lifetime."""

    STARTING = "starting"
    """There are no credentials yet."""
    FRESH = "fresh"
    """A refresh is not due yet."""
    ADVISORY = "advisory"
    """A refresh is due, and there is time for retries."""
    MANDATORY = "mandatory"
    """A refresh is urgent: the last 10 minutes, or the last sixth of a shorter lifetime."""
    EXPIRED = "expired"


@unique
class Reason(Enum):
    """Why `decide` decided as it did. It is the `reason` of a successful refresh in logs and metrics."""

    UNPUBLISHED = "unpublished"
    BACKOFF = "backoff"
    NO_USABLE_TOKEN = "no_usable_token"  # noqa: S105 - not a secret
    NO_CREDENTIALS = "no_credentials"
    REQUESTED = "requested"
    MINIMUM_INTERVAL = "minimum_interval"
    CLOCK_LEAPT_BACK = "clock_leapt_back"
    REFRESH_DUE = "refresh_due"
    LAST_CHANCE = "last_chance"
    SOURCE_AWAITED = "source_awaited"
    SOURCE_RENEWED = "source_renewed"
    NOT_DUE = "not_due"


class RefreshPolicy(Struct, frozen=True, kw_only=True):
    """Every number that affects the timing.

    After the first `streak_free` failures in a row, backoff alone determines the delay. After more, the delay is at
    least `streak_floor`, whatever the errors are. This allows at most 10 calls in the first minute, and
    9 + 3600/36 = 109 calls in the first hour.
    """

    minimum_interval: timedelta = timedelta(seconds=60)
    urgent_interval: timedelta = timedelta(seconds=36)
    """The same for credentials in the phases MANDATORY and EXPIRED, if `minimum_interval` is longer."""
    nap: timedelta = timedelta(seconds=30)
    """The maximum time between two iterations of the main loop."""
    token_retry: Backoff = Backoff(base=timedelta(seconds=1), cap=timedelta(seconds=15))
    soon: Backoff = Backoff(base=timedelta(seconds=1), cap=timedelta(seconds=60))
    slow: Backoff = Backoff(base=timedelta(seconds=60), cap=timedelta(minutes=5))
    soon_attempts: int = 5
    """After this many failures in a row, SOON_THEN_SLOW is treated as SLOW."""
    mandatory_backoff_cap: timedelta = timedelta(seconds=40)
    streak_free: int = 8
    streak_floor: timedelta = timedelta(seconds=36)
    jitter_share: float = 0.1
    """The maximum random addition to the lead of an ordinary refresh, as a share of the lifetime."""
    first_refresh_after: timedelta = timedelta(seconds=60)
    """The minimum time between the first exchange and a first refresh that is due early (see `first_refresh`)."""
    rotation_overdue_share: float = 0.9
    """The kubelet rotates a token at 80 % of its lifetime. Beyond this share, rotation is overdue."""
    sdk_window: timedelta = timedelta(minutes=15)
    sdk_window_long: timedelta = timedelta(minutes=60)
    long_session: timedelta = timedelta(minutes=90)
    sdk_margin: timedelta = timedelta(minutes=5)
    mandatory_window: timedelta = timedelta(minutes=10)
    mandatory_share: float = 1 / 6

    def lead(self, lifetime: timedelta, jitter: float = 0.0) -> timedelta:
        """Return how long before their expiry credentials of this lifetime are refreshed.

        This is half of the lifetime. It is more if that keeps readers out of the SDKs' own refresh windows and leaves
        a quarter of the lifetime to use. The windows are 15 min in botocore, and 60 min in the newest SDKs for sessions
        of 90 min or more. `jitter` is in [0, 1); that of a first refresh is larger (see `first_refresh`).
        """
        window = self.sdk_window_long if lifetime >= self.long_session else self.sdk_window
        outside_window = max(lifetime / 2, window + self.sdk_margin)
        lead = outside_window if outside_window <= lifetime * 3 / 4 else lifetime / 2
        return lead + lifetime * (self.jitter_share * jitter)

    def due_at(self, held: TemporaryCredentials, jitter: float) -> datetime:
        """Return when a refresh of these credentials is due, on the clock of the node.

        It is planned for their readers and for the session at STS, whichever is due first (docs/adr/0005-lifetime.md).
        """
        lifetimes = (held.lifetime, held.planned_lifetime)
        return held.received_at + min(lifetime - self.lead(lifetime, jitter) for lifetime in lifetimes)

    def keeps_out_of_sdk_windows(self, lifetime: timedelta) -> bool:
        """Return whether sessions of this lifetime can be refreshed before the SDKs' refresh windows begin."""
        return self.lead(lifetime) >= self.sdk_window + self.sdk_margin

    def mandatory_lead(self, lifetime: timedelta) -> timedelta:
        """Return the length of the MANDATORY phase."""
        return min(self.mandatory_window, lifetime * self.mandatory_share)


class Situation(Struct, frozen=True, kw_only=True):
    """What the main loop knows about one profile."""

    at: Instant
    credentials: TemporaryCredentials | None = None
    unpublished: bool = False
    """The credentials have not been published."""
    exchange_failure: Failure | None = None
    publish_failure: Failure | None = None
    succeeded_at: timedelta | None = None
    """When the last exchange succeeded (monotonic)."""
    spent_fingerprint: str = ""
    """The token that was already used for a last-chance exchange."""
    token_failures: int = 1
    """How many reads in a row, this one included, found no usable token."""
    requested: bool = False
    """A refresh was requested, for example by SIGHUP, and no exchange that began since then has succeeded."""
    request_attempted: bool = False
    """An exchange has begun since the request."""
    held_fingerprint: str = ""
    """The token, or the source's generation, that the current credentials were obtained with."""
    source_is_refreshing: bool = False
    """An exchange is pending for a chained role's source, or for a source of that source."""


class Decision(Struct, frozen=True, kw_only=True):
    """What to do, and for WAIT how long the loop may sleep. `refresh_at` is when the next refresh is due."""

    action: Action
    phase: Phase
    reason: Reason
    wake_in: timedelta = ZERO
    refresh_at: datetime | None = None


def decide(  # noqa: C901, PLR0911, PLR0912 - the nine rules in their order, in one place
    situation: Situation, reading: Reading, policy: RefreshPolicy, jitter: float
) -> Decision:
    """Return what to do for one profile. `jitter` is drawn once for each generation. Never raises."""
    held, at = situation.credentials, situation.at
    phase = phase_of(held, at.now, policy, jitter)
    due_at = policy.due_at(held, jitter) if held else None

    def decision(action: Action, reason: Reason, wake_in: timedelta = ZERO) -> Decision:
        wake_in = min(max(wake_in, ZERO), policy.nap)
        return Decision(action=action, phase=phase, reason=reason, wake_in=wake_in, refresh_at=due_at)

    limits: list[timedelta] = []  # a WAIT below must not sleep longer than any of these
    if situation.unpublished:
        pending = get_remaining_backoff(situation.publish_failure, at, phase, policy)
        if pending <= ZERO:
            return decision(Action.PUBLISH, Reason.UNPUBLISHED)  # 1
        limits.append(pending)
    fingerprint = reading.fingerprint if isinstance(reading, Proof) else ""
    pending = get_remaining_backoff(situation.exchange_failure, at, phase, policy, fingerprint)
    if pending > ZERO and (situation.request_attempted or not situation.requested):
        return decision(Action.WAIT, Reason.BACKOFF, min([pending, *limits]))  # 2
    if isinstance(reading, TokenError):
        retry_in = reading.look_in or policy.token_retry.ceiling(situation.token_failures)
        return decision(Action.WAIT, Reason.NO_USABLE_TOKEN, min([retry_in, *limits]))  # 3
    if isinstance(reading, SourceUnavailable) or situation.source_is_refreshing:
        return decision(Action.WAIT, Reason.SOURCE_AWAITED, min(limits, default=policy.nap))  # 3
    if held is None or due_at is None:
        return decision(Action.EXCHANGE, Reason.NO_CREDENTIALS)  # 4
    if situation.requested:
        return decision(Action.EXCHANGE, Reason.REQUESTED)  # 4
    pending = _get_remaining_interval(situation.succeeded_at, held, at, policy)
    if pending > ZERO:
        return decision(Action.WAIT, Reason.MINIMUM_INTERVAL, min([pending, *limits]))  # 5
    if held.received_at > at.now:
        return decision(Action.EXCHANGE, Reason.CLOCK_LEAPT_BACK)  # 6
    due_in = due_at - at.now
    if situation.succeeded_at is not None:  # do not postpone if the wall clock jumped back
        due_in = min(due_in, situation.succeeded_at + (due_at - held.received_at) - at.monotonic)
    if due_in <= ZERO:
        return decision(Action.EXCHANGE, Reason.REFRESH_DUE)  # 7
    limits.append(due_in)
    if isinstance(reading, SourceSession) and reading.fingerprint != situation.held_fingerprint:
        return decision(Action.EXCHANGE, Reason.SOURCE_RENEWED)  # 8
    overdue_at = rotation_overdue_at(reading, policy)
    if overdue_at is not None and reading.fingerprint != situation.spent_fingerprint:
        if overdue_at <= at.now:
            return decision(Action.EXCHANGE, Reason.LAST_CHANCE)  # 8
        limits.append(overdue_at - at.now)
    return decision(Action.WAIT, Reason.NOT_DUE, min(limits))  # 9


def phase_of(held: TemporaryCredentials | None, now: datetime, policy: RefreshPolicy, jitter: float) -> Phase:
    """Return the phase of these credentials."""
    if held is None:
        return Phase.STARTING
    remaining = held.planned_expiry - now
    if remaining <= ZERO:
        return Phase.EXPIRED
    if remaining <= policy.mandatory_lead(held.planned_lifetime):
        return Phase.MANDATORY
    return Phase.ADVISORY if now >= policy.due_at(held, jitter) else Phase.FRESH


def rotation_overdue_at(proof: Proof, policy: RefreshPolicy) -> datetime | None:
    """Return when the rotation of this token is overdue; None for a chained role, or a token without `iat`."""
    if isinstance(proof, SourceSession) or proof.claims.issued_at is None:
        return None
    issued_at = proof.claims.issued_at
    return issued_at + (proof.claims.expires_at - issued_at) * policy.rotation_overdue_share


def backoff(failure: Failure, phase: Phase, policy: RefreshPolicy, *, new_token: bool = False) -> timedelta:
    """Return the delay that follows `failure`: between half of the ceiling and all of it, chosen by its jitter.

    Only half of the delay is random, because with full jitter the number of calls would have no upper bound
    (docs/adr/0004-backoff.md). `new_token` is whether the token, or the source's generation, is another one than the
    one that was rejected.
    """
    attempts, slow = failure.attempts, failure.disposition is Disposition.SLOW
    if failure.disposition is Disposition.SOON_THEN_SLOW:
        if new_token:
            attempts = 1
        elif attempts > policy.soon_attempts:
            attempts, slow = attempts - policy.soon_attempts, True
    ceiling = (policy.slow if slow else policy.soon).ceiling(attempts)
    if phase is Phase.MANDATORY:
        ceiling = min(ceiling, policy.mandatory_backoff_cap)
    delay = ceiling * (1 + failure.jitter) / 2
    return max(delay, policy.streak_floor) if failure.streak > policy.streak_free else delay


def get_remaining_backoff(
    failure: Failure | None, at: Instant, phase: Phase, policy: RefreshPolicy, fingerprint: str = ""
) -> timedelta:
    """Return the time that remains of the backoff after `failure`; zero or less once it is over.

    `fingerprint` is that of the token or session to use now, "" if there is none.
    """
    if failure is None:
        return ZERO
    new_token = fingerprint not in {"", failure.fingerprint}
    return failure.at + backoff(failure, phase, policy, new_token=new_token) - at.monotonic


def _get_remaining_interval(
    succeeded_at: timedelta | None, held: TemporaryCredentials, at: Instant, policy: RefreshPolicy
) -> timedelta:
    """Return how long an exchange must wait because of the last success; zero or less if it need not.

    A long minimum interval ends when the MANDATORY phase begins, so that it never makes credentials expire.
    """
    if succeeded_at is None:
        return ZERO
    since_success = at.monotonic - succeeded_at
    urgent_in = held.planned_expiry - policy.mandatory_lead(held.planned_lifetime) - at.now
    return min(policy.minimum_interval - since_success, max(policy.urgent_interval - since_success, urgent_in))
