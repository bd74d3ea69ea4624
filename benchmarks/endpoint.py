"""The credentials endpoint: latency, CPU time, wrong responses, and added memory.

The broker runs on one core, and the load generator (`endpoint_client`) on another. CPU time is in the scheduler's
nanoseconds, independent of other load: 667 us for each response allow 1,500 responses a second on one core. Latency
depends on the machine as well. It is compared with a minimal server in Python that sends the same bytes to the same
client, measured just before.

Wrong and lost responses are counted while generations change every one or two seconds, with a new connection for each
request. Added memory is the memory of a broker after thousands of responses, minus that of a broker without the
endpoint after the same number of refreshes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.readings import cpu_seconds, resident_mib
from benchmarks.rows import Row
from benchmarks.runs import ROOT, Broker, Workplace, end

if TYPE_CHECKING:
    from collections.abc import Sequence

NAME = "endpoint"
_PREFIX = "credentials endpoint,"
_SESSION_SECONDS = 4
_REQUESTS_FOR_CPU = 2000
_REQUESTS_FOR_LATENCY = 600
_REQUESTS_FOR_MEMORY = 2000
_REFRESHES_FOR_MEMORY = 8
_MAXIMUM_CPU_US = 667  # 1,500 answers a second on one core
_MAXIMUM_P99_MS = 5
_MAXIMUM_MIB = 4
_MILLISECONDS_A_SECOND = 1000
_MICROSECONDS_A_SECOND = 1_000_000


def measure(repeats: int) -> Sequence[Row]:
    """Return the rows of this subject."""
    with Workplace() as workplace:
        endpoint = workplace.start_sts()
        broker = workplace.start_broker(endpoint)
        broker.wait_for_all_since(0.001)
        _pin_to_core(broker.process.pid, _cores()[0])
        rows = [*_measure_latency(workplace, broker, repeats), *_measure_cpu(broker, repeats)]
        end(broker.process)
        return [*rows, _measure_memory(workplace, endpoint, repeats), _count_wrong_responses(workplace, repeats)]


def _measure_latency(workplace: Workplace, broker: Broker, repeats: int) -> Sequence[Row]:
    process, port, token = workplace.start_bare_server()
    _pin_to_core(process.pid, _cores()[0])
    bare, samples = [], []
    for _ in range(repeats):
        bare.append(_p99(_send_requests("paced", _REQUESTS_FOR_LATENCY, port, token)["seconds"]))
        samples.append(_p99(_send_to_broker("paced", _REQUESTS_FOR_LATENCY, broker)["seconds"]))
    figure = f"{_PREFIX} p99 at 200 requests a second"
    return [Row(figure=figure, unit="ms", samples=samples, against=bare, maximum=_MAXIMUM_P99_MS, places=2)]


def _measure_cpu(broker: Broker, repeats: int) -> Sequence[Row]:
    rows = []
    for mode, connections in (("new", "new connections"), ("kept", "kept connections")):
        costs, rates = [], []
        for _ in range(repeats):
            before = cpu_seconds(broker.process)
            result = _send_to_broker(mode, _REQUESTS_FOR_CPU, broker)
            costs.append((cpu_seconds(broker.process) - before) / _REQUESTS_FOR_CPU * _MICROSECONDS_A_SECOND)
            rates.append(_REQUESTS_FOR_CPU / result["took"])
        rows += [
            Row(
                figure=f"{_PREFIX} CPU for each response, {connections}",
                unit="us",
                samples=costs,
                maximum=_MAXIMUM_CPU_US,
                places=0,
            ),
            Row(
                figure=f"{_PREFIX} responses a second on one core, {connections}",
                unit="/s",
                samples=rates,
                places=0,
            ),
        ]
    return rows


def _measure_memory(workplace: Workplace, endpoint: str, repeats: int) -> Row:
    program = [str(ROOT / "benchmarks" / "without_endpoint.py")]
    samples = []
    for _ in range(repeats):
        without = workplace.start_broker(endpoint, program=program)
        broker = workplace.start_broker(endpoint)
        for each in (without, broker):
            each.wait_for_all_since(0.001)
            for _ in range(_REFRESHES_FOR_MEMORY):
                each.refresh()
            each.get("/readyz")
        for mode in ("new", "kept"):
            _send_to_broker(mode, _REQUESTS_FOR_MEMORY, broker)
        samples.append(resident_mib(broker.process) - resident_mib(without.process))
        end(without.process)
        end(broker.process)
    figure = f"{_PREFIX} added resident memory"
    return Row(figure=figure, unit="MiB", samples=samples, maximum=_MAXIMUM_MIB, places=2)


def _count_wrong_responses(workplace: Workplace, repeats: int) -> Row:
    endpoint = workplace.start_sts("--lifetime", str(_SESSION_SECONDS), "--hang-up")
    broker = workplace.start_broker(endpoint)
    broker.wait_for_all_since(0.001)
    samples = []
    for _ in range(repeats):
        began, wrong = time.monotonic(), 0
        while time.monotonic() - began < _SESSION_SECONDS:
            wrong += len(_send_to_broker("new", _REQUESTS_FOR_CPU, broker)["wrong"])
        samples.append(float(wrong))
    figure = f"{_PREFIX} wrong or lost responses while generations change"
    return Row(figure=figure, unit="responses", samples=samples, maximum=0, places=0)


def _send_to_broker(mode: str, count: int, broker: Broker) -> dict[str, Any]:
    return _send_requests(mode, count, broker.port("credentials"), broker.directory / "endpoint-token")


def _send_requests(mode: str, count: int, port: int, token: Path) -> dict[str, Any]:
    """Send `count` requests from the last core. Return the output of `endpoint_client`."""
    arguments = ["127.0.0.1", str(port), "/v1/credentials", str(token), mode, str(count)]
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.endpoint_client", *arguments], cwd=ROOT, stdout=subprocess.PIPE
    ) as process:
        _pin_to_core(process.pid, _cores()[-1])
        document: dict[str, Any] = json.loads(process.communicate()[0])
    return document


def _p99(seconds: Sequence[float]) -> float:
    return sorted(seconds)[int(len(seconds) * 0.99)] * _MILLISECONDS_A_SECOND


def _cores() -> list[int]:
    return sorted(os.sched_getaffinity(0))


def _pin_to_core(pid: int, core: int) -> None:
    """Run all threads of a process, and those that they start later, on one core, with real-time priority if allowed.

    This reduces the influence of other load on latency.
    """
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(task.name), {core})
        with suppress(PermissionError):
            os.sched_setscheduler(int(task.name), os.SCHED_RR, os.sched_param(1))
