"""CPU that `run` takes while there is nothing to do: naps of the loop, wake-ups of the health listener.

As many brokers as repeats idle beside each other for one nap of 30 s, each with an hour's session; the scheduler's
nanoseconds of each are read before and after.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from benchmarks.readings import cpu_seconds
from benchmarks.rows import Row
from benchmarks.runs import Workplace

if TYPE_CHECKING:
    from collections.abc import Sequence

NAME = "idle"
_SETTLE_SECONDS = 5
_WINDOW_SECONDS = 30
_MILLISECONDS_A_SECOND = 1000


def measure(repeats: int) -> Sequence[Row]:
    """Return the row."""
    with Workplace() as workplace:
        endpoint = workplace.start_sts()
        brokers = []
        for _ in range(repeats):
            broker = workplace.start_broker(endpoint)
            broker.wait_for_all_since(0.001)
            broker.get("/livez")
            brokers.append(broker)
        time.sleep(_SETTLE_SECONDS)
        began = [(time.monotonic(), cpu_seconds(broker.process)) for broker in brokers]
        time.sleep(_WINDOW_SECONDS)
        samples = [
            (cpu_seconds(broker.process) - cpu) / (time.monotonic() - at) * _MILLISECONDS_A_SECOND
            for broker, (at, cpu) in zip(brokers, began, strict=True)
        ]
    return [Row(figure="idle CPU, a second", unit="ms", samples=samples, maximum=0.5, places=3)]
