"""200 profiles in one broker: the time of a refresh of all, and the memory of each further profile.

STS takes 50 ms for each call. Times are read from the files: from the signal, or from exec, to the rename of the last
`<profile>.json`. Memory is that of the started process, read after every profile was published and refreshed once, and
compared with a broker with one profile after the same.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from benchmarks.readings import NotReadable, read_memory
from benchmarks.rows import Row, Skipped
from benchmarks.runs import Workplace, end

if TYPE_CHECKING:
    from collections.abc import Sequence

NAME = "profiles"
_PROFILES = 200
_LATENCY_SECONDS = 0.05
_MAXIMUM_SECONDS = 1.8
_MAXIMUM_KIB = 10
_MEMORY = "resident memory, each further profile"
_KIB_A_MIB = 1024


def measure(repeats: int) -> Sequence[Row | Skipped]:
    """Return rows for the memory of a profile, a refresh of all profiles, and the start."""
    with Workplace() as workplace:
        endpoint = workplace.start_sts("--latency", str(_LATENCY_SECONDS))
        return [_measure_memory(workplace, endpoint, repeats), *_measure_times(workplace, endpoint, repeats)]


def _measure_memory(workplace: Workplace, endpoint: str, repeats: int) -> Row | Skipped:
    costs = []
    try:
        for _ in range(repeats):
            one, all_of_them = (_measure_resident_mib(workplace, endpoint, _names(count)) for count in (1, _PROFILES))
            costs.append((all_of_them - one) / (_PROFILES - 1) * _KIB_A_MIB)
    except NotReadable as error:
        return Skipped(figure=_MEMORY, reason=str(error))
    return Row(figure=_MEMORY, unit="KiB", samples=costs, maximum=_MAXIMUM_KIB)


def _measure_resident_mib(workplace: Workplace, endpoint: str, names: Sequence[str]) -> float:
    """Return the resident memory after the start and one refresh. Raises NotReadable."""
    broker = workplace.start_broker(endpoint, names)
    broker.wait_for_all_since(0.001)
    broker.refresh()
    resident = read_memory(broker.process.pid).resident
    end(broker.process)
    return resident


def _measure_times(workplace: Workplace, endpoint: str, repeats: int) -> Sequence[Row]:
    starts, refreshes = [], []
    for _ in range(repeats):
        began = time.time()
        broker = workplace.start_broker(endpoint, _names(_PROFILES))
        starts.append(broker.wait_for_all_since(began) - began)
        refreshes.append(broker.refresh())
        end(broker.process)
    latency = f"STS taking {_LATENCY_SECONDS * 1000:.0f} ms"
    return [
        Row(
            figure=f"{_PROFILES} profiles refreshed, {latency}",
            unit="s",
            samples=refreshes,
            maximum=_MAXIMUM_SECONDS,
            places=2,
        ),
        Row(figure=f"{_PROFILES} profiles from exec to published, {latency}", unit="s", samples=starts, places=2),
    ]


def _names(count: int) -> list[str]:
    return [f"team-{number:03d}" for number in range(count)]
