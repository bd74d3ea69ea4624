"""Resident memory an hour into `run`, held against the bare script's at its end.

The hour is lived through in seconds, and harder than a real one: a day's refreshes (48), each with a rotated token,
and an hour's probes (`/livez` and `/readyz` every 10 s each). Then it is scraped as often as Prometheus does in an hour
(every 15 s), because the first scrape imports the metrics library.
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
    """Return a row for a broker that is never scraped, and one for the same broker scraped."""
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
            _live_an_hour(workplace, broker)
            unscraped.append(resident_mib(broker.process))
            for _ in range(_SCRAPES):
                broker.get("/metrics")
            scraped.append(resident_mib(broker.process))
            end(broker.process)
    return [_row("never scraped", unscraped, scripts), _row("scraped", scraped, scripts)]


def _live_an_hour(workplace: Workplace, broker: Broker) -> None:
    for _ in range(_REFRESHES):
        workplace.rotate_token()
        broker.refresh()
    for _ in range(_PROBES):
        broker.get("/livez")
        broker.get("/readyz")


def _row(which: str, samples: Sequence[float], scripts: Sequence[float]) -> Row:
    return Row(
        figure=f"resident memory an hour into `run`, {which}",
        unit="MiB",
        samples=samples,
        against=scripts,
        maximum=_MAXIMUM_MIB,
        maximum_ratio=1.35,
    )
