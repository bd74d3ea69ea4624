"""However the API, the clocks and the loop behave: asked politely, in time, and no old token is handed on."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from typing import NamedTuple

from hypothesis import example, given
from hypothesis import strategies as st

from broker.errors import TokenError, TokenRefused, TokenUnavailable
from broker.model import BoundToken
from broker.token_request import MAXIMUM_JITTER
from broker.token_source import rotation_age
from tests.support.token_api import TokenApi

LONGEST_NAP = 30.0
"""How long the loop sleeps at most, in seconds."""
FAULTS = (None, TokenUnavailable("No answer."), TokenRefused("No."))
lifetimes = st.integers(600, 200_000).map(lambda seconds: timedelta(seconds=seconds))


class Step(NamedTuple):
    """What happens until the loop looks again."""

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
    """Let a step's time pass, and look."""
    api.fault = step.fault
    while step.answers and api.under_way:
        api.answer()
    api.clock.advance(timedelta(seconds=step.nap_seconds))
    api.clock.leap(timedelta(seconds=step.leap_seconds))
    return api.read()


@given(lifetime=lifetimes, chance=st.floats(0, 0.999), life=st.lists(steps, min_size=1, max_size=60))
@example(lifetime=timedelta(seconds=600), chance=0.0, life=[Step(0.001, fault=FAULTS[1])] * 60)
def test_asked_at_most_twice_a_second_and_no_token_is_handed_on_past_its_life(
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
def test_api_that_works_is_asked_once_a_rotation_and_always_before_the_end(
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
def test_api_that_is_down_is_asked_at_most_nine_times_in_the_first_minute(life: list[float], chance: float) -> None:
    api = TokenApi(chance=chance)
    for nap in life:
        live(api, Step(nap, fault=FAULTS[1]))
    first = api.asked[0]
    assert len([at for at in api.asked if at - first < timedelta(minutes=1)]) <= 9
