"""Pictures of lives and calls as rows of characters: what is left of a life, and what happened when.

Rules: pure; a row is exactly as wide as asked; numbers, not colours alone, tell generations apart.
It refuses to know screens and clocks.
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

    from sandbox.demo.story import AppCall, Life

_COLOURS = ("cyan", "magenta", "green", "yellow", "blue")
_LEFT, _GONE, _DUE, _FAILED, _QUIET = "━", "─", "┃", "✗", "·"
_TICKS_SECONDS = (1, 2, 5, 10, 20, 30, 60)
_TICK_COLUMNS = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The stretch of time that a timeline shows, and its width."""

    begun_at: datetime
    span: timedelta
    columns: int

    def column(self, at: datetime) -> int:
        """Say which column an instant falls into; outside the window it is below 0, or `columns` and more."""
        return int((at - self.begun_at) / self.span * self.columns // 1)


def colour(number: int) -> str:
    """Give a generation its colour."""
    return _COLOURS[number % len(_COLOURS)]


def bar(life: Life, *, now: datetime, columns: int) -> Text:
    """Draw what is left of a life, with a mark where it is due for replacement."""
    lifetime = life.expires_at - life.begun_at
    left = round(max((life.expires_at - now) / lifetime, 0) * columns)
    due = round((life.expires_at - life.due_at) / lifetime * columns)
    row = Text(_LEFT * min(left, columns), style=colour(life.number))
    row.append(_GONE * (columns - left), style="dim")
    if 0 < due < columns:
        row = row[:due] + Text(_DUE, style="bold") + row[due + 1 :]
    return row


def lives(told: Sequence[Life], *, window: Window, now: datetime) -> Text:
    """Draw one life after the other: each begins with its number, the first at the window's edge if it is older."""
    row = [" "] * window.columns
    styles = [""] * window.columns
    for life, following in zip_longest(told, told[1:]):
        end = following.begun_at if following else now
        first, last = window.column(life.begun_at), window.column(end)
        for column in range(max(first, 0), min(last + 1, window.columns)):
            row[column], styles[column] = _LEFT, colour(life.number)
        if last < 0:
            continue
        for column, digit in enumerate(str(life.number), start=max(first, 0)):
            if column < window.columns:
                row[column], styles[column] = digit, f"bold {colour(life.number)}"
    return _joined(row, styles)


def calls(made: Sequence[AppCall], *, window: Window) -> Text:
    """Draw each call as the last digit of the generation that signed it, or as failed, and a dot between calls."""
    row = [" "] * window.columns
    styles = [""] * window.columns
    if made:
        for column in range(max(window.column(made[0].at), 0), min(window.column(made[-1].at) + 1, window.columns)):
            row[column], styles[column] = _QUIET, "dim"
    for call in made:
        column = window.column(call.at)
        if not 0 <= column < window.columns or row[column] == _FAILED:
            continue
        if call.failure:
            row[column], styles[column] = _FAILED, "bold red"
        else:
            row[column], styles[column] = str(call.generation % 10), colour(call.generation)
    return _joined(row, styles)


def axis(*, window: Window, story_begun_at: datetime) -> Text:
    """Draw the seconds since the story's start under a timeline."""
    seconds = window.span.total_seconds()
    step = next((one for one in _TICKS_SECONDS if one * window.columns >= seconds * _TICK_COLUMNS), 60)
    offset = (window.begun_at - story_begun_at).total_seconds()
    row = [" "] * window.columns
    tick = int(-(-offset // step) * step)
    while (column := window.column(story_begun_at + timedelta(seconds=tick))) < window.columns:
        label = f"{tick} s"
        if column + len(label) <= window.columns:
            row[column : column + len(label)] = label
        tick += step
    return Text("".join(row), style="dim")


def _joined(row: Sequence[str], styles: Sequence[str]) -> Text:
    text = Text()
    borders = [0, *(at for at in range(1, len(row)) if styles[at] != styles[at - 1]), len(row)]
    for first, last in pairwise(borders):
        text.append("".join(row[first:last]), style=styles[first])
    return text
