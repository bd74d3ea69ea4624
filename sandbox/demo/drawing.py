"""Draws lifetimes and calls as rows of characters: the remaining lifetime, and a timeline.

Pure functions. A row has exactly the requested width. Numbers distinguish generations, not colors alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise, zip_longest
from typing import TYPE_CHECKING

from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sandbox.demo.progress import AppCall, Lifespan

_COLORS = ("cyan", "magenta", "green", "yellow", "blue")
_LEFT, _ELAPSED, _DUE, _FAILED, _IDLE = "━", "─", "┃", "✗", "·"
_TICKS_SECONDS = (1, 2, 5, 10, 20, 30, 60)
_TICK_COLUMNS = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The period that a timeline shows, and the timeline's width."""

    began_at: datetime
    span: timedelta
    columns: int

    def column(self, at: datetime) -> int:
        """Return the column of a time. Outside the window, it is negative or at least `columns`."""
        return int((at - self.began_at) / self.span * self.columns // 1)


def color_of_generation(number: int) -> str:
    """Return the color of a generation."""
    return _COLORS[number % len(_COLORS)]


def draw_bar(span: Lifespan, *, now: datetime, columns: int) -> Text:
    """Draw the remaining lifetime, with a mark where replacement is due."""
    lifetime = span.expires_at - span.began_at
    left = round(max((span.expires_at - now) / lifetime, 0) * columns)
    due = round((span.expires_at - span.due_at) / lifetime * columns)
    row = Text(_LEFT * min(left, columns), style=color_of_generation(span.number))
    row.append(_ELAPSED * (columns - left), style="dim")
    if 0 < due < columns:
        row = row[:due] + Text(_DUE, style="bold") + row[due + 1 :]
    return row


def draw_lifespans(spans: Sequence[Lifespan], *, window: Window, now: datetime) -> Text:
    """Draw consecutive lifespans. Each begins with its number; one that began earlier starts at the window's edge."""
    row = [" "] * window.columns
    styles = [""] * window.columns
    for span, following in zip_longest(spans, spans[1:]):
        end = following.began_at if following else now
        first, last = window.column(span.began_at), window.column(end)
        for column in range(max(first, 0), min(last + 1, window.columns)):
            row[column], styles[column] = _LEFT, color_of_generation(span.number)
        if last < 0:
            continue
        for column, digit in enumerate(str(span.number), start=max(first, 0)):
            if column < window.columns:
                row[column], styles[column] = digit, f"bold {color_of_generation(span.number)}"
    return _join_cells(row, styles)


def draw_calls(calls: Sequence[AppCall], *, window: Window) -> Text:
    """Draw each call as the last digit of the generation that signed it or as failed, with dots between calls."""
    row = [" "] * window.columns
    styles = [""] * window.columns
    if calls:
        for column in range(max(window.column(calls[0].at), 0), min(window.column(calls[-1].at) + 1, window.columns)):
            row[column], styles[column] = _IDLE, "dim"
    for call in calls:
        column = window.column(call.at)
        if not 0 <= column < window.columns or row[column] == _FAILED:
            continue
        if call.failure:
            row[column], styles[column] = _FAILED, "bold red"
        else:
            row[column], styles[column] = str(call.generation % 10), color_of_generation(call.generation)
    return _join_cells(row, styles)


def draw_axis(*, window: Window, demo_began_at: datetime) -> Text:
    """Draw the axis of a timeline, in seconds since the start of the demo."""
    seconds = window.span.total_seconds()
    step = next((one for one in _TICKS_SECONDS if one * window.columns >= seconds * _TICK_COLUMNS), 60)
    offset = (window.began_at - demo_began_at).total_seconds()
    row = [" "] * window.columns
    tick = int(-(-offset // step) * step)
    while (column := window.column(demo_began_at + timedelta(seconds=tick))) < window.columns:
        label = f"{tick} s"
        if column + len(label) <= window.columns:
            row[column : column + len(label)] = label
        tick += step
    return Text("".join(row), style="dim")


def _join_cells(row: Sequence[str], styles: Sequence[str]) -> Text:
    text = Text()
    borders = [0, *(at for at in range(1, len(row)) if styles[at] != styles[at - 1]), len(row)]
    for first, last in pairwise(borders):
        text.append("".join(row[first:last]), style=styles[first])
    return text
