"""Resident memory after an hour of `run`, compared with the bare script's memory at its end.

The hour is simulated in seconds, with more work than in reality: the refreshes of a day (48), each with a rotated
token, and the probes of an hour (`/livez` and `/readyz` every 10 s). Then the broker is scraped as often as by
Prometheus in an hour (every 15 s).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.readings import resident_mib
from benchmarks.rows import Row
from benchmarks.runs import Broker, Workplace, end, wait_for

if TYPE_CHECKING:
    from collections.abc import Sequence

NAME = "memory"
_REFRESHES = 48
_PROBES = 360
_SCRAPES = 240
_MAXIMUM_MIB = 56


def measure(repeats: int) -> Sequence[Row]:
    """Return a row for the broker before it is scraped, and one for the same broker afterwards."""
    unscraped, scraped, scripts = [], [], []
    with Workplace() as workplace:
        endpoint = workplace.start_sts()
        for _ in range(repeats):
            script, target = workplace.start_bare_script(endpoint)
            wait_for(target, script)
            scripts.append(resident_mib(script.process))
            end(script.process)
            broker = workplace.start_broker(endpoint)
            broker.wait_for_all_since(0.001)
            _simulate_an_hour(workplace, broker)
            unscraped.append(resident_mib(broker.process))
            for _ in range(_SCRAPES):
                broker.get("/metrics")
            scraped.append(resident_mib(broker.process))
            end(broker.process)
    return [_make_row("never scraped", unscraped, scripts), _make_row("scraped", scraped, scripts)]


def _simulate_an_hour(workplace: Workplace, broker: Broker) -> None:
    for _ in range(_REFRESHES):
        workplace.rotate_token()
        broker.refresh()
    for _ in range(_PROBES):
        broker.get("/livez")
        broker.get("/readyz")


def _make_row(which: str, samples: Sequence[float], scripts: Sequence[float]) -> Row:
    return Row(
        figure=f"resident memory after an hour of `run`, {which}",
        unit="MiB",
        samples=samples,
        against=scripts,
        maximum=_MAXIMUM_MIB,
        maximum_ratio=1.35,
    )
