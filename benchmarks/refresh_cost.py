"""The CPU time of a refresh: the resident process, and the worker that starts for it and ends after it.

A refresh is due every half hour, so each one needs a new worker. Therefore the next refresh is requested only after the
broker has the same processes as at rest. The first one is not measured.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.process_tree import tree_cpu_seconds
from benchmarks.rows import Row
from benchmarks.runs import Broker, Workplace

if TYPE_CHECKING:
    from collections.abc import Sequence

NAME = "refresh"
_REFRESHES_A_SAMPLE = 4
"""The time of ended workers is known in ticks of 10 ms only, so that a sample needs several of them."""
_MAXIMUM_MILLISECONDS = 130
_MILLISECONDS_A_SECOND = 1000


def measure(repeats: int) -> Sequence[Row]:
    """Return the row of this subject."""
    samples = []
    with Workplace() as workplace:
        broker = workplace.start_broker(workplace.start_sts())
        broker.wait_for_all_since(0.001)
        resting = broker.wait_for_rest()
        _refresh(workplace, broker, resting)
        for _ in range(repeats):
            before = tree_cpu_seconds(broker.process.pid)
            for _ in range(_REFRESHES_A_SAMPLE):
                _refresh(workplace, broker, resting)
            spent = tree_cpu_seconds(broker.process.pid) - before
            samples.append(spent / _REFRESHES_A_SAMPLE * _MILLISECONDS_A_SECOND)
    return [Row(figure="CPU of a refresh, all processes", unit="ms", samples=samples, maximum=_MAXIMUM_MILLISECONDS)]


def _refresh(workplace: Workplace, broker: Broker, resting: frozenset[int]) -> None:
    workplace.rotate_token()
    broker.refresh()
    broker.wait_for_processes(resting)
