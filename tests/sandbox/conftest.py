"""One sandbox for all of these tests, put in order again before each."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from sandbox import Availability, Sandbox
from tests.sandbox.asking import Asker, ShiftedClock, unsigned_client

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def shared_clock() -> ShiftedClock:
    return ShiftedClock()


@pytest.fixture(scope="session")
def shared_box(shared_clock: ShiftedClock) -> Iterator[Sandbox]:
    with Sandbox(now=shared_clock.now, idp_timeout=timedelta(seconds=1)) as box:
        yield box


@pytest.fixture
def clock(shared_clock: ShiftedClock) -> ShiftedClock:
    shared_clock.offset = timedelta(0)
    return shared_clock


@pytest.fixture
def box(shared_box: Sandbox, clock: ShiftedClock) -> Sandbox:
    del clock  # asked for so that time is right again
    shared_box.sts.clear_faults()
    shared_box.sts.clear_calls()
    shared_box.issuer.set_availability(Availability.REACHABLE)
    return shared_box


@pytest.fixture(scope="session")
def shared_client(shared_box: Sandbox) -> Iterator[object]:
    client = unsigned_client(shared_box)
    yield client
    client.close()


@pytest.fixture
def asker(box: Sandbox, shared_client: object) -> Asker:
    return Asker(box, shared_client)
