"""The main loop after a restart that restored published credentials: it continues with their schedule."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from broker.core import events
from broker.core.errors import ExchangeUnavailable
from broker.core.schedule import Reason
from broker.core.status import is_ready
from tests.support.fakes import make_chained, make_generation, make_profile
from tests.support.world import LATENCY, World, profile_status, raising

if TYPE_CHECKING:
    from broker.core.model import Generation

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


def make_restored(world: World, profile: str = "default", age: timedelta = 10 * MINUTE, **fields: Any) -> Generation:  # noqa: ANN401 - of Generation
    """Return a generation that was received `age` ago, with a refresh due at half of its lifetime."""
    generation = make_generation(profile, 7, received_at=world.clock.now - age)
    return replace(generation, jitter=0.0, succeeded_at=world.clock.monotonic - age, **fields)


def restore(world: World, *generations: Generation, incomplete: frozenset[str] = frozenset()) -> None:
    by_name = {generation.profile: generation for generation in generations}
    world.published.update(by_name)
    world.refresher.restore(by_name, incomplete)


def test_restored_generation_makes_the_profile_ready_before_the_first_turn() -> None:
    world = World(sts_fault=raising(ExchangeUnavailable))
    generation = make_restored(world)
    restore(world, generation)
    assert is_ready(world.status.snapshot(), world.clock.now)
    status = profile_status(world)
    assert (status.generation, status.published_generation) == (7, 7)
    assert status.expires_at == status.published_usable_until == generation.credentials.expires_at
    assert status.published_received_at == generation.credentials.received_at
    assert status.refresh_at == generation.credentials.received_at + 30 * MINUTE
    assert status.assumed_role_arn == generation.credentials.assumed_role_arn
    assert not status.refreshes


def test_restored_generation_is_refreshed_on_its_schedule_and_not_published_again() -> None:
    world = World()
    restore(world, make_restored(world))
    began = world.clock.monotonic
    world.live(19 * MINUTE)
    assert world.calls == []
    assert not [event for event in world.events if isinstance(event, events.Published)]
    world.live(2 * MINUTE)
    ((called, _),) = world.calls
    assert called.monotonic - began == 20 * MINUTE + LATENCY
    assert world.published["default"].number == 8


def test_restored_generation_whose_refresh_is_due_is_refreshed_at_once() -> None:
    world = World()
    restore(world, make_restored(world, age=50 * MINUTE))
    began = world.clock.monotonic
    world.live(MINUTE)
    assert [called.monotonic for called, _ in world.calls] == [began + LATENCY]
    assert world.published["default"].reason == Reason.REFRESH_DUE.value


def test_wall_clock_that_jumped_back_does_not_postpone_the_refresh() -> None:
    world = World()
    restore(world, make_restored(world))
    began = world.clock.monotonic
    world.clock.jump(-5 * MINUTE)
    world.live(21 * MINUTE)
    assert world.calls[0][0].monotonic - began == 20 * MINUTE + LATENCY


def test_wall_clock_that_jumped_back_before_the_restart_causes_an_exchange() -> None:
    world = World()
    generation = make_restored(world)
    world.clock.jump(-HOUR)
    restore(world, generation)
    world.live(MINUTE)
    assert world.published["default"].reason == Reason.CLOCK_LEAPT_BACK.value


def test_broker_that_restarts_in_a_loop_keeps_the_minimum_interval() -> None:
    world = World()
    generation = make_restored(world, age=timedelta(seconds=1))
    lifetime = timedelta(seconds=100)  # a refresh is due after 50 s, and becomes urgent after 83 s
    restore(world, replace(generation, credentials=replace(generation.credentials, lifetime=lifetime)))
    world.live(timedelta(seconds=58))
    assert world.calls == []
    world.live(timedelta(seconds=2))
    assert len(world.calls) == 1


def test_last_chance_with_a_token_is_not_repeated_after_a_restart() -> None:
    world = World(kubelet_stuck=True)
    fingerprint = world.read("").fingerprint
    world.clock.advance(55 * MINUTE)
    restore(world, make_restored(world, age=MINUTE, reason=Reason.LAST_CHANCE.value, fingerprint=fingerprint))
    world.live(4 * MINUTE)
    assert world.calls == []


def test_incomplete_files_are_published_again_without_an_exchange() -> None:
    world = World()
    generation = make_restored(world)
    restore(world, generation, incomplete=frozenset({"default"}))
    world.live(MINUTE)
    assert world.calls == []
    assert [event.generation for event in world.events if isinstance(event, events.Published)] == [generation]


def test_deleted_files_of_a_restored_generation_are_published_again() -> None:
    world = World()
    generation = make_restored(world)
    restore(world, generation)
    world.published.clear()
    world.live(MINUTE)
    assert world.calls == []
    assert world.published == {"default": generation}


def test_chained_role_uses_a_restored_source() -> None:
    world = World(profiles=(make_chained("partner"), make_profile()))
    restore(world, make_restored(world))
    world.live(MINUTE)
    assert [name for _, name in world.calls] == ["partner"]
    assert [source.number for source in world.sources_used["partner"]] == [7]


def test_restored_chain_needs_no_exchange() -> None:
    world = World(profiles=(make_chained("partner"), make_profile()))
    restore(world, make_restored(world), make_restored(world, "partner", fingerprint="default-7"))
    world.live(MINUTE)
    assert world.calls == []


def test_restored_chained_role_is_refreshed_once_its_source_has_credentials_again() -> None:
    """The numbers of the source start again: its first generation can have the number in the fingerprint."""
    world = World(profiles=(make_profile(), make_chained("partner")))
    restore(world, make_restored(world, "partner", fingerprint="default-1"))
    world.live(MINUTE)
    assert [name for _, name in world.calls] == ["default", "partner"]
    assert world.published["partner"].reason == Reason.SOURCE_RENEWED.value


def test_restored_generation_survives_an_outage_until_it_expires() -> None:
    world = World(sts_fault=raising(ExchangeUnavailable))
    restore(world, make_restored(world))
    world.live(49 * MINUTE)
    assert is_ready(world.status.snapshot(), world.clock.now)
    world.live(MINUTE)
    assert not is_ready(world.status.snapshot(), world.clock.now)
