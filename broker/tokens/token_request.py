"""Bound tokens from the Kubernetes API, for pods without a projected volume: kept in memory and renewed in time.

The loop never waits: `read` returns the token in hand, or says why there is none, and begins a call when one is due. A
token is renewed by the kubelet's rule (k8s token_manager.go): when 80 % of its life or 24 hours have passed, less a
random share of 10 s. While renewal fails, the token in hand is used until it expires. Failed calls back off as failed
exchanges do. A token's age counts from the request for it, on both clocks, so that a wrong or jumping clock neither
makes a good token unfit nor an old one good. How the API is called is not known here: see token_request_api.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from broker.core.errors import Disposition, TokenAwaited, TokenError
from broker.core.records import Struct
from broker.core.schedule import ZERO, RefreshPolicy
from broker.tokens.token_file import copy_error, rotation_age

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.core.clock import Clock, Instant
    from broker.core.model import BoundToken

    OnAnswer = Callable[[BoundToken | TokenError], None]

MAXIMUM_JITTER = timedelta(seconds=10)


class _Call(Struct, frozen=True, kw_only=True, eq=False):
    """A call in progress: its audience, and when it began."""

    audience: str
    began: Instant


class _HeldToken(Struct, frozen=True, kw_only=True):
    """A token in hand: when it was requested, its lifetime, and the age at which to renew it."""

    token: BoundToken
    requested_at: Instant
    life: timedelta
    renewal_age: timedelta

    def age(self, at: Instant) -> timedelta:
        """Return its age by the clock that shows more: one may have jumped back, the other have been suspended."""
        return max(at.monotonic - self.requested_at.monotonic, at.now - self.requested_at.now)


class _State(Struct):
    """The state of one audience. No call starts before `quiet_until`, which is monotonic time."""

    held: _HeldToken | None = None
    call: _Call | None = None
    fault: TokenError | None = None
    failures: int = 0
    quiet_until: timedelta = ZERO


class RequestedTokenSource:
    """Tokens from the Kubernetes API, one for each audience. Its methods are for the loop's thread.

    ask: begins a call for an audience, and calls back with the token or with the error, once. It may do so at once.
    wake: makes the loop call `read` again soon.
    report: takes faults that do not matter yet, because a token is in hand.
    chance: returns a random number in [0, 1).
    """

    def __init__(  # noqa: PLR0913 - what it touches, all by keyword
        self,
        *,
        ask: Callable[[str, OnAnswer], None],
        clock: Clock,
        wake: Callable[[], None],
        report: Callable[[TokenError], None],
        chance: Callable[[], float],
        policy: RefreshPolicy,
    ) -> None:
        self._ask = ask
        self._clock = clock
        self._wake = wake
        self._report = report
        self._chance = chance
        self._policy = policy
        self._states: dict[str, _State] = {}

    def read(self, audience: str) -> BoundToken:
        """Return the token in hand for this audience, and start a call for a new one if that is due.

        Raises TokenError: the fault of the last call, or TokenAwaited before the first answer.
        """
        at = self._clock.read()
        state = self._states.setdefault(audience, _State())
        if state.call is None and at.monotonic >= state.quiet_until and _is_due(state.held, at):
            self._start_call(audience, state, at)
        if state.held is not None and state.held.age(at) < state.held.life:
            return state.held.token
        raise _explain_absence(state, audience, at)

    def _record_token(self, state: _State, call: _Call, token: BoundToken) -> None:
        state.call = None
        claims = token.claims
        life = claims.expires_at - (claims.issued_at or call.began.now)
        jitter = min(MAXIMUM_JITTER, life / 60) * self._chance()  # 10 s for lifetimes of 10 minutes or more
        renewal_age = rotation_age(life) - jitter
        state.held = _HeldToken(token=token, requested_at=call.began, life=life, renewal_age=renewal_age)
        state.fault, state.failures = None, 0
        # A clock jump may make the token due for renewal at once.
        state.quiet_until = call.began.monotonic + self._policy.soon.base

    def _record_failure(self, state: _State, error: TokenError, at: Instant) -> None:
        """Start the backoff after a failed call. The backoff starts over if the reason has changed."""
        before = state.fault
        is_same = before is not None and before.reason == error.reason
        state.call, state.fault = None, copy_error(error)
        state.failures = state.failures + 1 if is_same else 1
        lane = self._policy.slow if error.disposition is Disposition.SLOW else self._policy.soon
        state.quiet_until = at.monotonic + lane.ceiling(state.failures) * (1 + self._chance()) / 2
        is_new = before is None or before.message != error.message
        if is_new and state.held is not None and state.held.age(at) < state.held.life:
            self._report(error)  # `read` returns the token, so the loop does not see the fault

    def _start_call(self, audience: str, state: _State, at: Instant) -> None:
        call = state.call = _Call(audience=audience, began=at)

        def take_answer(answer: BoundToken | TokenError) -> None:
            if isinstance(answer, TokenError):
                self._record_failure(state, answer, self._clock.read())
            else:
                self._record_token(state, call, answer)
            self._wake()

        self._ask(audience, take_answer)


def _explain_absence(state: _State, audience: str, at: Instant) -> TokenError:
    """Return the error that says why no token is in hand, and when to look again if no call is in progress."""
    if state.fault is None:
        return TokenAwaited(f"A token for {audience} was requested from the Kubernetes API; no answer yet.")
    error = copy_error(state.fault)
    error.look_in = None if state.call else state.quiet_until - at.monotonic  # a call wakes the loop when it ends
    return error


def _is_due(held: _HeldToken | None, at: Instant) -> bool:
    return held is None or held.age(at) >= held.renewal_age
