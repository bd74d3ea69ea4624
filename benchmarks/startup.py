"""CPU from exec to the first published credentials, held against the bare script's to its one file.

Both are killed as soon as the file is seen (looked for every millisecond), and the kernel's account of them, reaped
children included, is what counts: the broker checks its settings in a child. The bare script is so spared the clearing
up at an interpreter's end, which the broker had not come to either. The broker's file is the last one of its first
publish, `credentials`.

Taken three times as often as the other figures: where a core is shared with a neighbour, the same work costs up to 1.6
times the CPU from one second to the next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.readings import end_and_count_cpu_seconds
from benchmarks.rows import Row
from benchmarks.runs import Workplace, wait_for

if TYPE_CHECKING:
    from collections.abc import Sequence

NAME = "startup"
_PAIRS_A_REPEAT = 3


def measure(repeats: int) -> Sequence[Row]:
    """Return the row."""
    brokers, scripts = [], []
    with Workplace() as workplace:
        endpoint = workplace.start_sts()
        for pair in range(repeats * _PAIRS_A_REPEAT + 1):  # the first warms bytecode and page cache
            script, target = workplace.start_bare_script(endpoint)
            wait_for(target, script)
            scripts.append(end_and_count_cpu_seconds(script.process))
            broker = workplace.start_broker(endpoint)
            wait_for(broker.directory / "credentials", broker)
            brokers.append(end_and_count_cpu_seconds(broker.process))
            if pair == 0:
                scripts.clear()
                brokers.clear()
    return [
        Row(
            figure="CPU from exec to first published credentials",
            unit="s",
            samples=brokers,
            against=scripts,
            maximum_ratio=1.6,
            places=3,
        )
    ]
