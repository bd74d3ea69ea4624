"""Simulates weeks of the main loop in a second: a virtual clock, and a kubelet, STS and disk that fail on demand.

The loop under test is the real one; everything that it calls is simulated. The kubelet rotates tokens by its own rule,
up to a sync period late. STS responds after a latency, with messages that arrive while the loop waits. Jumps of the
wall clock affect kubelet and STS as well.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from queue import SimpleQueue
from random import Random
from typing import TYPE_CHECKING

from msgspec.structs import replace

from broker.core.errors import ExchangeError, ExchangeUnavailable, PublishError, TokenExpired, TokenUnavailable
from broker.core.model import BoundToken, SourceSession
from broker.core.refresher import Message as LoopMessage
from broker.core.refresher import Refresher, Stop
from broker.core.schedule import RefreshPolicy
from broker.core.session_sizes import UNKNOWN_SIZES, SessionSizes
from broker.core.status import Status
from broker.worker.pool import JOB_SECONDS
from tests.support.fakes import FakeClock, InlinePublisher, make_credentials, make_profile, make_token

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from broker.core.clock import Instant, Message
    from broker.core.events import Event
    from broker.core.model import Generation, ProfileSpec, Proof, TemporaryCredentials
    from broker.core.status import ProfileStatus, Snapshot
    from broker.core.web_identity_status import WebIdentityTokenStatuses

ZERO = timedelta(0)
EXCHANGE_DEADLINE = timedelta(seconds=JOB_SECONDS)
LATENCY = timedelta(milliseconds=200)
NEVER = timedelta(days=365)
"""The delay of an answer that does not arrive within a test."""
SYNC_LAG = timedelta(seconds=70)


class WorldClock(FakeClock):
    """A FakeClock with scheduled tasks, which run while the loop waits."""

    def __init__(self) -> None:
        super().__init__()
        self._tasks: list[tuple[timedelta, int, Callable[[], None]]] = []
        self._number = count()

    def after(self, delay: timedelta, task: Callable[[], None]) -> None:
        """Schedule a task."""
        heapq.heappush(self._tasks, (self.monotonic + delay, next(self._number), task))

    def wait(self, inbox: SimpleQueue[Message], duration: timedelta) -> Message | None:
        """Let time pass and run due tasks until there is a message. Return it, or None after the duration."""
        end = self.monotonic + duration
        while inbox.empty():
            if not self._tasks or self._tasks[0][0] > end:
                self.advance(end - self.monotonic)
                return None
            at, _, task = heapq.heappop(self._tasks)
            self.advance(max(at - self.monotonic, ZERO))
            task()
        return inbox.get_nowait()


@dataclass(kw_only=True)
class World:
    """The simulated environment of a refresher with these profiles."""

    profiles: Sequence[ProfileSpec] = (make_profile(),)
    token_lifetime: timedelta = timedelta(hours=1)
    seed: int = 0
    policy: RefreshPolicy = field(default_factory=RefreshPolicy)
    chance: Callable[[], float] | None = None
    clock: WorldClock = field(default_factory=WorldClock)
    sts_fault: Callable[[], ExchangeError] | None = None
    denied_profile: str = ""
    token_absent: bool = False
    kubelet_stuck: bool = False
    disk_fault: bool = False
    answer_after: timedelta = LATENCY
    answer_delays: dict[str, timedelta] = field(default_factory=dict)
    """How much later the answers for these profiles arrive."""
    faults: dict[str, Callable[[], ExchangeError]] = field(default_factory=dict)
    """Faults of single profiles, which last."""
    granted_lifetime: timedelta | None = None
    """The lifetime of new sessions, which replaces the requested one."""
    sizes: SessionSizes = UNKNOWN_SIZES
    """The sizes that STS reports of new sessions."""
    clock_skew: timedelta = ZERO
    """The clock of STS minus that of the node, which the broker measures."""
    calls: list[tuple[Instant, str]] = field(default_factory=list)
    """Time and profile of every exchange that reached STS."""
    expired_proofs_sent: int = 0
    """The number of exchanges with an expired token or with expired credentials of a source."""
    sources_used: dict[str, list[Generation]] = field(default_factory=dict)
    """The source generations with which each chained role was assumed, in order."""
    published: dict[str, Generation] = field(default_factory=dict)
    on_publish: Callable[[Generation | None, Generation], None] = lambda _before, _after: None
    events: list[Event] = field(default_factory=list)
    web_identity_tokens: WebIdentityTokenStatuses | None = None
    """Set by a TokenWorld."""

    def __post_init__(self) -> None:
        """Create the first token and the loop."""
        self.random = Random(self.seed)
        self.inbox: SimpleQueue[LoopMessage] = SimpleQueue()
        self.status = Status(self.profiles)
        self._serial = count(1)
        self._token = make_token(issued_at=self.clock.now, lifetime=self.token_lifetime)
        self.refresher = Refresher(
            profiles=self.profiles,
            tokens={profile.name: self for profile in self.profiles if profile.chain is None},
            exchanges=self,
            publisher=InlinePublisher(self),
            record=self._record,
            clock=self.clock,
            inbox=self.inbox,
            chance=self.chance or self.random.random,
            policy=self.policy,
        )

    def live(self, duration: timedelta) -> None:
        """Run the loop for this duration."""
        self.clock.after(duration, lambda: self.inbox.put(Stop()))
        self.refresher.run()

    def snapshot(self) -> Snapshot:
        """Return the status, with that of the web identity tokens if there are any."""
        snapshot = self.status.snapshot()
        if self.web_identity_tokens is not None:
            snapshot = replace(snapshot, web_identity_tokens=self.web_identity_tokens.snapshot())
        return snapshot

    @property
    def healthy(self) -> bool:
        """Whether nothing prevents a refresh."""
        return self.sts_fault is None and not (self.token_absent or self.kubelet_stuck or self.disk_fault)

    # The kubelet.
    def read(self, audience: str) -> BoundToken:
        """Return the token in the file, rotated if due."""
        del audience
        if self.token_absent:
            raise TokenUnavailable("No token.")
        issued_at = self._token.claims.issued_at
        assert issued_at is not None
        age = self.clock.now - issued_at
        due = age > min(self.token_lifetime * 0.8, timedelta(hours=24)) + min(SYNC_LAG, self.token_lifetime / 10)
        if (due or age < ZERO) and not self.kubelet_stuck:
            self._token = make_token(issued_at=self.clock.now, lifetime=self.token_lifetime, serial=next(self._serial))
        if self._token.claims.expires_at <= self.clock.now:
            raise TokenExpired("Expired.")
        return self._token

    # STS.
    def begin(
        self, profile: ProfileSpec, proof: Proof, on_end: Callable[[TemporaryCredentials | ExchangeError], None]
    ) -> None:
        """Begin an exchange. It ends with its answer, or at its deadline."""

        def call() -> None:
            try:
                answer: TemporaryCredentials | ExchangeError = self.exchange(profile, proof)
            except ExchangeError as error:
                answer = error
            delay = self.answer_delays.get(profile.name, ZERO)
            remaining = EXCHANGE_DEADLINE - self.answer_after
            if delay > remaining:
                answer, delay = ExchangeUnavailable("Overdue."), remaining
            if delay > ZERO:
                self.clock.after(delay, lambda: on_end(answer))
            else:
                on_end(answer)

        if self.answer_after >= EXCHANGE_DEADLINE:
            self.clock.after(EXCHANGE_DEADLINE, lambda: on_end(ExchangeUnavailable("Overdue.")))
        else:
            self.clock.after(self.answer_after, call)

    def exchange(self, profile: ProfileSpec, proof: Proof) -> TemporaryCredentials:
        """Handle one exchange, and count it if its proof has expired."""
        self.calls.append((self.clock.read(), profile.name))
        if isinstance(proof, BoundToken):  # it may expire in transit
            self.expired_proofs_sent += proof.claims.expires_at <= self.clock.now - self.answer_after
        else:
            self.expired_proofs_sent += proof.generation.credentials.lapses_at <= self.clock.now
        if isinstance(proof, SourceSession):
            self.sources_used.setdefault(profile.name, []).append(proof.generation)
        if self.sts_fault is not None and self.denied_profile in {"", profile.name}:
            raise self.sts_fault()
        if (fault := self.faults.get(profile.name)) is not None:
            raise fault()
        lifetime = self.granted_lifetime or profile.duration
        return make_credentials(
            received_at=self.clock.now,
            lifetime=lifetime,
            expires_at=self.clock.now + self.clock_skew + lifetime,
            serial=next(self._serial),
            clock_skew=self.clock_skew,
            sizes=self.sizes,
        )

    # The disk.
    def publish(self, generations: Sequence[Generation]) -> None:
        """Store the generations that readers see."""
        if self.disk_fault:
            raise PublishError("Full.", sink="files", errno=28)
        for generation in generations:
            self.on_publish(self.published.get(generation.profile), generation)
            self.published[generation.profile] = generation

    def missing(self) -> frozenset[str]:
        """Return the profiles without a published generation."""
        return frozenset(profile.name for profile in self.profiles if profile.name not in self.published)

    def _record(self, event: Event) -> None:
        self.events.append(event)
        self.status.record(event)


def usable_until(world: World, profile: str = "default") -> datetime | None:
    """Return the time until which readers can use the published credentials."""
    generation = world.published.get(profile)
    return generation.credentials.usable_until if generation else None


def profile_status(world: World, name: str = "default") -> ProfileStatus:
    """Return the status of one profile."""
    return next(profile for profile in world.status.snapshot().profiles if profile.profile == name)


def most_calls_within(world: World, window: timedelta, profile: str = "default") -> int:
    """Return the largest number of calls in any window of this length, in monotonic time."""
    times = [instant.monotonic for instant, name in world.calls if name == profile]
    most = first = 0
    for last, time in enumerate(times):
        while time - times[first] >= window:
            first += 1
        most = max(most, last - first + 1)
    return most


def raising(kind: type[ExchangeError]) -> Callable[[], ExchangeError]:
    """Return a function that creates an error of this kind."""
    return lambda: kind("Made up.")
