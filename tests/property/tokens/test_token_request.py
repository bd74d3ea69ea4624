"""Whatever the API, the clocks and the loop do: few calls, in time, and no expired token is used."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from broker.core.errors import TokenError, TokenRefused, TokenUnavailable
from broker.core.model import BoundToken
from broker.core.refresher import Wake
from broker.core.schedule import RefreshPolicy
from broker.tokens.token_file import rotation_age
from broker.tokens.token_request import MAXIMUM_JITTER, RequestedTokenSource
from tests.support.fakes import make_token
from tests.support.token_api import TokenApi
from tests.support.world import LATENCY, World, usable_until

if TYPE_CHECKING:
    from broker.tokens.token_request import OnAnswer

LONGEST_NAP = 30.0
"""The longest sleep of the loop, in seconds."""
DOWN = TokenUnavailable("No answer.")
FAULTS = (None, DOWN, TokenRefused("No."))
lifetimes = st.integers(600, 200_000).map(lambda seconds: timedelta(seconds=seconds))


class Step(NamedTuple):
    """What happens until the loop reads again."""

    nap_seconds: float
    leap_seconds: int = 0
    fault: TokenError | None = None
    answers: bool = True


steps = st.builds(
    Step,
    st.floats(0.001, LONGEST_NAP),
    st.sampled_from([0] * 8 + [-7200, -30, 30, 7200]),
    st.sampled_from(FAULTS),
    st.booleans(),
)


def live(api: TokenApi, step: Step) -> BoundToken | TokenError:
    """Let a step's time pass, and read."""
    api.fault = step.fault
    while step.answers and api.in_progress:
        api.answer()
    api.clock.advance(timedelta(seconds=step.nap_seconds))
    api.clock.jump(timedelta(seconds=step.leap_seconds))
    return api.read()


@given(lifetime=lifetimes, chance=st.floats(0, 0.999), life=st.lists(steps, min_size=1, max_size=60))
@example(lifetime=timedelta(seconds=600), chance=0.0, life=[Step(0.001, fault=DOWN)] * 60)
@example(lifetime=timedelta(seconds=600), chance=0.0, life=[Step(1.0, answers=False), Step(0.25, leap_seconds=7200)])
def test_at_most_two_calls_a_second_and_no_token_is_used_after_its_expiry(
    lifetime: timedelta, chance: float, life: list[Step]
) -> None:
    api = TokenApi(chance=chance)
    api.lifetime = lifetime
    for step in life:
        found = live(api, step)
        if isinstance(found, BoundToken):
            assert api.clock.monotonic - api.asked_at[found.fingerprint] < lifetime
    assert all(later - earlier >= timedelta(seconds=0.5) for earlier, later in pairwise(api.asked))


@given(
    lifetime=lifetimes,
    chance=st.floats(0, 0.999),
    naps=st.lists(st.floats(1, LONGEST_NAP), min_size=1, max_size=30),
    skew_hours=st.integers(-5, 5),
)
def test_working_api_is_called_once_a_rotation_and_always_before_expiry(
    lifetime: timedelta, chance: float, naps: list[float], skew_hours: int
) -> None:
    api = TokenApi(chance=chance)
    api.lifetime, api.skew = lifetime, timedelta(hours=skew_hours)
    api.read()
    rotation, end = rotation_age(lifetime), api.clock.monotonic + lifetime
    while api.clock.monotonic < end:
        for nap in naps:
            assert isinstance(live(api, Step(nap)), BoundToken)
        api.clock.advance(max(rotation - (api.clock.monotonic - api.asked[-1]) - timedelta(minutes=2), timedelta(0)))
    apart = [later - earlier for earlier, later in pairwise(api.asked)]
    assert all(rotation - MAXIMUM_JITTER <= each <= rotation + timedelta(seconds=LONGEST_NAP) for each in apart)


@given(life=st.lists(st.floats(0.001, LONGEST_NAP), min_size=20, max_size=200), chance=st.floats(0, 0.999))
def test_failing_api_is_called_at_most_nine_times_in_the_first_minute(life: list[float], chance: float) -> None:
    api = TokenApi(chance=chance)
    for nap in life:
        live(api, Step(nap, fault=DOWN))
    first = api.asked[0]
    assert len([at for at in api.asked if at - first < timedelta(minutes=1)]) <= 9


class AskingWorld:
    """A world in which the real loop requests its tokens from an API, and calls take some time."""

    def __init__(self, seed: int) -> None:
        self.world = World(seed=seed)
        self.is_down = False
        self.calls = 0
        world = self.world
        world.refresher.tokens = {
            "default": RequestedTokenSource(
                ask=self._ask,
                clock=world.clock,
                wake=lambda: world.inbox.put(Wake()),
                report=lambda _: None,
                chance=world.random.random,
                policy=RefreshPolicy(),
            )
        }

    def _ask(self, audience: str, on_answer: OnAnswer) -> None:
        self.calls += 1
        self.world.clock.after(LATENCY, lambda: on_answer(self._call(audience)))

    def _call(self, audience: str) -> BoundToken | TokenError:
        if self.is_down:
            return DOWN
        return make_token(issued_at=self.world.clock.now, audiences=(audience,), serial=self.calls)


@settings(max_examples=10)  # each of days
@given(
    seed=st.integers(0, 2**32),
    outages=st.lists(st.tuples(st.integers(1, 600), st.integers(1, 60)), min_size=1, max_size=8),
)
@example(seed=0, outages=[(46, 60), (47, 60), (48, 60)])
def test_outages_of_an_hour_leave_no_reader_without_credentials(seed: int, outages: list[tuple[int, int]]) -> None:
    asking = AskingWorld(seed)
    world = asking.world
    for up_minutes, down_minutes in outages:
        for asking.is_down, minutes in ((False, up_minutes + 60), (True, down_minutes)):
            for _ in range(minutes):
                world.live(timedelta(minutes=1))
                until = usable_until(world)
                assert until is not None
                assert until > world.clock.now
    assert world.expired_proofs_sent == 0


def test_week_takes_one_call_a_rotation() -> None:
    asking = AskingWorld(seed=0)
    asking.world.live(timedelta(days=7))
    assert asking.calls == pytest.approx(7 * 24 * 60 / 48, rel=0.02)
