"""What clients can cost together: memory, time of others, and file descriptors stay within bounds."""

from __future__ import annotations

import contextlib
import itertools
import resource
import socket
import time
from typing import TYPE_CHECKING

import pytest

from broker.runtime.listeners import count_readers
from sandbox.aws import faults
from tests.process.test_endpoint import find_address, get
from tests.support.program import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.process.pod import Pod
    from tests.support.program import Program

pytestmark = pytest.mark.process

MIB = 2**20
REQUEST = b"GET /v1/credentials HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
METRICS = b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
HEAD = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"x" * 7000
FEW_FILES = ("sh", "-c", 'ulimit -n 64; exec "$@"', "sh")


def find_health_address(program: Program) -> tuple[str, int]:
    """Return host and port of the health listener."""
    line = program.wait_for("listening", listener="health")
    return line["host"], line["port"]


@contextlib.contextmanager
def connections(address: tuple[str, int], count: int, *sent: bytes) -> Iterator[list[socket.socket]]:
    """Open connections that send these bytes in turn, and read nothing."""
    with contextlib.ExitStack() as stack:
        opened = []
        for _, content in zip(range(count), itertools.cycle(sent), strict=False):
            client = stack.enter_context(socket.create_connection(address, timeout=5))
            client.settimeout(0.2)
            with contextlib.suppress(OSError):  # the broker may drop it, or not read all of it
                client.sendall(content)
            opened.append(client)
        yield opened


def measure_slowest_probe(program: Program) -> float:
    """Return the seconds of the slowest of ten probes."""
    answers = [program.get("/livez") for _ in range(10)]
    assert {answer.status for answer in answers} == {200}
    return max(answer.seconds for answer in answers)


def test_clients_that_take_every_place_cost_little_memory_and_delay_nobody(pod: Pod) -> None:
    """They pipeline, send half of a request, send nothing, or read nothing."""
    program = pod.start_and_publish()
    before = program.metric("process_resident_memory_bytes")
    with (
        connections(find_address(program), 600, REQUEST * 200, HEAD, b"", REQUEST[:10], REQUEST),
        connections(find_health_address(program), 40, METRICS * 200, HEAD, b"", METRICS),
    ):
        seconds = measure_slowest_probe(program)
        assert get(program, pod).status == 200
        program.refresh()
        program.wait_for("refreshed", count=2)
        assert program.metric("process_resident_memory_bytes") < min(before + 16 * MIB, 40 * MIB)
        assert seconds < 1, "0.1 s is promised on a machine that does nothing else"


def test_two_hundred_app_processes_at_once_are_all_answered(pod: Pod) -> None:
    program = pod.start_and_publish()
    token = (pod.published / "endpoint-token").read_bytes()
    request = REQUEST[:-2] + b"Authorization: " + token + b"\r\n\r\n"
    with connections(find_address(program), 200, request) as clients:
        assert {client.recv(65536)[:15] for client in clients} == {b"HTTP/1.1 200 OK"}


def test_few_file_descriptors_keep_health_and_credentials(pod: Pod) -> None:
    program = pod.start_and_publish(wrapper=FEW_FILES)
    with connections(find_address(program), 300, b"", REQUEST):
        assert program.get("/livez").status == 200
        assert get(program, pod).status == 200
        program.refresh()
        program.wait_for("refreshed", count=2, within=30)
        assert program.metric("process_open_fds") <= 64
    began = time.monotonic()
    assert eventually(lambda: get(program, pod).status == 200)
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(("limit", "readers"), [(64, 24), (41, 1), (20, 1), (256, 216), (1024, 512)])
def test_endpoint_has_a_place_for_each_descriptor_that_is_left(
    limit: int, readers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))
    assert count_readers() == readers


def test_dripping_sts_leaves_no_descriptor_thread_or_child_behind(pod: Pod) -> None:
    """Each call ends at its deadline, with its socket, however many profiles wait for the same peer."""
    file = pod.root / "broker.yaml"
    file.write_text("profiles:\n" + "".join(f"- {{name: p{number}}}\n" for number in range(20)))
    program = pod.start(BROKER_CONFIG=str(file))
    program.wait_for("refreshed", count=20, within=30)
    eventually(lambda: program.children() == [], what="no worker")
    before = (program.metric("process_open_fds"), len(program.threads()))
    pod.sts.always(faults.Drip(pause_seconds=1.0))
    program.refresh()
    program.wait_for("exchange_failed", count=8, within=40)
    assert {line["reason"] for line in program.lines("exchange_failed")} == {"exchange_unavailable"}
    pod.sts.always(None)
    program.wait_for("refreshed", count=40, within=60)
    eventually(lambda: program.children() == [], what="no worker")
    assert (program.metric("process_open_fds"), len(program.threads())) == before
