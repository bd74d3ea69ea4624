"""Bound tokens asked of the Kubernetes API, where no volume projects them; held in memory, and asked for again in time.

Rules: the loop is never kept waiting: `read` gives what is held, or says why nothing is, and has a thread ask when that
is due; a token is asked for again by the kubelet's rule, when 80 % of its life or 24 hours are over, less up to 10 s of
chance (k8s token_manager.go); while that fails, the one in hand is used to its end; failures are followed by the
backoff of exchanges. A token's age counts from when it was asked for, on both clocks, so that no clock that is off or
leaps makes a good token unfit, or an old one good. How the API is asked is not known here: `token_request_call`.
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
"""Timeouts bound each step of a call; this bounds the whole."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Flight:
    """A call under way: for which audience, and since when."""

    audience: str
    began: Instant


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    """A token in hand: when it was asked for, how long it lives, at what age it is to be replaced."""

    token: BoundToken
    asked: Instant
    life: timedelta
    replaced_at_age: timedelta

    def age(self, at: Instant) -> timedelta:
        """Return how old it is by the clock that says more: one may have leapt back, the other have slept."""
        return max(at.monotonic - self.asked.monotonic, at.now - self.asked.now)


@dataclass(slots=True)
class _State:
    """What is known of one audience; `quiet_until` is monotonic."""

    held: _Held | None = None
    flight: _Flight | None = None
    fault: TokenError | None = None
    failures: int = 0
    quiet_until: timedelta = ZERO


class RequestedTokenSource:
    """Tokens of the Kubernetes API, one for each audience. Its methods are for the loop's thread.

    `ask` makes one call, and raises TokenError; `spawn` runs a task beside the loop; `wake` makes the loop look again;
    `tell` takes the faults that a token in hand keeps from mattering yet; `chance` returns a number in [0, 1).
    """

    def __init__(  # noqa: PLR0913 - what it touches, all by keyword
        self,
        *,
        ask: Callable[[str], BoundToken],
        clock: Clock,
        spawn: Callable[[Callable[[], None]], None],
        wake: Callable[[], None],
        tell: Callable[[TokenError], None],
        chance: Callable[[], float],
        policy: RefreshPolicy,
    ) -> None:
        self._ask = ask
        self._clock = clock
        self._spawn = spawn
        self._wake = wake
        self._tell = tell
        self._chance = chance
        self._policy = policy
        self._states: dict[str, _State] = {}
        self._answers: SimpleQueue[tuple[_Flight, BoundToken | BaseException]] = SimpleQueue()

    def read(self, audience: str) -> BoundToken:
        """Return the token in hand for this audience, having another one asked for where that is due.

        Raises TokenError: what the API answered last, or TokenAwaited. What else a call raised is a bug, raised here.
        """
        at = self._clock.read()
        state = self._states.setdefault(audience, _State())
        self._take_answers(at)
        if state.flight is not None and at.monotonic - state.flight.began.monotonic >= DEADLINE:
            self._failed(state, _late(), at)
        if state.flight is None and at.monotonic >= state.quiet_until and _is_due(state.held, at):
            self._launch(audience, state, at)
        if state.held is not None and state.held.age(at) < state.held.life:
            return state.held.token
        raise _why_none(state, audience, at)

    def _take_answers(self, at: Instant) -> None:
        """Take in what has come since the last look. A failure that comes too late has been counted already."""
        while True:
            try:
                flight, answer = self._answers.get_nowait()
            except Empty:
                return
            state = self._states[flight.audience]
            if isinstance(answer, BoundToken):
                self._succeeded(state, flight, answer)
            elif not isinstance(answer, TokenError):
                raise answer
            elif state.flight is flight:
                self._failed(state, answer, at)

    def _succeeded(self, state: _State, flight: _Flight, token: BoundToken) -> None:
        if state.flight is flight:
            state.flight = None
        if state.held is not None and state.held.asked.monotonic > flight.began.monotonic:
            return  # of a call that was given up: a later one was quicker
        claims = token.claims
        life = claims.expires_at - (claims.issued_at or flight.began.now)
        jitter = min(MAXIMUM_JITTER, life / 60) * self._chance()  # the kubelet's, for all that live for 10 min or more
        state.held = _Held(token=token, asked=flight.began, life=life, replaced_at_age=rotation_age(life) - jitter)
        state.fault, state.failures = None, 0
        # A clock that leaps may make it old at once.
        state.quiet_until = flight.began.monotonic + self._policy.soon.base

    def _failed(self, state: _State, error: TokenError, at: Instant) -> None:
        """Begin the backoff that follows a failed call. It starts over where the fault is another kind's."""
        before = state.fault
        is_same = before is not None and before.reason == error.reason
        state.flight, state.fault = None, _copied(error)
        state.failures = state.failures + 1 if is_same else 1
        lane = self._policy.slow if error.disposition is Disposition.SLOW else self._policy.soon
        state.quiet_until = at.monotonic + lane.ceiling(state.failures) * (1 + self._chance()) / 2
        is_news = before is None or before.message != error.message
        if is_news and state.held is not None and state.held.age(at) < state.held.life:
            self._tell(error)  # the loop sees the token alone

    def _launch(self, audience: str, state: _State, at: Instant) -> None:
        """Have a thread make the call."""
        flight = state.flight = _Flight(audience=audience, began=at)

        def fly() -> None:
            answer: BoundToken | BaseException
            try:
                answer = self._ask(audience)
            except BaseException as error:  # noqa: BLE001 - a bug is to end the loop, not this thread in silence
                answer = error
            self._answers.put((flight, answer))
            self._wake()

        try:
            self._spawn(fly)
        except RuntimeError:
            self._failed(state, TokenUnavailable(*NO_THREAD), at)


def _why_none(state: _State, audience: str, at: Instant) -> TokenError:
    if state.fault is None:
        return TokenAwaited(f"The Kubernetes API has been asked for a token for {audience}; no answer yet.")
    error = _copied(state.fault)
    error.look_in = None if state.flight else state.quiet_until - at.monotonic  # a flight ends with a wake
    return error


def _copied(error: TokenError) -> TokenError:
    """Return the same fault without its traceback, to which every raise adds, and which holds on to what it passed."""
    return type(error)(error.message, error.remedy)


def _is_due(held: _Held | None, at: Instant) -> bool:
    return held is None or held.age(at) >= held.replaced_at_age


def _late() -> TokenError:
    return TokenUnavailable(
        f"The Kubernetes API gave no complete answer within {DEADLINE.total_seconds():.0f} s.",
        "Look at what stands between the pod and the API: NetworkPolicy, firewall, service mesh.",
    )
