"""Resident memory after an hour of `run`, compared with the bare script's memory at its end.

The hour is simulated in seconds, with more work than in reality: the refreshes of a day (48), each with a rotated
token, and the probes of an hour (`/livez` and `/readyz` every 10 s). Then 40,000 clients fetch credentials from the
endpoint, and the broker is scraped as often as by Prometheus in an hour (every 15 s). Memory is read when the workers
have ended.

Resident and anonymous memory are those of the started process. The sum is that of all processes that live as long as
the broker (see `distinct_memory_mib`). The bare script runs in the same environment.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.load import send_correct_requests
from benchmarks.process_tree import distinct_memory_mib
from benchmarks.readings import NotReadable, read_memory
from benchmarks.rows import Row, Skipped
from benchmarks.runs import Broker, Workplace, end, wait_for

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.readings import Memory

NAME = "memory"
_REFRESHES = 48
_PROBES = 360
_SCRAPES = 240
_RESPONSES = 40_000
_MAXIMUM_MIB = 20
_MAXIMUM_ANONYMOUS_MIB = 13
_MAXIMUM_ADDED_MIB = 1
_UNSCRAPED = "resident memory after an hour of `run`, never scraped"
_SCRAPED = "resident memory after an hour of `run`, scraped"
_ANONYMOUS = "anonymous part of it, scraped"
_SUM = "all processes of `run` at rest, scraped, shared pages once"
_ADDED = f"credentials endpoint, resident memory added by {_RESPONSES:,} responses"


def measure(repeats: int) -> Sequence[Row | Skipped]:
    """Return the rows of this subject."""
    try:
        return _measure(repeats)
    except NotReadable as error:
        return [
            Skipped(figure=figure, reason=str(error)) for figure in (_UNSCRAPED, _SCRAPED, _ANONYMOUS, _SUM, _ADDED)
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Life:
    """The memory of a broker: before and after the responses, after the scrapes, and of all its processes."""

    unscraped: Memory
    served: Memory
    scraped: Memory
    everything_mib: float


def _measure(repeats: int) -> Sequence[Row]:
    lives, scripts = [], []
    with Workplace() as workplace:
        endpoint = workplace.start_sts()
        for _ in range(repeats):
            script, target = workplace.start_bare_script(endpoint)
            wait_for(target, script)
            scripts.append(read_memory(script.process.pid).resident)
            end(script.process)
            lives.append(_live(workplace, endpoint))
    unscraped = [each.unscraped.resident for each in lives]
    scraped = [each.scraped.resident for each in lives]
    anonymous = [each.scraped.anonymous for each in lives]
    added = [each.served.resident - each.unscraped.resident for each in lives]
    return [
        Row(figure=_UNSCRAPED, unit="MiB", samples=unscraped, against=scripts, maximum=_MAXIMUM_MIB),
        Row(figure=_SCRAPED, unit="MiB", samples=scraped, against=scripts, maximum=_MAXIMUM_MIB),
        Row(figure=_ANONYMOUS, unit="MiB", samples=anonymous, maximum=_MAXIMUM_ANONYMOUS_MIB),
        Row(figure=_SUM, unit="MiB", samples=[each.everything_mib for each in lives]),
        Row(figure=_ADDED, unit="MiB", samples=added, maximum=_MAXIMUM_ADDED_MIB, places=2),
    ]


def _live(workplace: Workplace, endpoint: str) -> _Life:
    """Run a broker through an hour, the responses and the scrapes. Raises NotReadable."""
    broker = workplace.start_broker(endpoint)
    broker.wait_for_all_since(0.001)
    _simulate_an_hour(workplace, broker)
    resting = broker.wait_for_rest()
    unscraped = read_memory(broker.process.pid)
    for mode in ("new", "kept"):
        send_correct_requests(mode, _RESPONSES // 2, broker.served())
    served = read_memory(broker.process.pid)
    for _ in range(_SCRAPES):
        broker.get("/metrics")
    broker.wait_for_processes(resting)
    life = _Life(
        unscraped=unscraped,
        served=served,
        scraped=read_memory(broker.process.pid),
        everything_mib=distinct_memory_mib(resting),
    )
    end(broker.process)
    return life


def _simulate_an_hour(workplace: Workplace, broker: Broker) -> None:
    for _ in range(_REFRESHES):
        workplace.rotate_token()
        broker.refresh()
    for _ in range(_PROBES):
        broker.get("/livez")
        broker.get("/readyz")
