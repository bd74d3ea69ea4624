"""A row of the table: samples, the reference, the limits, and whether they are met. Pure.

Figures that cannot be measured on this machine have a row with the reason.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Sequence

_HEADER = ("figure", "measured (least to most)", "against", "ratio", "at most", "met")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure, in `unit`. The reference `against[n]` was measured just before `samples[n]`. Limits are optional."""

    figure: str
    unit: str
    samples: Sequence[float]
    against: Sequence[float] = ()
    maximum: float | None = None
    maximum_ratio: float | None = None
    places: int = 1

    def __post_init__(self) -> None:
        """Refuse a limit that cannot be judged. Raises ValueError."""
        if self.maximum_ratio is not None and not self.against:
            raise ValueError(f"{self.figure}: a ratio has a limit, and nothing to compare with")

    @property
    def measured(self) -> float:
        """The median of the samples."""
        return median(self.samples)

    @property
    def ratio(self) -> float | None:
        """The median of the pairs' ratios, which other load affects less than the samples."""
        if not self.against:
            return None
        return median(sample / other for sample, other in zip(self.samples, self.against, strict=True))

    @property
    def is_met(self) -> bool | None:
        """Whether every limit is met; None if there is no limit."""
        verdicts = [
            value <= bound
            for value, bound in ((self.measured, self.maximum), (self.ratio, self.maximum_ratio))
            if value is not None and bound is not None
        ]
        return all(verdicts) if verdicts else None

    def document(self) -> dict[str, object]:
        """Return the row as JSON values, including every sample."""
        return {
            "figure": self.figure,
            "unit": self.unit,
            "measured": self.measured,
            "samples": list(self.samples),
            "against": list(self.against),
            "ratio": self.ratio,
            "maximum": self.maximum,
            "maximum_ratio": self.maximum_ratio,
            "met": self.is_met,
        }

    def cells(self) -> tuple[str, ...]:
        """Return the row's cells as Markdown."""
        bounds = [] if self.maximum_ratio is None else [f"{self.maximum_ratio:g}x"]
        bounds += [] if self.maximum is None else [f"{self.maximum:g} {self.unit}"]
        spread = f"({self._format(min(self.samples))} to {self._format(max(self.samples))})"
        return (
            self.figure,
            f"{self._format(self.measured)} {self.unit} {spread}",
            f"{self._format(median(self.against))} {self.unit}" if self.against else "-",
            "-" if self.ratio is None else f"{self.ratio:.2f}x",
            ", ".join(bounds) or "-",
            {True: "yes", False: "**no**", None: "-"}[self.is_met],
        )

    def _format(self, value: float) -> str:
        return f"{value:.{self.places}f}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """A figure that could not be measured on this machine."""

    figure: str
    reason: str

    is_met: ClassVar[bool | None] = None

    def document(self) -> dict[str, object]:
        """Return the row as JSON values."""
        return {"figure": self.figure, "skipped": self.reason}

    def cells(self) -> tuple[str, ...]:
        """Return the row's cells as Markdown."""
        return (self.figure, f"SKIPPED: {self.reason}", *("-" for _ in _HEADER[2:]))


def with_figures(page: str, figures: str) -> str:
    """Return the page with everything between its table's heading row and the line of the run replaced by `figures`.

    Raises ValueError if the page does not have exactly one such place.
    """
    head = re.escape(f"| {' | '.join(_HEADER)} |")
    written, count = re.subn(rf"^{head}\n(?:\|.*\n)+\nMedians of .*$", lambda _: figures, page, flags=re.MULTILINE)
    if count != 1:
        raise ValueError(f"{count} tables of figures; expected one, and below it a line that begins with Medians of")
    return written


def table(rows: Sequence[Row | Skipped]) -> str:
    """Return the rows as a Markdown table."""
    lines = [_HEADER, ("---",) * len(_HEADER), *(row.cells() for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
