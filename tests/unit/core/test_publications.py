"""A publish that does not end: the loop goes on, reports it once, and publishes the newest generation later."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from broker.core import events
from broker.core.errors import PublishError
from broker.core.publications import PUBLISH_DEADLINE, PendingPublish
from broker.core.refresher import RefreshNow
from tests.support.fakes import FakeClock, make_generation, make_profile
from tests.support.world import World, profile_status

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from broker.core.model import Generation

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)


class HangingVolume:
    """A publisher whose publishes end when the test lets them."""

    name = "files"

    def __init__(self, world: World) -> None:
        self._world = world
        self.pending: list[tuple[Sequence[Generation], Callable[[PublishError | None], None]]] = []
        self.begun = 0
        self.most_at_once = 0

    def begin(self, generations: Sequence[Generation], on_end: Callable[[PublishError | None], None]) -> None:
        """Begin a publish."""
        self.begun += 1
        self.pending.append((generations, on_end))
        self.most_at_once = max(self.most_at_once, len(self.pending))

    def missing(self) -> frozenset[str]:
        """Return what was missing before the volume hung."""
        return self._world.missing()

    def end(self, error: PublishError | None = None) -> None:
        """Let the publish end."""
        generations, on_end = self.pending.pop()
        if error is None:
            self._world.publish(generations)
        on_end(error)


@pytest.fixture
def world() -> World:
    return World(profiles=(make_profile("a"), make_profile("b")))


@pytest.fixture
def volume(world: World) -> HangingVolume:
    volume = HangingVolume(world)
    world.refresher.publisher = volume
    return volume


def recorded(world: World, kind: type[events.Event]) -> list[events.Event]:
    return [event for event in world.events if isinstance(event, kind)]


def test_refreshes_go_on_while_the_volume_hangs(world: World, volume: HangingVolume) -> None:
    """The credentials endpoint serves them."""
    world.live(timedelta(hours=3))
    numbers = [event.generation.number for event in world.events if isinstance(event, events.Exchanged)]
    assert max(numbers) >= 6
    assert (volume.begun, volume.most_at_once) == (1, 1)
    assert world.published == {}


def test_hanging_publish_is_reported_once_at_its_deadline(world: World, volume: HangingVolume) -> None:
    world.live(PUBLISH_DEADLINE)
    assert recorded(world, events.PublishFailed) == []
    world.live(timedelta(hours=1))
    failures = [event for event in world.events if isinstance(event, events.PublishFailed)]
    begun = {generation.profile for generation in volume.pending[0][0]}
    assert {failure.profile for failure in failures} == begun
    assert len(failures) == len(begun)
    for failure in failures:
        error = failure.error
        assert isinstance(error, PublishError)
        assert str(error).startswith("The publish directory has not answered for 10 s. Check the volume that publish.")
        assert error.sink == "files"
    first = next(event for event in world.events if isinstance(event, events.Exchanged))
    assert failures[0].at.monotonic - first.at.monotonic == PUBLISH_DEADLINE
    assert profile_status(world, failures[0].profile).publish_failures == 1


def test_publish_that_ends_after_its_deadline_is_a_success_and_the_newest_follows(
    world: World, volume: HangingVolume
) -> None:
    world.live(timedelta(hours=2))
    (generations, _) = volume.pending[0]
    assert {generation.number for generation in generations} == {1}
    volume.end()
    world.live(SECOND)
    assert {generation.number for generation in world.published.values()} <= {1}
    for _ in range(3):  # profiles whose publish is backing off follow later
        while volume.pending:
            volume.end()
            world.live(SECOND)
        world.live(MINUTE)
    exchanged = [event.generation for event in world.events if isinstance(event, events.Exchanged)]
    newest = {generation.profile: generation for generation in exchanged}
    assert world.published == newest
    assert min(generation.number for generation in newest.values()) > 1
    assert profile_status(world, "a").publish_fault is None


def test_publish_that_fails_after_its_deadline_is_retried(world: World, volume: HangingVolume) -> None:
    world.live(MINUTE)
    volume.end(PublishError("Full.", sink="files", errno=28))
    world.live(MINUTE)
    assert volume.begun >= 2
    while volume.pending:
        volume.end()
        world.live(MINUTE)
    assert set(world.published) == {"a", "b"}
    assert profile_status(world, "a").publish_fault is None


def test_publish_that_ends_in_time_is_no_failure(world: World, volume: HangingVolume) -> None:
    world.live(PUBLISH_DEADLINE)
    while volume.pending:
        volume.end()
        world.live(SECOND)
    assert recorded(world, events.PublishFailed) == []
    assert len(recorded(world, events.Published)) == 2


def test_generation_that_arrives_during_a_publish_is_published_after_it(world: World, volume: HangingVolume) -> None:
    world.live(SECOND)
    while volume.pending:
        volume.end()
        world.live(SECOND)
    world.inbox.put(RefreshNow())
    world.live(SECOND)
    world.inbox.put(RefreshNow())
    world.live(SECOND)
    first = {generation.profile for generation in volume.pending[0][0]}
    while volume.pending:
        volume.end()
        world.live(SECOND)
    assert first
    assert {generation.number for generation in world.published.values()} == {3}


def test_hanging_volume_does_not_make_published_credentials_lost(world: World, volume: HangingVolume) -> None:
    world.live(timedelta(hours=1))
    assert recorded(world, events.PublishedLost) == []
    assert volume.begun == 1


def test_remaining_time_counts_from_the_beginning_on_the_monotonic_clock() -> None:
    clock = FakeClock()
    publish = PendingPublish(generations=(make_generation(),), began=clock.read())
    clock.advance(timedelta(seconds=4))
    clock.jump(timedelta(hours=5))
    assert publish.get_remaining_time(clock.read()) == timedelta(seconds=6)
