"""Days of operation on one fake clock for node, kubelet and STS: the credentials never lapse."""

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
    """A sandbox in which all clocks are `clock`."""

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
class Operation:
    """A broker and its kubelet. After each turn of the loop the published credentials are checked."""

    world: World
    broker: InProcessBroker
    volume: ProjectedToken
    directory: Path
    lapses: int = 0
    shortest: timedelta = DAY

    def run(self, duration: timedelta) -> None:
        """Run the broker for this time."""
        end = self.world.clock.now + duration
        self.broker.run_until(lambda: self._check_credentials() >= end, turns=1_000_000)

    def _check_credentials(self) -> datetime:
        self.volume.tick()
        now, file = self.world.clock.now, self.directory / "default.json"
        if not file.exists():
            return now
        remaining = datetime.fromisoformat(json.loads(file.read_bytes())["Expiration"]) - now
        self.shortest = min(self.shortest, remaining)
        self.lapses += remaining <= timedelta(0)
        return now


def start_operation(
    world: World,
    directory: Path,
    *,
    token_lifetime: timedelta = timedelta(hours=1),
    duration: timedelta = timedelta(hours=1),
) -> Operation:
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
    return Operation(world=world, broker=broker, volume=volume, directory=directory / "published")


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
    operation = start_operation(world, tmp_path, token_lifetime=token_lifetime, duration=duration)
    operation.run(DAY)
    assert operation.lapses == 0
    assert operation.shortest > duration * 0.3
    assert {call.outcome for call in world.box.sts.calls} == {"Success"}
    assert 2 < len(world.box.sts.calls) <= calls


def test_outage_of_a_third_of_the_lifetime_does_not_affect_readers(world: World, tmp_path: Path) -> None:
    operation = start_operation(world, tmp_path)
    operation.run(timedelta(hours=2))
    world.box.sts.always(faults.SERVICE_UNAVAILABLE)
    operation.run(timedelta(minutes=25))
    world.box.sts.always(None)
    operation.run(timedelta(hours=2))
    assert operation.lapses == 0
    assert any(call.outcome == "ServiceUnavailable" for call in world.box.sts.calls)


@pytest.mark.parametrize("fault", [faults.ACCESS_DENIED, faults.THROTTLING, faults.INVALID_IDENTITY_TOKEN])
def test_lasting_fault_causes_at_most_120_calls_an_hour(world: World, tmp_path: Path, fault: faults.Fault) -> None:
    operation = start_operation(world, tmp_path)
    operation.run(timedelta(hours=1))
    world.box.sts.always(fault)
    world.box.sts.clear_calls()
    operation.run(timedelta(hours=3))
    calls = [call.time for call in world.box.sts.calls]
    assert calls
    for begin in calls:
        assert sum(begin <= at < begin + timedelta(hours=1) for at in calls) <= 120


def test_kubelet_that_stops_rotating_is_reported_until_it_recovers(world: World, tmp_path: Path) -> None:
    operation = start_operation(world, tmp_path)
    operation.run(timedelta(hours=1))
    stopped_at = world.clock.now
    operation.volume.misbehave(Misbehaviour.STUCK)
    operation.run(timedelta(hours=3))
    fault = operation.broker.profile().fault
    assert fault is not None
    assert fault.error.reason == "token_expired"
    assert str(operation.volume.path) in str(fault.error)
    late = [call for call in world.box.sts.calls if call.time > stopped_at + timedelta(hours=1)]
    assert late == [], "an expired token is never sent"
    operation.volume.heal()
    operation.run(timedelta(minutes=1))
    assert operation.broker.profile().fault is None
