"""The credentials endpoint: how soon, how cheaply and how surely it answers, and what it adds to memory.

The broker runs on one core, and who asks (`asking`) on another. What an answer costs is read from the scheduler's
nanoseconds, not from a clock: at 667 us of CPU, one core gives 1,500 answers a second, whatever else the machine does.
Latency is a matter of the machine as well: it is held against a bare server in Python that sends the same bytes to the
same client, measured just before.

Lost or wrong answers are looked for while generations change every second or two, by clients that take every connection
anew. Memory is that of the whole broker, after thousands of answers, less that of a broker without the endpoint that
lived through the same otherwise.
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
_OF = "credentials endpoint,"
_SESSION_SECONDS = 4
_ANSWERS_FOR_CPU = 2000
_ANSWERS_FOR_LATENCY = 600
_ANSWERS_FOR_MEMORY = 2000
_REFRESHES_FOR_MEMORY = 8
_MAXIMUM_CPU_US = 667  # 1,500 answers a second on one core
_MAXIMUM_P99_MS = 5
_MAXIMUM_MIB = 4
_MILLISECONDS_A_SECOND = 1000
_MICROSECONDS_A_SECOND = 1_000_000


def measure(repeats: int) -> Sequence[Row]:
    """Return the rows."""
    with Workplace() as workplace:
        endpoint = workplace.start_sts()
        broker = workplace.start_broker(endpoint)
        broker.wait_for_all_since(0.001)
        _set_apart(broker.process.pid, _cores()[0])
        rows = [*_latency(workplace, broker, repeats), *_cost(broker, repeats)]
        end(broker.process)
        return [*rows, _memory(workplace, endpoint, repeats), _steadiness(workplace, repeats)]


def _latency(workplace: Workplace, broker: Broker, repeats: int) -> Sequence[Row]:
    process, port, token = workplace.start_bare_server()
    _set_apart(process.pid, _cores()[0])
    bare, samples = [], []
    for _ in range(repeats):
        bare.append(_p99(_ask("paced", _ANSWERS_FOR_LATENCY, port, token)["seconds"]))
        samples.append(_p99(_ask_broker("paced", _ANSWERS_FOR_LATENCY, broker)["seconds"]))
    figure = f"{_OF} p99 at 200 requests a second"
    return [Row(figure=figure, unit="ms", samples=samples, against=bare, maximum=_MAXIMUM_P99_MS, places=2)]


def _cost(broker: Broker, repeats: int) -> Sequence[Row]:
    rows = []
    for mode, manner in (("apart", "a connection each"), ("kept", "connections kept")):
        costs, rates = [], []
        for _ in range(repeats):
            before = cpu_seconds(broker.process)
            answer = _ask_broker(mode, _ANSWERS_FOR_CPU, broker)
            costs.append((cpu_seconds(broker.process) - before) / _ANSWERS_FOR_CPU * _MICROSECONDS_A_SECOND)
            rates.append(_ANSWERS_FOR_CPU / answer["took"])
        rows += [
            Row(
                figure=f"{_OF} CPU an answer, {manner}",
                unit="us",
                samples=costs,
                maximum=_MAXIMUM_CPU_US,
                places=0,
            ),
            Row(
                figure=f"{_OF} answers a second on one core, {manner}",
                unit="/s",
                samples=rates,
                places=0,
            ),
        ]
    return rows


def _memory(workplace: Workplace, endpoint: str, repeats: int) -> Row:
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
        for mode in ("apart", "kept"):
            _ask_broker(mode, _ANSWERS_FOR_MEMORY, broker)
        samples.append(resident_mib(broker.process) - resident_mib(without.process))
        end(without.process)
        end(broker.process)
    figure = f"{_OF} resident memory that it adds"
    return Row(figure=figure, unit="MiB", samples=samples, maximum=_MAXIMUM_MIB, places=2)


def _steadiness(workplace: Workplace, repeats: int) -> Row:
    endpoint = workplace.start_sts("--lifetime", str(_SESSION_SECONDS), "--hang-up")
    broker = workplace.start_broker(endpoint)
    broker.wait_for_all_since(0.001)
    samples = []
    for _ in range(repeats):
        began, wrong = time.monotonic(), 0
        while time.monotonic() - began < _SESSION_SECONDS:
            wrong += len(_ask_broker("apart", _ANSWERS_FOR_CPU, broker)["wrong"])
        samples.append(float(wrong))
    figure = f"{_OF} answers lost or wrong while generations change"
    return Row(figure=figure, unit="answers", samples=samples, maximum=0, places=0)


def _ask_broker(mode: str, count: int, broker: Broker) -> dict[str, Any]:
    return _ask(mode, count, broker.port("credentials"), broker.directory / "endpoint-token")


def _ask(mode: str, count: int, port: int, token: Path) -> dict[str, Any]:
    """Ask so many times, on the last core. Return what `asking` prints."""
    arguments = ["127.0.0.1", str(port), "/v1/credentials", str(token), mode, str(count)]
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.asking", *arguments], cwd=ROOT, stdout=subprocess.PIPE
    ) as process:
        _set_apart(process.pid, _cores()[-1])
        document: dict[str, Any] = json.loads(process.communicate()[0])
    return document


def _p99(seconds: Sequence[float]) -> float:
    return sorted(seconds)[int(len(seconds) * 0.99)] * _MILLISECONDS_A_SECOND


def _cores() -> list[int]:
    return sorted(os.sched_getaffinity(0))


def _set_apart(pid: int, core: int) -> None:
    """Let all threads that a process has by now, and those that they start, run on one core, before others if allowed.

    What else the machine does is so not taken for latency, as far as that can be.
    """
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(task.name), {core})
        with suppress(PermissionError):
            os.sched_setscheduler(int(task.name), os.SCHED_RR, os.sched_param(1))
