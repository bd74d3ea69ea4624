"""The picture of a fleet's calls to STS over time, as an SVG that is readable on light and dark pages. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

_LEFT, _TOP, _WIDTH, _HEIGHT = 44, 44, 620, 190
_BINS_A_POINT = 5
_HALF_HOUR_SECONDS = 1800
_STYLE = """
    text { font: 12px sans-serif; fill: #424a53 }
    path { fill: none; stroke-width: 1.5; stroke-linejoin: round }
    .axis { stroke: #8c959f; stroke-width: 1 }
    .grid { stroke: #8c959f; stroke-width: 0.5; stroke-dasharray: 2 4 }
    .spread { stroke: #0969da }
    .together { stroke: #bc4c00 }
    text.spread { fill: #0969da; stroke: none }
    text.together { fill: #bc4c00; stroke: none }
    @media (prefers-color-scheme: dark) {
      text { fill: #b1bac4 }
      .spread { stroke: #58a6ff }
      .together { stroke: #f0883e }
      text.spread { fill: #58a6ff }
      text.together { fill: #f0883e }
    }
  """
_SVG = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" aria-labelledby="title">
  <title id="title">Calls to STS of a fleet that starts together, as a multiple of the mean</title>
  <style>{style}</style>
{body}
</svg>
"""


def draw_fleet(spread: Sequence[int], together: Sequence[int], cycle: timedelta, bins: int) -> str:
    """Return the SVG: calls in each bin with and without spreading, for cycles of this length and so many bins."""
    mean = sum(spread) / len(spread)
    lines = [_average([count / mean for count in counts]) for counts in (together, spread)]
    top = int(max(max(line) for line in lines)) + 1
    seconds = cycle.total_seconds() * len(spread) / bins
    body = [
        *_draw_axes(top, seconds),
        _draw_line("together", lines[0], top),
        _draw_line("spread", lines[1], top),
        _draw_text(_LEFT + 8, _TOP - 12, "calls to STS, as a multiple of the mean"),
        _draw_text(_LEFT + _WIDTH, _TOP - 28, "first refresh as every later one", "together", "end"),
        _draw_text(_LEFT + _WIDTH, _TOP - 12, "first refresh at a random point of the cycle", "spread", "end"),
    ]
    return _SVG.format(width=_LEFT + _WIDTH + 16, height=_TOP + _HEIGHT + 40, style=_STYLE, body="\n".join(body))


def _average(values: Sequence[float]) -> list[float]:
    """Return the means of a few neighbors each, so that the picture is small."""
    groups = (values[start : start + _BINS_A_POINT] for start in range(0, len(values), _BINS_A_POINT))
    return [sum(group) / len(group) for group in groups]


def _draw_axes(top: int, seconds: float) -> list[str]:
    bottom, right = _TOP + _HEIGHT, _LEFT + _WIDTH
    parts = [f'  <path class="axis" d="M{_LEFT} {_TOP}V{bottom}H{right}"/>']
    for value in range(top + 1):
        y = bottom - _HEIGHT * value / top
        parts.append(_draw_text(_LEFT - 8, y + 4, str(value), anchor="end"))
        if value:
            parts.append(f'  <path class="grid" d="M{_LEFT} {y:.0f}H{right}"/>')
    for number in range(int(seconds // _HALF_HOUR_SECONDS) + 1):
        x = _LEFT + _WIDTH * number * _HALF_HOUR_SECONDS / seconds
        parts.append(_draw_text(x, bottom + 18, f"{number / 2:g}", anchor="middle"))
    parts.append(_draw_text(_LEFT + _WIDTH / 2, bottom + 35, "hours since the start", anchor="middle"))
    return parts


def _draw_line(name: str, values: Sequence[float], top: int) -> str:
    step = _WIDTH / len(values)
    points = (
        f"{_LEFT + (index + 0.5) * step:.1f} {_TOP + _HEIGHT * (1 - value / top):.1f}"
        for index, value in enumerate(values)
    )
    return f'  <path class="{name}" d="M{"L".join(points)}"/>'


def _draw_text(x: float, y: float, text: str, name: str = "", anchor: str = "start") -> str:
    kind = f' class="{name}"' if name else ""
    return f'  <text{kind} x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}">{text}</text>'
