"""The CPU time of an idle `sts-broker run`: the wake-ups of all its processes.

As many brokers as repeats run idle at the same time for 30 s, each with a session of one hour. The CPU time of all
processes of each is read before and after.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from benchmarks.process_tree import tree_cpu_seconds
from benchmarks.rows import Row
from benchmarks.runs import Workplace

if TYPE_CHECKING:
    from collections.abc import Sequence

NAME = "idle"
_WINDOW_SECONDS = 30
_MAXIMUM_MILLISECONDS = 0.1
_MILLISECONDS_A_SECOND = 1000


def measure(repeats: int) -> Sequence[Row]:
    """Return the row of this subject."""
    with Workplace() as workplace:
        endpoint = workplace.start_sts()
        brokers = []
        for _ in range(repeats):
            broker = workplace.start_broker(endpoint)
            broker.wait_for_all_since(0.001)
            broker.get("/livez")
            brokers.append(broker)
        brokers[-1].wait_for_rest()  # the others have rested for longer
        began = [(time.monotonic(), tree_cpu_seconds(broker.process.pid)) for broker in brokers]
        time.sleep(_WINDOW_SECONDS)
        samples = [
            (tree_cpu_seconds(broker.process.pid) - cpu) / (time.monotonic() - at) * _MILLISECONDS_A_SECOND
            for broker, (at, cpu) in zip(brokers, began, strict=True)
        ]
    return [Row(figure="idle CPU, each second", unit="ms", samples=samples, maximum=_MAXIMUM_MILLISECONDS, places=3)]
