"""Days in the life of the broker, on one fake clock for node, kubelet and STS: the credentials never lapse."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from broker.core.model import ProfileSpec, PublishSpec, StsSpec
from sandbox import Misbehaviour, Sandbox
from sandbox.aws import faults
from tests.moto_backed.broker_in_process import InProcessBroker
from tests.support.fakes import FakeClock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sandbox import ProjectedToken

START = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A sandbox whose every clock is `clock`."""

    clock: FakeClock
    box: Sandbox
    role_arn: str


@pytest.fixture(scope="module")
def shared_world() -> Iterator[World]:
    clock = FakeClock(START)
    with Sandbox(issuer="https://oidc.long-run.example/cluster", now=lambda: clock.now) as box:
        role_arn = box.create_role("long-run", max_session=timedelta(hours=12))
        yield World(clock=clock, box=box, role_arn=role_arn)


@pytest.fixture
def world(shared_world: World) -> World:
    shared_world.box.sts.clear_calls()
    shared_world.box.sts.clear_faults()
    return shared_world


@dataclass(slots=True, kw_only=True)
class Life:
    """A broker and its kubelet, looked at after every turn of the loop."""

    world: World
    broker: InProcessBroker
    volume: ProjectedToken
    directory: Path
    lapses: int = 0
    shortest: timedelta = DAY

    def live(self, duration: timedelta) -> None:
        """Let so much time pass."""
        end = self.world.clock.now + duration
        self.broker.run_until(lambda: self._look() >= end, turns=1_000_000)

    def _look(self) -> datetime:
        self.volume.tick()
        now, file = self.world.clock.now, self.directory / "default.json"
        if not file.exists():
            return now
        remaining = datetime.fromisoformat(json.loads(file.read_bytes())["Expiration"]) - now
        self.shortest = min(self.shortest, remaining)
        self.lapses += remaining <= timedelta(0)
        return now


def life(
    world: World,
    directory: Path,
    *,
    token_lifetime: timedelta = timedelta(hours=1),
    duration: timedelta = timedelta(hours=1),
) -> Life:
    volume = world.box.projected_token(directory / "volume", lifetime=token_lifetime)
    broker = InProcessBroker(
        profiles=[
            ProfileSpec(
                name="default",
                role_arn=world.role_arn,
                region=world.box.region,
                token_file=str(volume.path),
                duration=duration,
            )
        ],
        sts=StsSpec(endpoint_url=world.box.sts.url),
        publish=PublishSpec(directory=str(directory / "published")),
        clock=world.clock,
    )
    return Life(world=world, broker=broker, volume=volume, directory=directory / "published")


@pytest.mark.parametrize(
    ("token_lifetime", "duration", "calls"),
    [
        (timedelta(hours=1), timedelta(hours=1), 55),
        (timedelta(minutes=10), timedelta(minutes=15), 230),
        (DAY, timedelta(hours=1), 55),
        (timedelta(hours=1), timedelta(hours=12), 5),
    ],
)
def test_day_of_rotations_never_leaves_readers_without_credentials(
    world: World, tmp_path: Path, token_lifetime: timedelta, duration: timedelta, calls: int
) -> None:
    day = life(world, tmp_path, token_lifetime=token_lifetime, duration=duration)
    day.live(DAY)
    assert day.lapses == 0
    assert day.shortest > duration * 0.3
    assert {call.outcome for call in world.box.sts.calls} == {"Success"}
    assert 2 < len(world.box.sts.calls) <= calls


def test_outage_of_a_third_of_the_lifetime_passes_unnoticed_by_readers(world: World, tmp_path: Path) -> None:
    day = life(world, tmp_path)
    day.live(timedelta(hours=2))
    world.box.sts.always(faults.SERVICE_UNAVAILABLE)
    day.live(timedelta(minutes=25))
    world.box.sts.always(None)
    day.live(timedelta(hours=2))
    assert day.lapses == 0
    assert any(call.outcome == "ServiceUnavailable" for call in world.box.sts.calls)


@pytest.mark.parametrize("fault", [faults.ACCESS_DENIED, faults.THROTTLING, faults.INVALID_IDENTITY_TOKEN])
def test_fault_that_lasts_costs_at_most_120_calls_an_hour(world: World, tmp_path: Path, fault: faults.Fault) -> None:
    day = life(world, tmp_path)
    day.live(timedelta(hours=1))
    world.box.sts.always(fault)
    world.box.sts.clear_calls()
    day.live(timedelta(hours=3))
    calls = [call.time for call in world.box.sts.calls]
    assert calls
    for begin in calls:
        assert sum(begin <= at < begin + timedelta(hours=1) for at in calls) <= 120


def test_kubelet_that_stopped_rotating_ends_in_one_line_and_recovers(world: World, tmp_path: Path) -> None:
    day = life(world, tmp_path)
    day.live(timedelta(hours=1))
    stopped_at = world.clock.now
    day.volume.misbehave(Misbehaviour.STUCK)
    day.live(timedelta(hours=3))
    fault = day.broker.profile().fault
    assert fault is not None
    assert fault.error.reason == "token_expired"
    assert str(day.volume.path) in str(fault.error)
    late = [call for call in world.box.sts.calls if call.time > stopped_at + timedelta(hours=1)]
    assert late == [], "an expired token is never sent"
    day.volume.heal()
    day.live(timedelta(minutes=1))
    assert day.broker.profile().fault is None
