"""The first refresh in the main loop: which generations it applies to, and what they keep."""

from __future__ import annotations

from datetime import timedelta

import pytest
from msgspec.structs import replace

from broker.core import events
from broker.core.refresher import RefreshNow
from tests.support.fakes import make_chained, make_generation, make_profile
from tests.support.world import LATENCY, World

MINUTE = timedelta(minutes=1)


def get_ages(world: World, began: timedelta) -> list[timedelta]:
    """Return when the calls began, seen from the start, without the time that STS takes for each."""
    return [instant.monotonic - began - LATENCY for instant, _ in world.calls]


def test_first_refresh_is_halfway_between_the_minimum_interval_and_an_ordinary_cycle() -> None:
    """With all random numbers 0.5, an ordinary cycle of 1 h sessions takes 27 min."""
    world = World(chance=lambda: 0.5)
    began = world.clock.monotonic
    world.live(timedelta(hours=1))
    first, second, third = get_ages(world, began)
    assert first == timedelta(0)
    assert second - first == pytest.approx(14 * MINUTE, abs=2 * LATENCY)
    assert third - second == pytest.approx(27 * MINUTE, abs=2 * LATENCY)


def test_generation_keeps_the_jitter_of_its_schedule() -> None:
    world = World(chance=lambda: 0.5)
    world.live(MINUTE)
    generation = world.published["default"]
    assert generation.jitter == pytest.approx(0.5 + 13 / 6)
    (published,) = (event for event in world.events if isinstance(event, events.Published))
    assert published.refresh_at == world.policy.due_at(generation.credentials, generation.jitter)


def test_second_generation_has_an_ordinary_jitter() -> None:
    world = World(chance=lambda: 0.5)
    world.live(2 * MINUTE)
    world.inbox.put(RefreshNow())
    world.live(2 * MINUTE)
    assert (world.published["default"].number, world.published["default"].jitter) == (2, 0.5)


def test_chained_role_follows_its_source() -> None:
    world = World(profiles=(make_profile(), make_chained("other")), chance=lambda: 0.5)
    world.live(20 * MINUTE)
    assert [name for _, name in world.calls] == ["default", "other"] * 2
    assert world.published["other"].jitter == 0.5


def test_restored_generation_keeps_its_schedule_and_the_next_one_is_ordinary() -> None:
    world = World(chance=lambda: 0.5)
    generation = replace(
        make_generation(number=7, received_at=world.clock.now), jitter=0.0, succeeded_at=world.clock.monotonic
    )
    world.published["default"] = generation
    world.refresher.restore({"default": generation})
    began = world.clock.monotonic
    world.live(31 * MINUTE)
    assert get_ages(world, began) == [30 * MINUTE]
    assert world.published["default"].jitter == 0.5
