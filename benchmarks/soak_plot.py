"""Draws the samples of a soak as SVG: one panel for each resource, from zero to its peak."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.soak_verdict import Series

_WIDTH = 720
_HEIGHT = 90
_TITLE = 22
_MARGIN = 10


def draw(series: Sequence[Series]) -> str:
    """Return the plot."""
    panels = "\n".join(_draw_panel(each, number * (_HEIGHT + _TITLE)) for number, each in enumerate(series))
    width, height = _WIDTH + 2 * _MARGIN, len(series) * (_HEIGHT + _TITLE) + _MARGIN
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        'font-family="sans-serif" font-size="12">\n'
        f'<rect width="{width}" height="{height}" fill="white"/>\n{panels}\n</svg>\n'
    )


def _draw_panel(series: Series, top: int) -> str:
    """Return a title with the peak, a frame, and the line of the samples."""
    end = series.samples[-1][0] or 1.0
    peak = max(value for _, value in series.samples)
    points = " ".join(
        f"{_MARGIN + at / end * _WIDTH:.1f},{top + _TITLE + (1 - value / (peak or 1)) * _HEIGHT:.1f}"
        for at, value in series.samples
    )
    title = escape(f"{series.name}: at most {peak:.1f} {series.unit}".rstrip())
    return (
        f'<text x="{_MARGIN}" y="{top + _TITLE - 6}">{title}, {end / 60:.1f} min</text>\n'
        f'<rect x="{_MARGIN}" y="{top + _TITLE}" width="{_WIDTH}" height="{_HEIGHT}" fill="none" stroke="#bbb"/>\n'
        f'<polyline points="{points}" fill="none" stroke="#06c"/>'
    )
