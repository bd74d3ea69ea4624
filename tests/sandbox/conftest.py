"""One simulator for all of these tests. It is reset before each test."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from sandbox import Availability, Sandbox
from tests.sandbox.sts_client import Exchanger, ShiftedClock, unsigned_client

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def shared_clock() -> ShiftedClock:
    return ShiftedClock()


@pytest.fixture(scope="session")
def shared_simulator(shared_clock: ShiftedClock) -> Iterator[Sandbox]:
    with Sandbox(now=shared_clock.now, idp_timeout=timedelta(seconds=1)) as simulator:
        yield simulator


@pytest.fixture
def clock(shared_clock: ShiftedClock) -> ShiftedClock:
    shared_clock.offset = timedelta(0)
    return shared_clock


@pytest.fixture
def simulator(shared_simulator: Sandbox, clock: ShiftedClock) -> Sandbox:
    del clock  # requested to reset the clock
    shared_simulator.sts.clear_faults()
    shared_simulator.sts.clear_calls()
    shared_simulator.issuer.set_availability(Availability.REACHABLE)
    return shared_simulator


@pytest.fixture(scope="session")
def shared_client(shared_simulator: Sandbox) -> Iterator[object]:
    client = unsigned_client(shared_simulator)
    yield client
    client.close()


@pytest.fixture
def exchanger(simulator: Sandbox, shared_client: object) -> Exchanger:
    return Exchanger(simulator, shared_client)
