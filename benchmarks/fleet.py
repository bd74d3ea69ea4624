"""Simulates a fleet of pods that start at the same moment, and counts their calls to STS over time.

The schedule is the broker's own: `ProfileState` and `schedule.decide` decide about each pod, with one profile in each
and a virtual clock. STS answers at once. Nothing fails, and the token is always fresh. The first calls, which all pods
make at their start, are not counted. The same seed gives the same calls.

`python -m benchmarks.fleet` prints a table, and with `--picture` writes an SVG for docs/performance.md.
"""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from benchmarks.fleet_picture import draw_fleet
from broker.core.clock import Instant
from broker.core.profile_state import ProfileState
from broker.core.schedule import Action, RefreshPolicy, decide
from tests.support.fakes import EPOCH, make_credentials, make_profile, make_token

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_POLICY = RefreshPolicy()
_PROFILE = make_profile()
_TOKEN = make_token(lifetime=timedelta(days=365))
_ZERO = timedelta(0)
_HOUR = timedelta(hours=1)
_MAXIMUM_PEAKS = (1.5, 1.5, 1.2)
"""The limits for sessions of 1 h, by cycle. The last one applies to all later cycles, too."""
_MAXIMUM_EXTRA_CALLS = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Calls:
    """The calls of a fleet: how many there are in each bin, and in each cycle of so many bins."""

    counts: Sequence[int]
    bins: int
    pods: int

    @property
    def peaks(self) -> list[float]:
        """For each cycle, the largest number of calls in a bin, divided by the mean of the bins of this cycle."""
        starts = range(0, len(self.counts), self.bins)
        return [
            max(cycle) * self.bins / sum(cycle)
            for cycle in (self.counts[start : start + self.bins] for start in starts)
        ]

    @property
    def calls_a_pod(self) -> float:
        """The mean number of calls of a pod, without the one at its start."""
        return sum(self.counts) / self.pods


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """Pods that start together, with sessions of this lifetime, observed for some cycles of so many bins each."""

    pods: int
    lifetime: timedelta
    cycles: int = 6
    bins: int = 100
    seed: int = 0

    @property
    def cycle(self) -> timedelta:
        """The mean time between two refreshes of a pod."""
        return self.lifetime - _POLICY.lead(self.lifetime, 0.5)

    def simulate(self, *, spread: bool) -> Calls:
        """Return the calls. If not `spread`, the first refresh of a pod is due as any later one."""
        random = Random(self.seed)  # noqa: S311 - not a secret
        times = (time for _ in range(self.pods) for time in self._live(random, spread=spread))
        return self._count(times)

    def simulate_chance(self) -> Calls:
        """Return as many calls as pods in each cycle, each at any time with the same probability."""
        random = Random(self.seed)  # noqa: S311 - not a secret
        return self._count(self.cycle * self.cycles * random.random() for _ in range(self.pods * self.cycles))

    def _live(self, random: Random, *, spread: bool) -> Iterator[timedelta]:
        """Yield the times at which one pod calls STS, after its first call."""
        state = ProfileState(spec=_PROFILE, jitter=random.random() if spread else 0.0)
        age, end = _ZERO, self.cycle * self.cycles
        while age < end:
            at = Instant(now=EPOCH + age, monotonic=age)
            decision = decide(state.describe(at, can_publish=True), _TOKEN, _POLICY, state.jitter)
            if decision.action is Action.WAIT:  # nothing else happens before the refresh is due
                assert decision.refresh_at is not None
                age = max(age + decision.wake_in, decision.refresh_at - EPOCH)
                continue
            if age:
                yield age
            exchange = state.begin_exchange(_TOKEN, decision.reason, at)
            credentials = make_credentials(received_at=at.now, lifetime=self.lifetime)
            generation = state.accept_credentials(exchange, credentials, at, random.random(), _POLICY)
            state.mark_published(generation)

    def _count(self, times: Iterator[timedelta]) -> Calls:
        counts = [0] * (self.bins * self.cycles)
        width = self.cycle / self.bins
        for time in times:
            counts[min(time // width, len(counts) - 1)] += 1
        return Calls(counts=counts, bins=self.bins, pods=self.pods)


def main(arguments: Sequence[str] | None = None) -> int:
    """Simulate, print the table, and write the picture. Return 1 if a limit is exceeded."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fleet", description=__doc__)
    parser.add_argument("--pods", type=int, default=100_000, metavar="N", help="(default: 100000)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="(default: 0)")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="write the calls of sessions of 1 h as SVG")
    options = parser.parse_args(arguments)
    fleet = Fleet(pods=options.pods, lifetime=_HOUR, seed=options.seed)
    short = Fleet(pods=options.pods, lifetime=_HOUR / 4, seed=options.seed)
    with ProcessPoolExecutor() as processes:
        futures = {
            "as every later one, 1 h": processes.submit(fleet.simulate, spread=False),
            "at a random point of the cycle, 1 h": processes.submit(fleet.simulate, spread=True),
            "at a random point of the cycle, 15 min": processes.submit(short.simulate, spread=True),
            "none; calls at random times": processes.submit(fleet.simulate_chance),
        }
        simulated = {name: future.result() for name, future in futures.items()}
    print(render_table(simulated))
    together, spread, *_ = simulated.values()
    if options.picture:
        options.picture.write_text(draw_fleet(spread.counts, together.counts, fleet.cycle, fleet.bins))
    return 0 if are_limits_met(spread, together) else 1


def render_table(simulated: Mapping[str, Calls]) -> str:
    """Return the Markdown table of these calls: for each cycle the peak, and the calls of a pod."""
    cycles = len(next(iter(simulated.values())).peaks)
    header = ["first refresh, sessions", *(f"cycle {number + 1}" for number in range(cycles)), "calls of a pod"]
    rows = [header, ["---"] * len(header)]
    for name, calls in simulated.items():
        rows.append([name, *(f"{peak:.2f}" for peak in calls.peaks), f"{calls.calls_a_pod:.2f}"])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def are_limits_met(spread: Calls, together: Calls) -> bool:
    """Return whether no cycle has too high a peak, and no pod makes too many calls more than without spreading."""
    later = [_MAXIMUM_PEAKS[-1]] * len(spread.peaks)
    is_even = all(peak <= most for peak, most in zip(spread.peaks, [*_MAXIMUM_PEAKS, *later], strict=False))
    return is_even and spread.calls_a_pod - together.calls_a_pod <= _MAXIMUM_EXTRA_CALLS


if __name__ == "__main__":
    sys.exit(main())
