"""What `sts-broker exec -- true` takes on top of `sts-broker once`: CPU from exec to the end, children included.

That is the endpoint, the directory of its own, and starting and reaping the command. Each pair is run one after the
other, for what slows the machine for a while to slow both; the row tells of the difference.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.readings import cpu_seconds_at_its_end
from benchmarks.rows import Row
from benchmarks.runs import BenchmarkError, Workplace

if TYPE_CHECKING:
    from collections.abc import Sequence

NAME = "exec"
_PAIRS_A_REPEAT = 3
_MAXIMUM_MILLISECONDS = 60
_MILLISECONDS_A_SECOND = 1000


def measure(repeats: int) -> Sequence[Row]:
    """Return the row."""
    differences: list[float] = []
    with Workplace() as workplace:
        endpoint = workplace.start_sts()
        for pair in range(repeats * _PAIRS_A_REPEAT + 1):  # the first warms bytecode and page cache
            once = _cpu_seconds(workplace, endpoint, "once")
            executed = _cpu_seconds(workplace, endpoint, "exec", "--", "true")
            if pair > 0:
                differences.append((executed - once) * _MILLISECONDS_A_SECOND)
    figure = "CPU of `sts-broker exec -- true` less that of `sts-broker once`"
    return [Row(figure=figure, unit="ms", samples=differences, maximum=_MAXIMUM_MILLISECONDS)]


def _cpu_seconds(workplace: Workplace, endpoint: str, *arguments: str) -> float:
    """Run a verb to its end. Return its CPU. Raises BenchmarkError where it did not end well."""
    broker = workplace.start_broker(endpoint, program=("-m", "broker", *arguments))
    seconds = cpu_seconds_at_its_end(broker.process)
    if broker.process.returncode != 0:
        raise BenchmarkError(f"{arguments} ended with {broker.process.returncode}: {broker.log.read_text()[-2000:]}")
    return seconds
