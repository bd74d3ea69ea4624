"""Bound tokens from the Kubernetes API, for pods without a projected volume: kept in memory and renewed in time.

The loop never waits: `read` returns the token in hand, or says why there is none, and starts a call on a thread when
one is due. A token is renewed by the kubelet's rule (k8s token_manager.go): when 80 % of its life or 24 hours have
passed, less a random share of 10 s. While renewal fails, the token in hand is used until it expires. Failed calls back
off as failed exchanges do. A token's age counts from the request for it, on both clocks, so that a wrong or jumping
clock neither makes a good token unfit nor an old one good.
How the API is called is not known here: see token_request_api.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from broker.core.errors import NO_THREAD, Disposition, TokenAwaited, TokenError, TokenUnavailable
from broker.core.model import BoundToken
from broker.core.schedule import ZERO, RefreshPolicy
from broker.tokens.token_file import rotation_age

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.core.clock import Clock, Instant

MAXIMUM_JITTER = timedelta(seconds=10)
DEADLINE = timedelta(seconds=30)
"""When the loop gives up on a call whose thread does not return; longer than the call's own timeout."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Call:
    """A call in progress: its audience, and when it began."""

    audience: str
    began: Instant


@dataclass(frozen=True, slots=True, kw_only=True)
class _HeldToken:
    """A token in hand: when it was requested, its lifetime, and the age at which to renew it."""

    token: BoundToken
    requested_at: Instant
    life: timedelta
    renewal_age: timedelta

    def age(self, at: Instant) -> timedelta:
        """Return its age by the clock that shows more: one may have jumped back, the other have been suspended."""
        return max(at.monotonic - self.requested_at.monotonic, at.now - self.requested_at.now)


@dataclass(slots=True)
class _State:
    """The state of one audience. No call starts before `quiet_until`, which is monotonic time."""

    held: _HeldToken | None = None
    call: _Call | None = None
    fault: TokenError | None = None
    failures: int = 0
    quiet_until: timedelta = ZERO


class RequestedTokenSource:
    """Tokens from the Kubernetes API, one for each audience. Its methods are for the loop's thread.

    ask: makes one call for an audience; raises TokenError.
    spawn: runs a task on another thread; raises RuntimeError if there is none left.
    wake: makes the loop call `read` again soon.
    report: takes faults that do not matter yet, because a token is in hand.
    chance: returns a random number in [0, 1).
    """

    def __init__(  # noqa: PLR0913 - what it touches, all by keyword
        self,
        *,
        ask: Callable[[str], BoundToken],
        clock: Clock,
        spawn: Callable[[Callable[[], None]], None],
        wake: Callable[[], None],
        report: Callable[[TokenError], None],
        chance: Callable[[], float],
        policy: RefreshPolicy,
    ) -> None:
        self._ask = ask
        self._clock = clock
        self._spawn = spawn
        self._wake = wake
        self._report = report
        self._chance = chance
        self._policy = policy
        self._states: dict[str, _State] = {}
        self._answers: SimpleQueue[tuple[_Call, BoundToken | BaseException]] = SimpleQueue()

    def read(self, audience: str) -> BoundToken:
        """Return the token in hand for this audience, and start a call for a new one if that is due.

        Raises TokenError: the fault of the last call, or TokenAwaited before the first answer. Any other exception of a
        call is a bug, and is raised here.
        """
        at = self._clock.read()
        state = self._states.setdefault(audience, _State())
        self._take_answers(at)
        if state.call is not None and at.monotonic - state.call.began.monotonic >= DEADLINE:
            self._record_failure(state, _overdue_error(), at)
        if state.call is None and at.monotonic >= state.quiet_until and _is_due(state.held, at):
            self._start_call(audience, state, at)
        if state.held is not None and state.held.age(at) < state.held.life:
            return state.held.token
        raise _explain_absence(state, audience, at)

    def _take_answers(self, at: Instant) -> None:
        """Process the answers since the last call of `read`. A failure after the deadline has been counted already."""
        while True:
            try:
                call, answer = self._answers.get_nowait()
            except Empty:
                return
            state = self._states[call.audience]
            if isinstance(answer, BoundToken):
                self._record_token(state, call, answer)
            elif not isinstance(answer, TokenError):
                raise answer
            elif state.call is call:
                self._record_failure(state, answer, at)

    def _record_token(self, state: _State, call: _Call, token: BoundToken) -> None:
        if state.call is call:
            state.call = None
        if state.held is not None and state.held.requested_at.monotonic > call.began.monotonic:
            return  # this call was given up, and a later one was faster
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
        state.call, state.fault = None, _copy(error)
        state.failures = state.failures + 1 if is_same else 1
        lane = self._policy.slow if error.disposition is Disposition.SLOW else self._policy.soon
        state.quiet_until = at.monotonic + lane.ceiling(state.failures) * (1 + self._chance()) / 2
        is_new = before is None or before.message != error.message
        if is_new and state.held is not None and state.held.age(at) < state.held.life:
            self._report(error)  # `read` returns the token, so the loop does not see the fault

    def _start_call(self, audience: str, state: _State, at: Instant) -> None:
        """Make the call on another thread."""
        call = state.call = _Call(audience=audience, began=at)

        def make_call() -> None:
            answer: BoundToken | BaseException
            try:
                answer = self._ask(audience)
            except BaseException as error:  # noqa: BLE001 - a bug must end the loop, not only this thread
                answer = error
            self._answers.put((call, answer))
            self._wake()

        try:
            self._spawn(make_call)
        except RuntimeError:
            self._record_failure(state, TokenUnavailable(*NO_THREAD), at)


def _explain_absence(state: _State, audience: str, at: Instant) -> TokenError:
    """Return the error that says why no token is in hand, and when to look again if no call is in progress."""
    if state.fault is None:
        return TokenAwaited(f"A token for {audience} was requested from the Kubernetes API; no answer yet.")
    error = _copy(state.fault)
    error.look_in = None if state.call else state.quiet_until - at.monotonic  # a call wakes the loop when it ends
    return error


def _copy(error: TokenError) -> TokenError:
    """Return the same error without its traceback, which grows with every raise and keeps its frames alive."""
    return type(error)(error.message, error.remedy)


def _is_due(held: _HeldToken | None, at: Instant) -> bool:
    return held is None or held.age(at) >= held.renewal_age


def _overdue_error() -> TokenError:
    return TokenUnavailable(
        f"The Kubernetes API gave no complete answer within {DEADLINE.total_seconds():.0f} s.",
        "Check what is between the pod and the API: NetworkPolicy, firewall, service mesh.",
    )
