"""The servers around the pod, started once for each test worker and reset before each test; and the pod itself."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sandbox import Availability
from tests.doctor.faulty_pod import HOST, STS_HOST, FaultyPod, Network

if TYPE_CHECKING:
    from collections.abc import Iterator

MEMORY = Path("/dev/shm")


@pytest.fixture(scope="session")
def shared_network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    network = Network.build(tmp_path_factory.mktemp("authority"))
    yield network
    network.close()


@pytest.fixture
def network(shared_network: Network) -> Network:
    shared_network.sandbox.sts.clear_faults()
    shared_network.sandbox.sts.clear_calls()
    shared_network.sandbox.issuer.set_availability(Availability.REACHABLE)
    shared_network.issuer_site.pages.clear()
    shared_network.proxy.refusal = ""
    shared_network.proxy.asked.clear()
    shared_network.proxy.routes = {
        f"{HOST}:443": shared_network.issuer_front.port,
        f"{STS_HOST}:443": shared_network.sts_front.port,
    }
    shared_network.issuer_front.context = shared_network.authority.server(HOST)
    shared_network.sts_front.context = shared_network.authority.server(STS_HOST)
    return shared_network


@pytest.fixture
def pod(network: Network, tmp_path: Path) -> Iterator[FaultyPod]:
    if not MEMORY.is_dir():
        pytest.skip(f"there is no memory file system at {MEMORY}, which the publish directory needs")
    memory = Path(tempfile.mkdtemp(prefix="doctor-", dir=MEMORY))
    try:
        yield FaultyPod(network=network, memory=memory, disk=tmp_path)
    finally:
        shutil.rmtree(memory)
