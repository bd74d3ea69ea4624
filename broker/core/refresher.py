"""The main loop: read, decide, act, record. It handles all profiles, and only it changes their state.

Rules: no BrokerError ends the loop. Exchanges and publishes run elsewhere and return to the inbox of the loop as
messages, so that neither a slow profile nor a slow volume delays anything else. Credentials are replaced by later ones
only. A chained role uses the credentials of its source as other profiles use their token, and never changes them.
`schedule.decide` decides when to do what, and `exchange_places` which exchanges begin. How STS is called and how files
are written is up to the collaborators.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.core import errors, events
from broker.core.errors import PublishError, SourceUnavailable, TokenError
from broker.core.exchange_places import MAXIMUM_EXCHANGES_AT_ONCE, Candidate, select_candidates
from broker.core.model import BoundToken, Generation, ProfileSpec, Proof, SourceSession, TemporaryCredentials
from broker.core.profile_state import PendingExchange, ProfileState
from broker.core.publications import OVERDUE, PendingPublish
from broker.core.records import Struct, field, replace
from broker.core.schedule import ZERO, Action, Decision, Reading, Reason, RefreshPolicy, decide

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from datetime import timedelta
    from queue import SimpleQueue

    from broker.core.clock import Instant, WaitingClock
    from broker.core.collaborators import Companion, Exchanges, Publisher, TokenSource
    from broker.core.errors import BrokerError, ExchangeError


class Stop(Struct, frozen=True):
    """Message: leave the loop."""


class RefreshNow(Struct, frozen=True):
    """Message: refresh every profile, at first regardless of backoff and minimum interval, until it succeeds."""


class Wake(Struct, frozen=True):
    """Message: look again now, because a token has arrived, or files are missing."""


class Call(Struct, frozen=True):
    """Message: call this function with the time, on the thread of the loop."""

    function: Callable[[Instant], None]


class ExchangeEnded(Struct, frozen=True, kw_only=True):
    """Message: an exchange ended, with credentials or an error."""

    exchange: PendingExchange
    result: TemporaryCredentials | ExchangeError


class PublishEnded(Struct, frozen=True, kw_only=True):
    """Message: a publish ended, without an error, with one, or with a bug that the loop must raise."""

    publish: PendingPublish
    error: Exception | None


Message = Stop | RefreshNow | Wake | ExchangeEnded | PublishEnded | Call
TokenReadings = dict[tuple[int, str], BoundToken | TokenError | None]
"""The tokens that an iteration has read, by source and audience. Profiles that share a token share the reading."""


class Refresher(Struct, kw_only=True):
    """Keeps the credentials of all profiles fresh.

    `tokens` has the token source of each profile by name; chained roles have none. `chance` returns a random number in
    [0, 1). `record` receives every event.
    """

    profiles: Sequence[ProfileSpec]
    tokens: Mapping[str, TokenSource]
    exchanges: Exchanges
    publisher: Publisher[Generation]
    record: Callable[[events.Event], None]
    clock: WaitingClock
    inbox: SimpleQueue[Message]
    chance: Callable[[], float]
    policy: RefreshPolicy
    companion: Companion | None = None
    _states: dict[str, ProfileState] = field(default_factory=dict)
    _publish: PendingPublish | None = None

    def __post_init__(self) -> None:
        """Create the state of every profile, without credentials. Sources come before the roles chained to them."""
        specs = {spec.name: spec for spec in self.profiles}
        for profile in self.profiles:
            chain = [profile]
            while (link := chain[-1].chain) is not None and link.source not in self._states:
                chain.append(specs[link.source])
            for spec in reversed(chain):
                if spec.name not in self._states:
                    source = self._states[spec.chain.source] if spec.chain else None
                    self._states[spec.name] = ProfileState(spec=spec, jitter=self.chance(), source=source)

    def restore(self, generations: Mapping[str, Generation], incomplete: Collection[str] = ()) -> None:
        """Hold the generations, by profile, that readers have from an earlier start. Call it before the first turn.

        Those of the `incomplete` profiles are published again, because some of their files are missing or outdated.
        """
        at = self.clock.read()
        for name, state in self._states.items():
            if name in generations:
                generation = state.restore(generations[name], unpublished=name in incomplete)
                refresh_at = self.policy.due_at(generation.credentials, state.jitter)
                phase = state.get_phase(at.now, self.policy)
                self.record(events.Restored(at=at, generation=generation, phase=phase, refresh_at=refresh_at))

    def run(self, until: Callable[[], bool] = lambda: False) -> None:
        """Iterate until a Stop message arrives, or until `until()` is true."""
        while not until():
            wake_in = self.turn()
            while not until() and (message := self.clock.wait(self.inbox, wake_in)) is not None:
                if isinstance(message, Stop):
                    return
                if not isinstance(message, Wake):
                    self._receive(message)
                wake_in = ZERO

    def turn(self) -> timedelta:
        """Run one iteration: examine every profile, and act. Return how long there is nothing to do."""
        at = self.clock.read()
        self.record(events.Turned(at=at))
        readings: TokenReadings = {}
        wake_in = self.policy.nap
        to_publish: list[ProfileState] = []
        candidates: list[Candidate] = []
        missing = self.publisher.missing()
        for state in self._states.values():
            if state.spec.name in missing and state.mark_lost():
                self.record(events.PublishedLost(at=at, profile=state.spec.name))
            source = state.source
            reading = self._read_source(state, source, at) if source else self._read_token(state, at, readings)
            if reading is None:
                continue  # the token is being read, and its arrival wakes the loop
            decision = self._decide(state, reading, at)
            if decision.action is Action.PUBLISH:
                to_publish.append(state)
            elif state.pending is not None:
                continue  # its end wakes the loop
            elif decision.action is Action.WAIT:
                wake_in = min(wake_in, decision.wake_in)
            elif isinstance(reading, Proof):
                candidates.append(Candidate(state=state, proof=reading, reason=decision.reason))
        self._start_exchanges(candidates, at)
        if to_publish:
            self._begin_publish(to_publish, at)
        if self.companion is not None:
            wake_in = min(wake_in, self.companion.turn(at, lambda name: self._states[name].get_session(at.now)))
        return min(wake_in, self._report_overdue_publish(at))

    def _receive(self, message: RefreshNow | ExchangeEnded | PublishEnded | Call) -> None:
        at = self.clock.read()
        if isinstance(message, Call):
            message.function(at)
            return
        if isinstance(message, PublishEnded):
            self._end_publish(message.publish, message.error, at)
            return
        if isinstance(message, RefreshNow):
            self.record(events.RefreshRequested(at=at))
            for state in self._states.values():
                state.requests += 1
            if self.companion is not None:
                self.companion.refresh()
            return
        exchange, result, state = message.exchange, message.result, self._states[message.exchange.profile]
        if isinstance(result, TemporaryCredentials):
            previous = state.credentials
            generation = state.accept_credentials(exchange, result, at, self.chance(), self.policy)
            duration = at.monotonic - exchange.began.monotonic
            self.record(events.Exchanged(at=at, generation=generation, duration=duration, previous=previous))
        else:
            self._fail_exchange(state, exchange, result, at)

    def _read_source(self, state: ProfileState, source: ProfileState, at: Instant) -> SourceSession | SourceUnavailable:
        """Return the credentials of the source. Record when they become unavailable or available."""
        before, session = state.last_observation, source.get_session(at.now)
        if session is None:
            error = source.explain_unavailability()
            state.last_observation = error.reason
            if before != error.reason:
                self.record(events.SourceUnfit(at=at, profile=state.spec.name, error=error))
            return error
        state.last_observation = session.fingerprint
        if before == SourceUnavailable.reason:
            self.record(events.SourceObserved(at=at, profile=state.spec.name))
        return session

    def _read_token(self, state: ProfileState, at: Instant, readings: TokenReadings) -> BoundToken | TokenError | None:
        """Return the token. Record when it changes, or when the reason why there is none does."""
        name, before = state.spec.name, state.last_observation
        source, key = self.tokens[name], (id(self.tokens[name]), state.spec.audience)
        if key not in readings:
            try:
                readings[key] = source.read(state.spec.audience)
            except TokenError as error:
                readings[key] = error
        reading = readings[key]
        if reading is None:
            return None
        if isinstance(reading, TokenError):
            has_time = isinstance(reading, errors.TokenExpired)  # its message changes at each read
            state.token_failures += 1
            state.last_observation = reading.reason if has_time else reading.message
            if state.last_observation != before:
                self.record(events.TokenUnfit(at=at, profile=name, error=reading))
        else:
            state.token_failures, state.last_observation = 0, reading.fingerprint
            if state.last_observation != before:
                self.record(events.TokenObserved(at=at, profile=name, token=reading))
        return reading

    def _decide(self, state: ProfileState, reading: Reading, at: Instant) -> Decision:
        decision = decide(state.describe(at, can_publish=self._publish is None), reading, self.policy, state.jitter)
        before, state.last_decision = state.last_decision, decision
        if before is None or (before.phase, before.refresh_at) != (decision.phase, decision.refresh_at):
            self.record(events.Decided(at=at, profile=state.spec.name, decision=decision))
        return decision

    def _start_exchanges(self, candidates: Sequence[Candidate], at: Instant) -> None:
        """Start as many exchanges as there are free places. The end of an exchange wakes the loop for the others."""
        free_places = MAXIMUM_EXCHANGES_AT_ONCE - sum(each.pending is not None for each in self._states.values())
        for candidate in select_candidates(candidates, free_places):
            self._start_exchange(candidate.state, candidate.proof, candidate.reason, at)

    def _start_exchange(self, state: ProfileState, proof: Proof, reason: Reason, at: Instant) -> None:
        """Start an exchange in parallel to the loop."""
        exchange = state.begin_exchange(proof, reason, at)
        self.exchanges.begin(
            state.spec, proof, lambda result: self.inbox.put(ExchangeEnded(exchange=exchange, result=result))
        )

    def _fail_exchange(self, state: ProfileState, exchange: PendingExchange, error: BrokerError, at: Instant) -> None:
        failure = state.fail_exchange(exchange, error, at, self.chance())
        self.record(
            events.ExchangeFailed(
                at=at,
                profile=state.spec.name,
                error=error,
                duration=at.monotonic - exchange.began.monotonic,
                fingerprint=exchange.proof.fingerprint,
                phase=state.get_phase(at.now, self.policy),
                failures=failure.streak,
                retry_in=state.get_backoff(failure, at, self.policy),
            )
        )

    def _begin_publish(self, states: Sequence[ProfileState], at: Instant) -> None:
        """Begin to publish the credentials of these profiles, all at once. Its end wakes the loop."""
        generations = tuple(state.generation for state in states if state.generation is not None)
        publish = self._publish = PendingPublish(generations=generations, began=at)
        self.publisher.begin(generations, lambda error: self.inbox.put(PublishEnded(publish=publish, error=error)))

    def _end_publish(self, publish: PendingPublish, error: Exception | None, at: Instant) -> None:
        self._publish = None
        if error is not None and not isinstance(error, PublishError):
            raise error
        for generation in publish.generations:
            state = self._states[generation.profile]
            if error is not None:
                self._fail_publish(state, error, at)
                continue
            state.mark_published(generation)
            refresh_at = self.policy.due_at(generation.credentials, generation.jitter)
            self.record(events.Published(at=at, generation=generation, refresh_at=refresh_at))

    def _report_overdue_publish(self, at: Instant) -> timedelta:
        """Record once that the volume hangs, and go on. Return when to look again; the publish may still succeed."""
        publish = self._publish
        if publish is None or publish.is_reported:
            return self.policy.nap
        remaining = publish.get_remaining_time(at)
        if remaining <= ZERO:
            self._publish = replace(publish, is_reported=True)
            for generation in publish.generations:
                error = PublishError(*OVERDUE, sink=self.publisher.name)
                self._fail_publish(self._states[generation.profile], error, at)
            return self.policy.nap
        return remaining

    def _fail_publish(self, state: ProfileState, error: PublishError, at: Instant) -> None:
        failure = state.fail_publish(error, at, self.chance())
        self.record(
            events.PublishFailed(
                at=at,
                profile=state.spec.name,
                error=error,
                failures=failure.streak,
                retry_in=state.get_backoff(failure, at, self.policy),
            )
        )
