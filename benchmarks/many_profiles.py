"""200 profiles in one broker: the time of a refresh of all, and the memory of each further profile.

STS takes 50 ms for each call. Times are read from the files: from the signal, or from exec, to the rename of the last
`<profile>.json`. Memory is read after every profile was published and refreshed once, and compared with a broker with
one profile after the same. So it includes the threads that many profiles need.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from benchmarks.readings import resident_mib
from benchmarks.rows import Row
from benchmarks.runs import Workplace, end

if TYPE_CHECKING:
    from collections.abc import Sequence

NAME = "profiles"
_PROFILES = 200
_LATENCY_SECONDS = 0.05
_KIB_A_MIB = 1024


def measure(repeats: int) -> Sequence[Row]:
    """Return rows for the memory of a profile, a refresh of all profiles, and the start."""
    starts, refreshes, costs = [], [], []
    names = [f"team-{number:03d}" for number in range(_PROFILES)]
    with Workplace() as workplace:
        endpoint = workplace.start_sts("--latency", str(_LATENCY_SECONDS))
        for _ in range(repeats):
            _, _, memory_of_one = _measure_once(workplace, endpoint, names[:1])
            start, refresh, memory_of_all = _measure_once(workplace, endpoint, names)
            starts.append(start)
            refreshes.append(refresh)
            costs.append((memory_of_all - memory_of_one) / (_PROFILES - 1) * _KIB_A_MIB)
    latency = f"STS taking {_LATENCY_SECONDS * 1000:.0f} ms"
    return [
        Row(figure="resident memory, each further profile", unit="KiB", samples=costs, maximum=30),
        Row(figure=f"{_PROFILES} profiles refreshed, {latency}", unit="s", samples=refreshes, maximum=3, places=2),
        Row(figure=f"{_PROFILES} profiles from exec to published, {latency}", unit="s", samples=starts, places=2),
    ]


def _measure_once(workplace: Workplace, endpoint: str, names: Sequence[str]) -> tuple[float, float, float]:
    """Return the seconds of start and refresh, and the resident MiB after both."""
    began = time.time()
    broker = workplace.start_broker(endpoint, names)
    start = broker.wait_for_all_since(began) - began
    refresh = broker.refresh()
    resident = resident_mib(broker.process)
    end(broker.process)
    return start, refresh, resident
