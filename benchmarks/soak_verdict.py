"""Decides whether a resource stays flat over a soak. Pure.

The first 30 s are the warm-up and do not count. A resource is flat if both of these hold:

- *It does not grow.* The trend over the measured time, which is the Theil-Sen slope (the median of the slopes between
  all pairs of samples) multiplied by that time, is at most the allowance. Single peaks, such as a worker, do not count.
- *It does not step up.* The median of the last minute is at most the peak of the first half plus the allowance.

Each resource has its own allowance. It covers what the allocator keeps, and a worker that lives during the last minute.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import combinations
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

WARM_UP_SECONDS = 30.0
_MINUTE = 60.0
_SECONDS_AN_HOUR = 3600
_MOST_SAMPLES = 720
"""Pairs grow with the square of the samples. Of more samples, every n-th is used for the slope."""
_HEADER = ("resource", "first", "median", "last minute", "peak", "slope, each hour", "flat")


@dataclass(slots=True, kw_only=True)
class Series:
    """The samples of one resource: seconds since the start, and value."""

    name: str
    allowance: float
    unit: str = ""
    samples: list[tuple[float, float]] = field(default_factory=list)

    def add(self, at_seconds: float, value: float) -> None:
        """Add one sample. Times must grow."""
        self.samples.append((at_seconds, value))

    @property
    def last_minute(self) -> float:
        """The median of the last minute."""
        end = self.samples[-1][0]
        return median(value for at, value in self.samples if at >= end - _MINUTE)

    @property
    def slope_an_hour(self) -> float:
        """The Theil-Sen slope after the warm-up."""
        counted = self._counted()
        counted = counted[:: len(counted) // _MOST_SAMPLES + 1]
        slopes = [(later - value) / (then - at) for (at, value), (then, later) in combinations(counted, 2)]
        return median(slopes) * _SECONDS_AN_HOUR

    @property
    def is_flat(self) -> bool:
        """Whether it neither grows nor steps up, by more than the allowance."""
        counted = self._counted()
        hours = (counted[-1][0] - counted[0][0]) / _SECONDS_AN_HOUR
        peak = max(value for _, value in counted[: (len(counted) + 1) // 2])
        return self.slope_an_hour * hours <= self.allowance and self.last_minute <= peak + self.allowance

    def cells(self) -> tuple[str, ...]:
        """Return the row's cells as Markdown."""
        values = [value for _, value in self.samples]
        figures = (values[0], median(values), self.last_minute, max(values), self.slope_an_hour)
        return (self.name, *map(self._format, figures), "yes" if self.is_flat else "**no**")

    def _counted(self) -> list[tuple[float, float]]:
        return [sample for sample in self.samples if sample[0] >= WARM_UP_SECONDS]

    def _format(self, value: float) -> str:
        return f"{value:.1f} {self.unit}".strip()


def table(series: Sequence[Series]) -> str:
    """Return a Markdown table with a row for each resource."""
    lines = [_HEADER, ("---",) * len(_HEADER), *(each.cells() for each in series)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
