"""The schedule of web identity tokens: whether to request one now, for how long, and when to decide again.

A token is refreshed at half of its lifetime, less up to a tenth of it at random. STS refuses a token that would outlive
the session that signs the call. So the broker requests at most what remains of the session, and waits for new
credentials if that is less than a minute. This module is pure.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import Enum, unique
from typing import TYPE_CHECKING

from broker.core.records import Struct
from broker.core.schedule import ZERO, Phase, RefreshPolicy, get_remaining_backoff
from broker.core.web_identity_spec import MINIMUM_LIFETIME

if TYPE_CHECKING:
    from broker.core.backoff import Failure
    from broker.core.clock import Instant
    from broker.core.web_identity_token import WebIdentityToken

_LEAD_SHARE = 0.5
_SESSION_MARGIN = timedelta(seconds=15)
"""A call may take this long until STS compares the token's expiry with that of the session."""
_MINIMUM_INTERVAL = timedelta(seconds=20)
"""The time between two calls, unless minimum_interval_seconds is shorter. A token of a minute is due later."""


@unique
class TokenAction(Enum):
    """What the keeper does next for the token of one profile."""

    REQUEST = "request"
    PUBLISH = "publish"
    WAIT = "wait"


class TokenSituation(Struct, frozen=True, kw_only=True):
    """What the keeper knows about the token of one profile.

    `duration` is the lifetime to request. `session_ends_at` is when the credentials of the profile lapse, None if it
    has none that a call could be signed with, and `session` identifies them. `succeeded_at` is monotonic.
    """

    at: Instant
    duration: timedelta
    session_ends_at: datetime | None = None
    session: str = ""
    token: WebIdentityToken | None = None
    succeeded_at: timedelta | None = None
    unpublished: bool = False
    failure: Failure | None = None
    publish_failure: Failure | None = None
    requested: bool = False
    """A refresh was requested, for example by SIGHUP, and no call that began since then has succeeded."""
    jitter: float = 0.0


class TokenDecision(Struct, frozen=True, kw_only=True):
    """What to do: for REQUEST, the lifetime to request; for WAIT, how long the loop may sleep."""

    action: TokenAction
    duration: timedelta = ZERO
    wake_in: timedelta = ZERO


def decide_token(situation: TokenSituation, policy: RefreshPolicy) -> TokenDecision:
    """Return what to do for the token of one profile. The first rule that matches applies. Never raises."""
    at, phase = situation.at, get_token_phase(situation.token, situation.at.now, policy)
    limits = [policy.nap]  # a WAIT below must not sleep longer than any of these

    def wait(*more: timedelta) -> TokenDecision:
        return TokenDecision(action=TokenAction.WAIT, wake_in=max(min(*more, *limits, policy.nap), ZERO))

    if situation.unpublished:
        pending = get_remaining_backoff(situation.publish_failure, at, phase, policy)
        if pending <= ZERO:
            return TokenDecision(action=TokenAction.PUBLISH)  # 1
        limits.append(pending)
    pending = get_remaining_backoff(situation.failure, at, phase, policy, situation.session)
    if pending > ZERO:
        return wait(pending)  # 2
    due_in = _get_due_in(situation, policy)
    if due_in > ZERO and not situation.requested:
        return wait(due_in)  # 3
    duration = _get_duration(situation)
    if duration < MINIMUM_LIFETIME:
        return wait(policy.nap)  # 4: new credentials wake the loop
    return TokenDecision(action=TokenAction.REQUEST, duration=duration)  # 5


def get_refresh_time(token: WebIdentityToken, policy: RefreshPolicy, jitter: float) -> datetime:
    """Return when a refresh of the token is due, on the clock of the node. `jitter` is in [0, 1)."""
    return token.received_at + _get_use(token, policy, jitter)


def get_token_phase(token: WebIdentityToken | None, now: datetime, policy: RefreshPolicy) -> Phase:
    """Return the phase of the token: STARTING without one, MANDATORY in its last sixth, EXPIRED after its end."""
    if token is None:
        return Phase.STARTING
    remaining = token.lapses_at - now
    if remaining <= ZERO:
        return Phase.EXPIRED
    return Phase.MANDATORY if remaining <= policy.mandatory_lead(token.lifetime) else Phase.FRESH


def _get_use(token: WebIdentityToken, policy: RefreshPolicy, jitter: float) -> timedelta:
    """Return how long after its receipt the token is refreshed."""
    return token.lifetime * (1 - _LEAD_SHARE - policy.jitter_share * jitter)


def _get_due_in(situation: TokenSituation, policy: RefreshPolicy) -> timedelta:
    """Return the time until a refresh is due; zero or less if it is.

    By the monotonic clock, a wall clock that jumps back does not postpone it, and one that jumps to and fro causes no
    more calls than the minimum interval allows.
    """
    token, succeeded_at, at = situation.token, situation.succeeded_at, situation.at
    if token is None or succeeded_at is None:
        return ZERO
    since_success = at.monotonic - succeeded_at
    use = _get_use(token, policy, situation.jitter)
    interval = min(policy.minimum_interval, _MINIMUM_INTERVAL)
    return max(min(token.received_at + use - at.now, use - since_success), interval - since_success)


def _get_duration(situation: TokenSituation) -> timedelta:
    """Return the lifetime to request, in whole seconds: what remains of the session if that is shorter."""
    if situation.session_ends_at is None:
        return ZERO
    remaining = situation.session_ends_at - situation.at.now - _SESSION_MARGIN
    return min(situation.duration, timedelta(seconds=max(remaining, ZERO) // timedelta(seconds=1)))
