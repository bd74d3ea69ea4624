"""THE clockwork: what to do now, and when to look again. Pure: time, chance and facts come in, a Decision comes out.

`decide` tries its rules in the order in which docs/architecture.md lists them; the first match wins. Every number that
shapes the timing is a field of `RefreshPolicy`. Expiry is compared on the wall clock; backoff, intervals and naps on
the monotonic clock. Refuses to know files, networks and the profile's name.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum, unique
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

from tenacity.wait import wait_exponential

from broker.core.errors import Disposition, SourceUnavailable, TokenError
from broker.core.model import BoundToken, Proof, SourceSession

if TYPE_CHECKING:
    from tenacity import RetryCallState

    from broker.core.clock import Instant
    from broker.core.model import TemporaryCredentials

Reading = BoundToken | SourceSession | TokenError | SourceUnavailable
"""What a look at the token, or at a chained role's source, found."""
ZERO = timedelta(0)
_ATTEMPTS_TOLD = 64  # 2**64 is past every cap; more would only cost time


@unique
class Action(Enum):
    """What the loop does next for one profile."""

    EXCHANGE = "exchange"
    PUBLISH = "publish"
    WAIT = "wait"


@unique
class Phase(Enum):
    """Where a profile's credentials are in their life."""

    STARTING = "starting"
    """None held yet."""
    FRESH = "fresh"
    """Not due."""
    ADVISORY = "advisory"
    """Due for refresh, with time to spare."""
    MANDATORY = "mandatory"
    """Due, and close to their end: the last 10 minutes, or the last sixth of a shorter life."""
    EXPIRED = "expired"


@unique
class Reason(Enum):
    """Why `decide` decided so: the `reason` of a refresh in logs and metrics where nothing failed."""

    UNPUBLISHED = "unpublished"
    BACKOFF = "backoff"
    NO_USABLE_TOKEN = "no_usable_token"  # noqa: S105 - a word, no secret
    NO_CREDENTIALS = "no_credentials"
    REQUESTED = "requested"
    MINIMUM_INTERVAL = "minimum_interval"
    CLOCK_LEAPT_BACK = "clock_leapt_back"
    REFRESH_DUE = "refresh_due"
    LAST_CHANCE = "last_chance"
    SOURCE_AWAITED = "source_awaited"
    SOURCE_RENEWED = "source_renewed"
    NOT_DUE = "not_due"


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Delays that double from `base` to `cap`, by tenacity's strategy."""

    base: timedelta
    cap: timedelta

    def ceiling(self, attempts: int) -> timedelta:
        """Return the longest delay after `attempts` (from 1) failures in a row."""
        strategy = wait_exponential(multiplier=self.base.total_seconds(), max=self.cap.total_seconds())
        # The strategy reads nothing but the attempt's number of tenacity's call state.
        return timedelta(
            seconds=strategy(cast("RetryCallState", SimpleNamespace(attempt_number=min(attempts, _ATTEMPTS_TOLD))))
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshPolicy:
    """Every number of the clockwork.

    `streak_free` failures in a row are followed as quickly as backoff allows; from then on `streak_floor` is the
    shortest delay, whatever the faults are: at most 10 calls in the first minute, and 9 + 3600/36 = 109 in the first
    hour.
    """

    minimum_interval: timedelta = timedelta(seconds=60)
    nap: timedelta = timedelta(seconds=30)
    token_look: Backoff = Backoff(base=timedelta(seconds=1), cap=timedelta(seconds=15))
    soon: Backoff = Backoff(base=timedelta(seconds=1), cap=timedelta(seconds=60))
    slow: Backoff = Backoff(base=timedelta(seconds=60), cap=timedelta(minutes=5))
    soon_attempts: int = 5
    """After so many failures in a row, SOON_THEN_SLOW goes the slow lane."""
    mandatory_backoff_cap: timedelta = timedelta(seconds=40)
    streak_free: int = 8
    streak_floor: timedelta = timedelta(seconds=36)
    jitter_share: float = 0.1
    """The most that chance adds to the lead, as a share of the lifetime."""
    rotation_overdue_share: float = 0.9
    """The kubelet rotates at 80 % of a token's life; past this share it is late."""
    sdk_window: timedelta = timedelta(minutes=15)
    sdk_window_long: timedelta = timedelta(minutes=60)
    long_session: timedelta = timedelta(minutes=90)
    sdk_margin: timedelta = timedelta(minutes=5)
    mandatory_window: timedelta = timedelta(minutes=10)
    mandatory_share: float = 1 / 6

    def lead(self, lifetime: timedelta, jitter: float = 0.0) -> timedelta:
        """Return how long before their end credentials of this lifetime are refreshed; `jitter` in [0, 1).

        Half the lifetime, or more where that keeps readers out of the SDKs' own refresh windows (botocore: 15 min; the
        newest SDKs: 60 min for sessions of 90 min or more), as long as a quarter of the lifetime remains to be used.
        """
        window = self.sdk_window_long if lifetime >= self.long_session else self.sdk_window
        outside_window = max(lifetime / 2, window + self.sdk_margin)
        lead = outside_window if outside_window <= lifetime * 3 / 4 else lifetime / 2
        return lead + lifetime * (self.jitter_share * jitter)

    def due_at(self, held: TemporaryCredentials, jitter: float) -> datetime:
        """Return when these credentials are due for refresh, on this node's clock."""
        return held.lapses_at - self.lead(held.lifetime, jitter)

    def keeps_out_of_sdk_windows(self, lifetime: timedelta) -> bool:
        """Return whether readers can be spared the SDKs' refresh windows with sessions of this lifetime."""
        return self.lead(lifetime) >= self.sdk_window + self.sdk_margin

    def mandatory_lead(self, lifetime: timedelta) -> timedelta:
        """Return the length of the mandatory window."""
        return min(self.mandatory_window, lifetime * self.mandatory_share)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """The last failed exchange or publish.

    `at` is monotonic; `attempts` counts this kind of fault in a row, `streak` all faults in a row; `jitter` in [0, 1)
    was drawn when it failed.
    """

    reason: str
    at: timedelta
    disposition: Disposition
    attempts: int
    streak: int
    jitter: float
    fingerprint: str = ""
    """The token that was sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What the loop knows of one profile. Monotonic instants are those of `Instant.monotonic`."""

    at: Instant
    credentials: TemporaryCredentials | None = None
    unpublished: bool = False
    """A sink lacks the credentials in hand."""
    exchange_failure: Failure | None = None
    publish_failure: Failure | None = None
    succeeded_at: timedelta | None = None
    """When the last exchange succeeded, monotonic."""
    spent_fingerprint: str = ""
    """The token that has had its last-chance exchange."""
    token_looks: int = 1
    """How many looks in a row, this one included, found no usable token."""
    requested: bool = False
    """Somebody asked for a refresh now."""
    held_fingerprint: str = ""
    """The token, or the source's generation, that the credentials in hand were asked for with."""
    source_in_flight: bool = False
    """A chained role's source, or that one's own, is being refreshed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What to do, and how long the loop may sleep if that is nothing. `refresh_at` is when a refresh is next due."""

    action: Action
    phase: Phase
    reason: Reason
    wake_in: timedelta = field(default=ZERO)
    refresh_at: datetime | None = None


def decide(  # noqa: C901, PLR0911, PLR0912 - the nine rules, in their order, in one place
    situation: Situation, reading: Reading, policy: RefreshPolicy, jitter: float
) -> Decision:
    """Return what to do for one profile. `jitter` in [0, 1) is drawn once a generation.

    The rules are numbered as in docs/architecture.md. Never raises.
    """
    held, at = situation.credentials, situation.at
    phase = phase_of(held, at.now, policy, jitter)
    due_at = policy.due_at(held, jitter) if held else None

    def decision(action: Action, reason: Reason, wake_in: timedelta = ZERO) -> Decision:
        wake_in = min(max(wake_in, ZERO), policy.nap)
        return Decision(action=action, phase=phase, reason=reason, wake_in=wake_in, refresh_at=due_at)

    naps: list[timedelta] = []  # what any WAIT below must not oversleep
    if situation.unpublished:
        pending = _left(situation.publish_failure, at, phase, policy)
        if pending <= ZERO:
            return decision(Action.PUBLISH, Reason.UNPUBLISHED)  # 1
        naps.append(pending)
    pending = _left(situation.exchange_failure, at, phase, policy, reading)
    if pending > ZERO and not situation.requested:
        return decision(Action.WAIT, Reason.BACKOFF, min([pending, *naps]))  # 2
    if isinstance(reading, TokenError):
        look = reading.look_in or policy.token_look.ceiling(situation.token_looks)
        return decision(Action.WAIT, Reason.NO_USABLE_TOKEN, min([look, *naps]))  # 3
    if isinstance(reading, SourceUnavailable) or situation.source_in_flight:
        return decision(Action.WAIT, Reason.SOURCE_AWAITED, min(naps, default=policy.nap))  # 3
    if held is None or due_at is None:
        return decision(Action.EXCHANGE, Reason.NO_CREDENTIALS)  # 4
    if situation.requested:
        return decision(Action.EXCHANGE, Reason.REQUESTED)  # 4
    if situation.succeeded_at is not None:
        pending = situation.succeeded_at + policy.minimum_interval - at.monotonic
        if pending > ZERO:
            return decision(Action.WAIT, Reason.MINIMUM_INTERVAL, min([pending, *naps]))  # 5
    if held.received_at > at.now:
        return decision(Action.EXCHANGE, Reason.CLOCK_LEAPT_BACK)  # 6
    due_in = due_at - at.now
    if situation.succeeded_at is not None:  # a wall clock that leapt back by less than their age is not believed
        due_in = min(due_in, situation.succeeded_at + (due_at - held.received_at) - at.monotonic)
    if due_in <= ZERO:
        return decision(Action.EXCHANGE, Reason.REFRESH_DUE)  # 7
    naps.append(due_in)
    if isinstance(reading, SourceSession) and reading.fingerprint != situation.held_fingerprint:
        return decision(Action.EXCHANGE, Reason.SOURCE_RENEWED)  # 8
    overdue_at = rotation_overdue_at(reading, policy)
    if overdue_at is not None and reading.fingerprint != situation.spent_fingerprint:
        if overdue_at <= at.now:
            return decision(Action.EXCHANGE, Reason.LAST_CHANCE)  # 8
        naps.append(overdue_at - at.now)
    return decision(Action.WAIT, Reason.NOT_DUE, min(naps))  # 9


def phase_of(held: TemporaryCredentials | None, now: datetime, policy: RefreshPolicy, jitter: float) -> Phase:
    """Return where in their life the credentials in hand are."""
    if held is None:
        return Phase.STARTING
    remaining = held.lapses_at - now
    if remaining <= ZERO:
        return Phase.EXPIRED
    if remaining <= policy.mandatory_lead(held.lifetime):
        return Phase.MANDATORY
    return Phase.ADVISORY if remaining <= policy.lead(held.lifetime, jitter) else Phase.FRESH


def rotation_overdue_at(proof: Proof, policy: RefreshPolicy) -> datetime | None:
    """Return when the kubelet is late with this token's rotation; None for no token, or one that hides its age."""
    if isinstance(proof, SourceSession) or proof.claims.issued_at is None:
        return None
    issued_at = proof.claims.issued_at
    return issued_at + (proof.claims.expires_at - issued_at) * policy.rotation_overdue_share


def backoff(failure: Failure, phase: Phase, policy: RefreshPolicy, *, new_token: bool = False) -> timedelta:
    """Return the delay that follows `failure`: the upper half of the lane's ceiling, spread by its jitter.

    Half rather than all of it is left to chance, because a spread down to nothing cannot promise any number of calls
    (docs/adr/0004-backoff.md). `new_token`: there is another token, or generation of the source, than the one rejected.
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


def _left(
    failure: Failure | None, at: Instant, phase: Phase, policy: RefreshPolicy, reading: Reading | None = None
) -> timedelta:
    """Return what is left of the backoff after `failure`; zero or less when it is over."""
    if failure is None:
        return ZERO
    new_token = isinstance(reading, Proof) and reading.fingerprint != failure.fingerprint
    return failure.at + backoff(failure, phase, policy, new_token=new_token) - at.monotonic
