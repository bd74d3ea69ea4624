"""200 profiles in one broker: how long a refresh of all takes, and what a further profile costs in memory.

STS takes 50 ms a call. Times are read from the files: from the signal (or from exec) to the rename of the last
`<profile>.json`. Memory is read after every profile was published and refreshed once more, and held against a broker
with one profile that went through the same; the threads that many profiles need are so part of a profile's price.
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
    """Return rows for a refresh of all, for the start, and for a profile's memory."""
    starts, refreshes, prices = [], [], []
    names = [f"team-{number:03d}" for number in range(_PROFILES)]
    with Workplace() as workplace:
        endpoint = workplace.start_sts("--latency", str(_LATENCY_SECONDS))
        for _ in range(repeats):
            _, _, one = _once(workplace, endpoint, names[:1])
            start, refresh, all_of_them = _once(workplace, endpoint, names)
            starts.append(start)
            refreshes.append(refresh)
            prices.append((all_of_them - one) / (_PROFILES - 1) * _KIB_A_MIB)
    latency = f"STS taking {_LATENCY_SECONDS * 1000:.0f} ms"
    return [
        Row(figure="resident memory, a further profile", unit="KiB", samples=prices, maximum=30),
        Row(figure=f"{_PROFILES} profiles refreshed, {latency}", unit="s", samples=refreshes, maximum=3, places=2),
        Row(figure=f"{_PROFILES} profiles from exec to published, {latency}", unit="s", samples=starts, places=2),
    ]


def _once(workplace: Workplace, endpoint: str, names: Sequence[str]) -> tuple[float, float, float]:
    """Return the seconds that start and refresh took, and the MiB resident after both."""
    began = time.time()
    broker = workplace.start_broker(endpoint, names)
    start = broker.wait_for_all_since(began) - began
    refresh = broker.refresh()
    resident = resident_mib(broker.process)
    end(broker.process)
    return start, refresh, resident
