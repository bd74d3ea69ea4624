"""The loop: observe, decide, act, record. One actor for all profiles; the only place that changes their state.

Rules: it never ends because of a BrokerError; exchanges happen on threads of their own and come back to its inbox as
messages, so one slow profile delays no other; credentials in hand are given up for newer ones only; a chained role
looks at its source's credentials as others do at their token, and never changes them. When to do what is
`schedule.decide`'s to say; how a call is made and how a file is written, its collaborators'.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

from broker.core import errors, events
from broker.core.errors import BrokerError, ExchangeUnavailable, PublishError, SourceUnavailable, TokenError
from broker.core.model import BoundToken, Generation, ProfileSpec, Proof, SourceSession, TemporaryCredentials
from broker.core.profile_state import Flight, Holding
from broker.core.schedule import ZERO, Action, Decision, Reading, Reason, RefreshPolicy, decide

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from queue import SimpleQueue

    from broker.core.clock import Clock, Instant

MAXIMUM_EXCHANGES_AT_ONCE = 8
EXCHANGE_DEADLINE = timedelta(seconds=30)
"""Timeouts bound each step of a call; this bounds the whole, should an answer come drop by drop."""


class TokenSource(Protocol):
    """Where a profile's bound token is found."""

    def read(self, audience: str) -> BoundToken:
        """Return a token fit to be sent for this audience now. Raises TokenError."""
        ...


class Exchanger(Protocol):
    """The door to STS. Called from several threads at once."""

    def exchange(self, profile: ProfileSpec, proof: Proof) -> TemporaryCredentials:
        """Return what STS gives for the token, or for the source's credentials. Raises ExchangeError, nothing else."""
        ...


class Sink(Protocol):
    """Where readers find credentials."""

    def publish(self, generations: Sequence[Generation]) -> None:
        """Make these generations the ones that readers see. Raises PublishError; repeating is safe."""
        ...

    def missing(self) -> frozenset[str]:
        """Return the profiles of which readers see nothing, published or not. Never raises."""
        ...


@dataclass(frozen=True, slots=True)
class Stop:
    """Message: leave the loop."""


@dataclass(frozen=True, slots=True)
class RefreshNow:
    """Message: refresh every profile now, whatever backoff and interval say."""


@dataclass(frozen=True, slots=True)
class Wake:
    """Message: look again now; a token has come, or why none will."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeEnded:
    """Message: a flight came back, with credentials, a fault, or a bug to be raised in the loop."""

    flight: Flight
    result: TemporaryCredentials | BaseException


Message = Stop | RefreshNow | Wake | ExchangeEnded
Looks = dict[tuple[int, str], BoundToken | TokenError]
"""What a turn has read, by source and audience: profiles that share a token share the look."""


@dataclass(slots=True, kw_only=True)
class Refresher:
    """Keeps the credentials of all profiles fresh.

    `tokens` is keyed by profile name, chained roles have none; `spawn` runs a task beside the loop, `chance` returns a
    number in [0, 1), `record` takes every event.
    """

    profiles: Sequence[ProfileSpec]
    tokens: Mapping[str, TokenSource]
    exchanger: Exchanger
    sink: Sink
    record: Callable[[events.Event], None]
    clock: Clock
    inbox: SimpleQueue[Message]
    spawn: Callable[[Callable[[], None]], None]
    chance: Callable[[], float]
    policy: RefreshPolicy
    _holdings: dict[str, Holding] = field(init=False)

    def __post_init__(self) -> None:
        """Begin with nothing in hand."""
        specs = {spec.name: spec for spec in self.profiles}
        self._holdings = {}
        for each in self.profiles:
            way = [each]
            while (chain := way[-1].chain) is not None and chain.source not in self._holdings:
                way.append(specs[chain.source])
            for spec in reversed(way):  # sources come before what is chained to them, in every turn too
                if spec.name not in self._holdings:
                    source = self._holdings[spec.chain.source] if spec.chain else None
                    self._holdings[spec.name] = Holding(spec=spec, jitter=self.chance(), source=source)

    def run(self, until: Callable[[], bool] = lambda: False) -> None:
        """Turn until told to stop, or until `until()` holds after a turn."""
        while True:
            wake_in = self.turn()
            if until():
                return
            while (message := self.clock.wait(self.inbox, wake_in)) is not None:
                if isinstance(message, Stop):
                    return
                if not isinstance(message, Wake):
                    self._receive(message)
                wake_in = ZERO

    def turn(self) -> timedelta:
        """Look at every profile once and act on what is decided. Return how long there is nothing to do."""
        at = self.clock.read()
        self.record(events.Turned(at=at))
        looks: Looks = {}
        wake_in = self.policy.nap
        to_publish: list[Holding] = []
        missing = self.sink.missing()
        places = MAXIMUM_EXCHANGES_AT_ONCE - sum(each.flight is not None for each in self._holdings.values())
        for holding in self._holdings.values():
            self._give_up_overdue(holding, at)
            if holding.spec.name in missing and holding.lost():
                self.record(events.PublishedLost(at=at, profile=holding.spec.name))
            reading = self._look(holding, at, looks)
            decision = self._decide(holding, reading, at)
            if decision.action is Action.PUBLISH:
                to_publish.append(holding)
            elif holding.flight is not None:
                continue  # its message, or the next nap, wakes the loop
            elif decision.action is Action.WAIT:
                wake_in = min(wake_in, decision.wake_in)
            elif isinstance(reading, Proof) and places > 0:
                places -= 1
                self._launch(holding, reading, decision.reason, at)
        if to_publish:
            self._publish(to_publish)
            return ZERO  # what was published, or could not be, changes what comes next
        return wake_in

    def _receive(self, message: RefreshNow | ExchangeEnded) -> None:
        at = self.clock.read()
        if isinstance(message, RefreshNow):
            self.record(events.RefreshRequested(at=at))
            for holding in self._holdings.values():
                holding.requested = True
            return
        flight, result, holding = message.flight, message.result, self._holdings[message.flight.profile]
        if isinstance(result, TemporaryCredentials):
            if holding.exchanged(flight, result, at, self.chance()):
                assert holding.generation is not None
                duration = at.monotonic - flight.began.monotonic
                self.record(events.Exchanged(at=at, generation=holding.generation, duration=duration))
        elif not isinstance(result, BrokerError):
            raise result
        elif holding.flight is flight:  # one that was given up has been counted already
            self._exchange_failed(holding, flight, result, at)

    def _look(self, holding: Holding, at: Instant, looks: Looks) -> Reading:
        """Return what the profile's next exchange would be made with, or why it cannot be made."""
        if holding.source is None:
            return self._look_at_token(holding, at, looks)
        return self._look_at_source(holding, holding.source, at)

    def _look_at_source(self, holding: Holding, source: Holding, at: Instant) -> SourceSession | SourceUnavailable:
        """Look at what the source holds, and tell if it is of no use, or is again."""
        before, session = holding.seen, source.session(at.now)
        if session is None:
            error = source.unavailable()
            holding.seen = error.reason
            if before != error.reason:
                self.record(events.SourceUnfit(at=at, profile=holding.spec.name, error=error))
            return error
        holding.seen = session.fingerprint
        if before == SourceUnavailable.reason:
            self.record(events.SourceObserved(at=at, profile=holding.spec.name))
        return session

    def _look_at_token(self, holding: Holding, at: Instant, looks: Looks) -> BoundToken | TokenError:
        """Read the token, and tell if it is not what it was."""
        name, before = holding.spec.name, holding.seen
        source, audience = self.tokens[name], holding.spec.audience
        reading = looks.get((id(source), audience))
        if reading is None:
            try:
                reading = source.read(audience)
            except TokenError as error:
                reading = error
            looks[id(source), audience] = reading
        if isinstance(reading, TokenError):
            told = (
                reading.reason if isinstance(reading, errors.TokenExpired) else reading.message
            )  # that tells the time
            holding.token_looks, holding.seen = holding.token_looks + 1, told
            if holding.seen != before:
                self.record(events.TokenUnfit(at=at, profile=name, error=reading))
        else:
            holding.token_looks, holding.seen = 0, reading.fingerprint
            if holding.seen != before:
                self.record(events.TokenObserved(at=at, profile=name, token=reading))
        return reading

    def _decide(self, holding: Holding, reading: Reading, at: Instant) -> Decision:
        decision = decide(holding.situation(at), reading, self.policy, holding.jitter)
        before, holding.decided = holding.decided, decision
        if before is None or (before.phase, before.refresh_at) != (decision.phase, decision.refresh_at):
            self.record(events.Decided(at=at, profile=holding.spec.name, decision=decision))
        return decision

    def _launch(self, holding: Holding, proof: Proof, reason: Reason, at: Instant) -> None:
        """Start an exchange beside the loop."""
        flight = holding.launched(proof, reason, at)

        def fly() -> None:
            result: TemporaryCredentials | BaseException
            try:
                result = self.exchanger.exchange(holding.spec, proof)
            except BaseException as error:  # noqa: BLE001 - a bug is to end the loop, not this thread in silence
                result = error
            self.inbox.put(ExchangeEnded(flight=flight, result=result))

        try:
            self.spawn(fly)
        except RuntimeError:
            self._exchange_failed(holding, flight, ExchangeUnavailable(*errors.NO_THREAD), at)

    def _give_up_overdue(self, holding: Holding, at: Instant) -> None:
        """Count an exchange that takes too long as failed; should it still succeed, its credentials are welcome."""
        flight = holding.flight
        if flight is not None and at.monotonic - flight.began.monotonic >= EXCHANGE_DEADLINE:
            error = ExchangeUnavailable(
                f"STS gave no complete answer within {EXCHANGE_DEADLINE.total_seconds():.0f} s.",
                "Look at what stands between the pod and STS: proxy, firewall, service mesh.",
            )
            self._exchange_failed(holding, flight, error, at)

    def _exchange_failed(self, holding: Holding, flight: Flight, error: BrokerError, at: Instant) -> None:
        failure = holding.exchange_failed(flight, error, at, self.chance())
        self.record(
            events.ExchangeFailed(
                at=at,
                profile=holding.spec.name,
                error=error,
                duration=at.monotonic - flight.began.monotonic,
                fingerprint=flight.proof.fingerprint,
                phase=holding.phase(at.now, self.policy),
                failures=failure.streak,
                retry_in=holding.retry_in(failure, at, self.policy),
            )
        )

    def _publish(self, holdings: Sequence[Holding]) -> None:
        """Hand the generations in hand to the sink, all at once."""
        generations = [holding.generation for holding in holdings if holding.generation is not None]
        try:
            self.sink.publish(generations)
        except PublishError as error:
            at = self.clock.read()
            for holding in holdings:
                self._publish_failed(holding, error, at)
            return
        at = self.clock.read()
        for holding, generation in zip(holdings, generations, strict=True):
            holding.published()
            refresh_at = self.policy.due_at(generation.credentials, holding.jitter)
            self.record(events.Published(at=at, generation=generation, refresh_at=refresh_at))

    def _publish_failed(self, holding: Holding, error: PublishError, at: Instant) -> None:
        failure = holding.publish_failed(error, at, self.chance())
        self.record(
            events.PublishFailed(
                at=at,
                profile=holding.spec.name,
                error=error,
                failures=failure.streak,
                retry_in=holding.retry_in(failure, at, self.policy),
            )
        )
