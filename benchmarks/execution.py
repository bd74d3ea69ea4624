"""The CPU time of `sts-broker exec -- true` beyond that of `sts-broker once`, including child processes.

The difference is the endpoint, the private directory, and starting and reaping the command. Each pair runs
consecutively, so that other load affects both. The row has the difference.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.process_tree import cpu_seconds_at_exit
from benchmarks.rows import Row
from benchmarks.runs import BenchmarkError, Workplace

if TYPE_CHECKING:
    from collections.abc import Sequence

NAME = "exec"
_PAIRS_A_REPEAT = 3
_MAXIMUM_MILLISECONDS = 60
_MILLISECONDS_A_SECOND = 1000


def measure(repeats: int) -> Sequence[Row]:
    """Return the row of this subject."""
    differences: list[float] = []
    with Workplace() as workplace:
        endpoint = workplace.start_sts()
        for pair in range(repeats * _PAIRS_A_REPEAT + 1):  # the first pair warms bytecode and page cache
            once = _measure_cpu_seconds(workplace, endpoint, "once")
            executed = _measure_cpu_seconds(workplace, endpoint, "exec", "--", "true")
            if pair > 0:
                differences.append((executed - once) * _MILLISECONDS_A_SECOND)
    figure = "CPU of `sts-broker exec -- true` minus that of `sts-broker once`"
    return [Row(figure=figure, unit="ms", samples=differences, maximum=_MAXIMUM_MILLISECONDS)]


def _measure_cpu_seconds(workplace: Workplace, endpoint: str, *arguments: str) -> float:
    """Run a verb and wait for it. Return its CPU time. Raises BenchmarkError if it fails."""
    broker = workplace.start_broker(endpoint, program=("-m", "broker", *arguments))
    seconds = cpu_seconds_at_exit(broker.process)
    if broker.process.returncode != 0:
        log = broker.log.read_text()[-2000:]
        raise BenchmarkError(f"{' '.join(arguments)} ended with exit code {broker.process.returncode}. Log: {log}")
    return seconds
