"""The demo on a terminal: remaining lifetimes, a timeline, counters of each actor, and the last events.

The picture fits a terminal of 80 by 24 and uses larger ones. It is on an alternate screen. At the end, the terminal is
restored, and the timeline and the summary are printed.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from sandbox.demo import drawing
from sandbox.demo.lines import format_event
from sandbox.demo.progress import Actor, shorten

if TYPE_CHECKING:
    from rich.console import RenderableType

    from sandbox.demo.progress import Event, Lifespan, Progress

_WINDOW_SECONDS = 60.0
_WHOLE_SECONDS = 65.0  # the final timeline shows a demo up to this length from its start, a longer one's last minute
_LABEL_COLUMNS = 16
_LEFT_COLUMNS = 29
_MINIMUM_COLUMNS = 8
_FINAL_PROBLEMS = 5
_EXPLANATION = "A boto3 app calls AWS while the broker refreshes its credentials. Ctrl-C ends."
_STYLES = {Actor.KUBELET: "blue", Actor.STS: "yellow", Actor.BROKER: "green", Actor.APP: "cyan", Actor.DEMO: "bold"}


class Screen:
    """Draws on a terminal. A context manager that restores the terminal."""

    def __init__(self, stream: TextIO, *, seconds: float) -> None:
        self._console = Console(file=stream, highlight=False)
        self._seconds = seconds
        self._live = Live(console=self._console, screen=True, auto_refresh=False, vertical_overflow="crop")

    def __enter__(self) -> None:
        """Switch to the alternate screen."""
        self._live.start()

    def __exit__(self, *_: object) -> None:
        """Restore the terminal."""
        self._live.stop()

    def show(self, progress: Progress) -> None:
        """Draw the current state."""
        self._live.update(self._draw_frame(progress, datetime.now(UTC)), refresh=True)

    def conclude(self, progress: Progress, *, counts: list[str], verdict: list[str], is_good: bool) -> None:
        """Print the timeline, the last problems and the result."""
        ended_at = progress.events[-1].at
        elapsed = max((ended_at - progress.began_at).total_seconds(), 1)
        self._console.print(Text("STS federation broker, demo", style="bold"))
        self._console.print(
            *self._draw_timeline(progress, ended_at, elapsed if elapsed <= _WHOLE_SECONDS else _WINDOW_SECONDS),
            sep="\n",
        )
        result = "\n".join(verdict)
        for event in [one for one in progress.events if one.is_problem and one.text not in result][-_FINAL_PROBLEMS:]:
            self._console.print(_draw_event(event, progress), soft_wrap=True)
        self._console.print()
        for line in counts:
            self._console.print(Text(line), soft_wrap=True)
        self._console.print()
        self._console.print(Text(verdict[0], style="bold green" if is_good else "bold red"), soft_wrap=True)
        for line in verdict[1:]:
            self._console.print(Text(line), soft_wrap=True)

    def _draw_frame(self, progress: Progress, now: datetime) -> RenderableType:
        above = [
            self._draw_header(progress, now),
            Text(_EXPLANATION, style="dim", overflow="ellipsis", no_wrap=True),
            Text(),
            self._draw_lifespan("bound token", progress.tokens, now, replacement="rotation"),
            self._draw_lifespan("credentials", progress.generations, now, replacement="refresh"),
            Text(),
            *self._draw_timeline(progress, now, min(self._seconds, _WINDOW_SECONDS)),
            Text(),
            *_draw_actors(progress, now),
            Text(),
        ]
        room = max(self._console.height - len(above), 1)
        return Group(*above, *(_draw_event(event, progress) for event in progress.events[-room:]))

    def _draw_header(self, progress: Progress, now: datetime) -> RenderableType:
        row = Table.grid(expand=True)
        row.add_column(no_wrap=True)
        row.add_column(justify="right", no_wrap=True)
        elapsed = min((now - progress.began_at).total_seconds(), self._seconds)
        title = Text("STS federation broker", style="bold").append(
            ", demo with a local AWS simulator", style="not bold"
        )
        row.add_row(title, Text(f"{elapsed:.0f} of {self._seconds:.0f} s"))
        return row

    def _draw_lifespan(self, label: str, spans: list[Lifespan], now: datetime, *, replacement: str) -> Text:
        text = Text(f"{label:<12} ", no_wrap=True, overflow="crop")
        if not spans:
            return text.append("none yet", style="dim")
        span = spans[-1]
        text.append(f"{span.number:<3}", style=f"bold {drawing.color_of_generation(span.number)}")
        columns = max(self._console.width - _LABEL_COLUMNS - _LEFT_COLUMNS, _MINIMUM_COLUMNS)
        text.append_text(drawing.draw_bar(span, now=now, columns=columns))
        left, due = (span.expires_at - now).total_seconds(), (span.due_at - now).total_seconds()
        return text.append(f" {max(left, 0):3.0f} s left, {replacement} in {max(due, 0):.0f} s")

    def _draw_timeline(self, progress: Progress, now: datetime, seconds: float) -> list[Text]:
        span = timedelta(seconds=seconds)
        columns = max(self._console.width - _LABEL_COLUMNS, _MINIMUM_COLUMNS)
        window = drawing.Window(began_at=max(progress.began_at, now - span), span=span, columns=columns)
        rows = {
            "tokens": drawing.draw_lifespans(progress.tokens, window=window, now=now),
            "generations": drawing.draw_lifespans(progress.generations, window=window, now=now),
            "calls signed by": drawing.draw_calls(progress.calls, window=window),
            "": drawing.draw_axis(window=window, demo_began_at=progress.began_at),
        }
        return [
            Text(f"{label:<{_LABEL_COLUMNS}}", no_wrap=True, overflow="crop").append_text(row)
            for label, row in rows.items()
        ]


def _draw_actors(progress: Progress, now: datetime) -> list[Text]:
    token = f"token {progress.tokens[-1].name}" if progress.tokens else ""
    request = f"request {progress.exchanges[-1].request_id}" if progress.exchanges else ""
    published, signed = "", ""
    if progress.generations:
        latest = progress.generations[-1]
        ago = max((now - latest.began_at).total_seconds(), 0)
        published = f"key {shorten(latest.name)}, published {ago:.0f} s ago"
    if progress.calls:
        signed = f"key {shorten(progress.calls[-1].access_key_id)}, generations used: {len(progress.signers)}"
    rotations, exchanges, calls = max(len(progress.tokens) - 1, 0), len(progress.exchanges), len(progress.calls)
    return [
        _draw_actor(Actor.KUBELET, "rotations", rotations, None, token),
        _draw_actor(Actor.STS, "exchanges", exchanges, len(progress.failed_exchanges), request),
        _draw_actor(Actor.BROKER, "generations", len(progress.generations), None, published),
        _draw_actor(Actor.APP, "calls", calls, len(progress.failures), signed),
        Text(f"{'':<9}{progress.arn}", no_wrap=True, overflow="ellipsis"),
    ]


def _draw_actor(actor: Actor, noun: str, count: int, failed: int | None, latest: str) -> Text:
    text = Text(f"{actor.value:<9}", style=_STYLES[actor], no_wrap=True, overflow="ellipsis")
    text.append(f"{noun:<11} {count:>4}  ", style="default")
    counted = "" if failed is None else f"failed {failed}"
    text.append(f"{counted:<11} ", style="bold red" if failed else "default")
    return text.append(latest, style="default")


def _draw_event(event: Event, progress: Progress) -> Text:
    line = format_event(event, progress)
    text = Text(line, no_wrap=True, overflow="ellipsis", style="red" if event.is_problem else "default")
    text.stylize(_STYLES[event.actor], 8, 8 + len(event.actor.value))
    return text
