"""Web identity tokens over simulated days: readers never have an expired one, and the calls are bounded."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from broker.core.errors import ExchangeThrottled, ExchangeUnavailable, SourceRejected, WebIdentityTokenDenied
from broker.core.web_identity_spec import WebIdentityTokenSpec
from tests.support.fakes import make_profile
from tests.support.token_world import TokenWorld
from tests.support.world import World, raising

if TYPE_CHECKING:
    from broker.core.errors import ExchangeError

ERRORS = (ExchangeThrottled, ExchangeUnavailable, SourceRejected, WebIdentityTokenDenied)


def make_world(lifetime: timedelta, session: timedelta, seed: int) -> TokenWorld:
    """Return a loop with one profile and its token."""
    spec = WebIdentityTokenSpec(audiences=("vault",), duration=lifetime)
    profile = make_profile(duration=session, web_identity_token=spec)
    return TokenWorld(World(profiles=(profile,), seed=seed), seed)


LIFETIMES = st.integers(60, 3600).map(lambda number: timedelta(seconds=number))
SESSIONS = st.integers(900, 43_200).map(lambda number: timedelta(seconds=number))


@given(lifetime=LIFETIMES, session=SESSIONS, seed=st.integers(0, 2**16))
@settings(max_examples=25, deadline=None)
def test_token_never_lapses_while_sts_answers(lifetime: timedelta, session: timedelta, seed: int) -> None:
    world = make_world(min(lifetime, session), session, seed)
    duration = timedelta(hours=4)
    world.world.live(duration)
    assert (world.lapses, world.escalations) == (0, 0)
    assert world.read["default"].lapses_at > world.world.clock.now
    assert all(timedelta(seconds=60) <= each <= lifetime for each in world.requested)
    assert len(world.calls) <= duration / (min(world.requested) * 0.4) + 1


@given(lifetime=LIFETIMES, error=st.sampled_from(ERRORS), seed=st.integers(0, 2**16))
@settings(max_examples=25, deadline=None)
def test_refused_calls_are_bounded_and_change_nothing_for_the_credentials(
    lifetime: timedelta, error: type[ExchangeError], seed: int
) -> None:
    world = make_world(lifetime, timedelta(hours=1), seed)
    undisturbed = World(profiles=world.world.profiles, seed=seed)
    world.error = raising(error)
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
    world = make_world(lifetime, timedelta(hours=1), seed)
    for jump in jumps:
        world.world.live(timedelta(minutes=20))
        world.world.clock.jump(timedelta(seconds=jump))
    world.world.live(timedelta(minutes=20))
    moments = [call.monotonic for call in world.calls]
    gaps = [after - before for before, after in pairwise(moments)]
    assert all(gap >= timedelta(seconds=20) for gap in gaps)
    held_for = world.world.clock.monotonic - moments[-1]
    assert held_for < lifetime, "a jump back does not keep an old token"
