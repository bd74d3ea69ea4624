"""One sandbox behind TLS and a proxy for all of these tests (one in each worker), put in order before each."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sandbox import Availability
from tests.doctor.faulty_pod import HOST, STS_HOST, Hospital, Ward

if TYPE_CHECKING:
    from collections.abc import Iterator

MEMORY = Path("/dev/shm")


@pytest.fixture(scope="session")
def shared_hospital(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hospital]:
    hospital = Hospital.build(tmp_path_factory.mktemp("authority"))
    yield hospital
    hospital.close()


@pytest.fixture
def hospital(shared_hospital: Hospital) -> Hospital:
    shared_hospital.box.sts.clear_faults()
    shared_hospital.box.sts.clear_calls()
    shared_hospital.box.issuer.set_availability(Availability.REACHABLE)
    shared_hospital.house.pages.clear()
    shared_hospital.proxy.refusal = ""
    shared_hospital.proxy.asked.clear()
    shared_hospital.proxy.routes = {
        f"{HOST}:443": shared_hospital.issuer_front.port,
        f"{STS_HOST}:443": shared_hospital.sts_front.port,
    }
    shared_hospital.issuer_front.context = shared_hospital.authority.server(HOST)
    shared_hospital.sts_front.context = shared_hospital.authority.server(STS_HOST)
    return shared_hospital


@pytest.fixture
def ward(hospital: Hospital, tmp_path: Path) -> Iterator[Ward]:
    if not MEMORY.is_dir():
        pytest.skip("no file system in memory at /dev/shm")
    memory = Path(tempfile.mkdtemp(prefix="doctor-", dir=MEMORY))
    try:
        yield Ward(hospital=hospital, memory=memory, disk=tmp_path)
    finally:
        shutil.rmtree(memory)
