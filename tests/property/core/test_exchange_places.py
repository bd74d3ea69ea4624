"""Many sick profiles compete with healthy ones for the places of exchanges, in simulated hours of the main loop."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from broker.core.errors import ExchangeThrottled, ExchangeUnavailable, RoleDenied
from broker.core.exchange_places import MAXIMUM_EXCHANGES_AT_ONCE
from broker.core.schedule import RefreshPolicy
from tests.support.fakes import make_chained, make_profile
from tests.support.world import EXCHANGE_DEADLINE, LATENCY, NEVER, World, most_calls_within, raising

if TYPE_CHECKING:
    from broker.core.model import Generation, ProfileSpec

HOUR = timedelta(hours=1)
SHORT = timedelta(minutes=15)
SICKNESSES = ("hanging", "denied", "throttled", "failing slowly", "slow")


def make_sick(world: World, name: str, sickness: str) -> None:
    """Let every exchange of this profile hang, fail or take long."""
    match sickness:
        case "hanging":
            world.answer_delays[name] = NEVER
        case "denied":
            world.faults[name] = raising(RoleDenied)
        case "throttled":
            world.faults[name] = raising(ExchangeThrottled)
        case "failing slowly":
            world.faults[name], world.answer_delays[name] = raising(ExchangeUnavailable), timedelta(seconds=25)
        case _:
            world.answer_delays[name] = timedelta(seconds=20)


def make_world(sicknesses: list[str], healthy: tuple[ProfileSpec, ...], seed: int = 0) -> World:
    """Return a world with one profile for each sickness, before the healthy ones in the settings."""
    names = [f"sick{number}" for number in range(len(sicknesses))]
    world = World(seed=seed, profiles=(*map(make_profile, names), *healthy))
    for name, sickness in zip(names, sicknesses, strict=True):
        make_sick(world, name, sickness)
    return world


def watch(world: World, names: set[str]) -> list[Generation]:
    """Return a list to which each generation of these profiles is added that was replaced only after its expiry."""
    lapsed: list[Generation] = []

    def check(before: Generation | None, after: Generation) -> None:
        if before is not None and after.profile in names and before.credentials.usable_until <= world.clock.now:
            lapsed.append(before)

    world.on_publish = check
    return lapsed


def get_time_for_first_attempts(sick: int) -> timedelta:
    """Return how long `sick` profiles that hang can delay the first credentials of another."""
    return EXCHANGE_DEADLINE * (sick // MAXIMUM_EXCHANGES_AT_ONCE + 1) + LATENCY


@pytest.mark.parametrize("sick", [18, 60])
def test_healthy_profile_never_lapses_behind_many_hanging_ones(sick: int) -> None:
    world = make_world(["hanging"] * sick, (make_profile("well", duration=SHORT),))
    lapsed = watch(world, {"well"})
    world.live(get_time_for_first_attempts(sick))
    assert "well" in world.published
    world.live(3 * HOUR)
    assert not lapsed
    assert world.published["well"].credentials.usable_until > world.clock.now
    assert most_calls_within(world, HOUR, "well") <= 10


@settings(max_examples=10, deadline=None)
@given(
    sicknesses=st.lists(st.sampled_from(SICKNESSES), min_size=9, max_size=40),
    seed=st.integers(min_value=0, max_value=2**32),
)
@example(sicknesses=["failing slowly"] * 40, seed=0)
def test_healthy_profiles_never_lapse_whatever_the_others_have(sicknesses: list[str], seed: int) -> None:
    well = (make_profile("long"), make_profile("short", duration=SHORT), make_chained("chained", "short"))
    world = make_world(sicknesses, well, seed)
    names = {profile.name for profile in well}
    lapsed = watch(world, names)
    world.live(get_time_for_first_attempts(len(sicknesses)) + EXCHANGE_DEADLINE)
    assert names <= set(world.published)
    world.live(HOUR * 1.5)
    assert not lapsed
    assert all(world.published[name].credentials.usable_until > world.clock.now for name in names)


def test_profiles_that_failed_quickly_in_an_outage_recover_before_those_that_hang() -> None:
    names = [f"well{number}" for number in range(10)]
    world = make_world(["hanging"] * 60, tuple(map(make_profile, names)))
    world.sts_fault = raising(ExchangeUnavailable)
    world.live(HOUR)
    world.sts_fault = None
    world.live(RefreshPolicy().soon.cap + EXCHANGE_DEADLINE + LATENCY)
    assert set(names) <= set(world.published)


def test_every_hanging_profile_gets_a_place_in_turn() -> None:
    world = make_world(["hanging"] * 40, ())
    world.live(HOUR)
    calls = [sum(name == profile.name for _, name in world.calls) for profile in world.profiles]
    assert max(calls) - min(calls) <= 1
    assert min(calls) >= HOUR / EXCHANGE_DEADLINE * MAXIMUM_EXCHANGES_AT_ONCE / 40 - 2
