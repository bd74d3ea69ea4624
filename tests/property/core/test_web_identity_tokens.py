"""Web identity tokens over simulated days: readers never have an expired one, and the calls are bounded."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from broker.core.errors import ExchangeThrottled, ExchangeUnavailable, SourceRejected, WebIdentityTokenDenied
from broker.core.loop_calls import Call
from broker.core.model import Secret
from broker.core.web_identity_keeper import WebIdentityTokenKeeper
from broker.core.web_identity_spec import WebIdentityTokenSpec
from broker.core.web_identity_token import WebIdentityToken
from tests.support.fakes import InlinePublisher, make_profile
from tests.support.world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from broker.core.clock import Instant
    from broker.core.errors import ExchangeError
    from broker.core.model import ProfileSpec, SourceSession

LATENCY = timedelta(milliseconds=300)
ERRORS = (ExchangeThrottled, ExchangeUnavailable, SourceRejected, WebIdentityTokenDenied)


class TokenWorld:
    """A simulated loop with one profile and its token. `error` is what STS answers, None for tokens."""

    def __init__(self, lifetime: timedelta, session: timedelta, seed: int) -> None:
        spec = WebIdentityTokenSpec(audiences=("vault",), duration=lifetime)
        profile = make_profile(duration=session, web_identity_token=spec)
        self.world = World(profiles=(profile,), seed=seed)
        self.error: type[ExchangeError] | None = None
        self.calls: list[Instant] = []
        self.requested: list[timedelta] = []
        self.read: WebIdentityToken | None = None
        self.lapses = 0
        self.escalations = 0
        self.world.refresher.companion = WebIdentityTokenKeeper(
            profiles=(profile,),
            requests=self,
            publisher=InlinePublisher(self),
            record=lambda _: None,
            run_on_loop=lambda function: self.world.inbox.put(Call(function=function)),
            chance=Random(seed).random,
            policy=self.world.policy,
        )

    def begin(
        self,
        profile: ProfileSpec,
        session: SourceSession,
        duration: timedelta,
        on_end: Callable[[WebIdentityToken | ExchangeError], None],
    ) -> None:
        """Answer a call after some time, as STS does: no token may outlive the session."""
        began = self.world.clock.read()
        self.calls.append(began)
        self.requested.append(duration)
        self.escalations += self.world.clock.now + LATENCY + duration > session.generation.credentials.lapses_at
        token = WebIdentityToken(
            profile=profile.name,
            raw=Secret("a.b.c"),
            received_at=began.now,
            expires_at=began.now + duration,
            lifetime=duration,
        )
        answer = self.error("No.") if self.error else token
        self.world.clock.after(LATENCY, lambda: on_end(answer))

    def publish(self, tokens: Sequence[WebIdentityToken]) -> None:
        """Replace what readers see, and count if that had expired."""
        (token,) = tokens
        if self.read is not None and self.read.lapses_at <= self.world.clock.now:
            self.lapses += 1
        self.read = token

    def missing(self) -> frozenset[str]:
        """Return nothing, because no file is deleted here."""
        return frozenset()


LIFETIMES = st.integers(60, 3600).map(lambda number: timedelta(seconds=number))
SESSIONS = st.integers(900, 43_200).map(lambda number: timedelta(seconds=number))


@given(lifetime=LIFETIMES, session=SESSIONS, seed=st.integers(0, 2**16))
@settings(max_examples=25, deadline=None)
def test_token_never_lapses_while_sts_answers(lifetime: timedelta, session: timedelta, seed: int) -> None:
    world = TokenWorld(min(lifetime, session), session, seed)
    duration = timedelta(hours=4)
    world.world.live(duration)
    assert (world.lapses, world.escalations) == (0, 0)
    assert world.read is not None
    assert world.read.lapses_at > world.world.clock.now
    assert all(timedelta(seconds=60) <= each <= lifetime for each in world.requested)
    assert len(world.calls) <= duration / (min(world.requested) * 0.4) + 1


@given(lifetime=LIFETIMES, error=st.sampled_from(ERRORS), seed=st.integers(0, 2**16))
@settings(max_examples=25, deadline=None)
def test_refused_calls_are_bounded_and_change_nothing_for_the_credentials(
    lifetime: timedelta, error: type[ExchangeError], seed: int
) -> None:
    world = TokenWorld(lifetime, timedelta(hours=1), seed)
    undisturbed = World(profiles=world.world.profiles, seed=seed)
    world.error = error
    for each in (world.world, undisturbed):
        each.live(timedelta(hours=3))
    assert len(world.calls) <= 9 + 3 * 3600 / 36
    times = [[at.monotonic for at, _ in each.calls] for each in (world.world, undisturbed)]
    assert len(times[0]) == len(times[1])
    assert all(abs(one - other) < timedelta(seconds=1) for one, other in zip(*times, strict=True))


@given(
    lifetime=LIFETIMES,
    jumps=st.lists(st.integers(-90_000, 90_000), max_size=6),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=25, deadline=None)
def test_calls_are_bounded_however_the_clock_jumps(lifetime: timedelta, jumps: list[int], seed: int) -> None:
    world = TokenWorld(lifetime, timedelta(hours=1), seed)
    for jump in jumps:
        world.world.live(timedelta(minutes=20))
        world.world.clock.jump(timedelta(seconds=jump))
    world.world.live(timedelta(minutes=20))
    moments = [call.monotonic for call in world.calls]
    gaps = [after - before for before, after in pairwise(moments)]
    assert all(gap >= timedelta(seconds=20) for gap in gaps)
    assert world.read is not None
    held_for = world.world.clock.monotonic - moments[-1]
    assert held_for < lifetime, "a jump back does not keep an old token"
