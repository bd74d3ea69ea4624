"""The demo on a terminal: lives running out and being replaced in time, the actors, the last happenings.

Rules: it fits the terminal, from 80 by 24 on, and uses what there is; the whole picture is on one screen that goes
away at the end, and leaves the timeline and the summary behind.
It refuses to know what counts as good.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from sandbox.demo import drawing
from sandbox.demo.lines import line_of
from sandbox.demo.story import Actor, shortened

if TYPE_CHECKING:
    from rich.console import RenderableType

    from sandbox.demo.story import Happening, Life, Story

_WINDOW_SECONDS = 60.0
_WHOLE_SECONDS = 65.0  # a demo of this length is left behind as a whole, and not as its last minute
_LABEL_COLUMNS = 16
_LEFT_COLUMNS = 29
_LEAST_COLUMNS = 8
_TROUBLES = 5
_EXPLANATION = "A boto3 app calls AWS while its token and its keys expire under it. Ctrl-C ends."
_STYLES = {Actor.KUBELET: "blue", Actor.STS: "yellow", Actor.BROKER: "green", Actor.APP: "cyan", Actor.DEMO: "bold"}


class Screen:
    """Draws on a terminal; a context manager that gives the terminal back."""

    def __init__(self, stream: TextIO, *, seconds: float) -> None:
        self._console = Console(file=stream, highlight=False)
        self._seconds = seconds
        self._live = Live(console=self._console, screen=True, auto_refresh=False, vertical_overflow="crop")

    def __enter__(self) -> None:
        """Take the terminal."""
        self._live.start()

    def __exit__(self, *_: object) -> None:
        """Give the terminal back."""
        self._live.stop()

    def show(self, story: Story) -> None:
        """Draw the story as it is now."""
        self._live.update(self._frame(story, datetime.now(UTC)), refresh=True)

    def conclude(self, story: Story, *, counts: list[str], verdict: list[str], is_good: bool) -> None:
        """Leave the timeline, what went wrong, and the last words behind."""
        ended_at = story.happenings[-1].at
        elapsed = max((ended_at - story.begun_at).total_seconds(), 1)
        self._console.print(Text("STS federation broker, demo", style="bold"))
        self._console.print(
            *self._rows(story, ended_at, elapsed if elapsed <= _WHOLE_SECONDS else _WINDOW_SECONDS), sep="\n"
        )
        told = "\n".join(verdict)
        for happening in [one for one in story.happenings if one.trouble and one.text not in told][-_TROUBLES:]:
            self._console.print(_told(happening, story), soft_wrap=True)
        self._console.print()
        for line in counts:
            self._console.print(Text(line), soft_wrap=True)
        self._console.print()
        self._console.print(Text(verdict[0], style="bold green" if is_good else "bold red"), soft_wrap=True)
        for line in verdict[1:]:
            self._console.print(Text(line), soft_wrap=True)

    def _frame(self, story: Story, now: datetime) -> RenderableType:
        above = [
            self._header(story, now),
            Text(_EXPLANATION, style="dim", overflow="ellipsis", no_wrap=True),
            Text(),
            self._life("bound token", story.tokens, now, verb="rotation"),
            self._life("credentials", story.generations, now, verb="refresh"),
            Text(),
            *self._rows(story, now, min(self._seconds, _WINDOW_SECONDS)),
            Text(),
            *_actors(story, now),
            Text(),
        ]
        room = max(self._console.height - len(above), 1)
        return Group(*above, *(_told(happening, story) for happening in story.happenings[-room:]))

    def _header(self, story: Story, now: datetime) -> RenderableType:
        row = Table.grid(expand=True)
        row.add_column(no_wrap=True)
        row.add_column(justify="right", no_wrap=True)
        elapsed = min((now - story.begun_at).total_seconds(), self._seconds)
        title = Text("STS federation broker", style="bold").append(
            ", demo in an AWS account in a box", style="not bold"
        )
        row.add_row(title, Text(f"{elapsed:.0f} of {self._seconds:.0f} s"))
        return row

    def _life(self, label: str, told: list[Life], now: datetime, *, verb: str) -> Text:
        text = Text(f"{label:<12} ", no_wrap=True, overflow="crop")
        if not told:
            return text.append("none yet", style="dim")
        life = told[-1]
        text.append(f"{life.number:<3}", style=f"bold {drawing.colour(life.number)}")
        columns = max(self._console.width - _LABEL_COLUMNS - _LEFT_COLUMNS, _LEAST_COLUMNS)
        text.append_text(drawing.bar(life, now=now, columns=columns))
        left, due = (life.expires_at - now).total_seconds(), (life.due_at - now).total_seconds()
        return text.append(f" {max(left, 0):3.0f} s left, {verb} in {max(due, 0):.0f} s")

    def _rows(self, story: Story, now: datetime, seconds: float) -> list[Text]:
        span = timedelta(seconds=seconds)
        columns = max(self._console.width - _LABEL_COLUMNS, _LEAST_COLUMNS)
        window = drawing.Window(begun_at=max(story.begun_at, now - span), span=span, columns=columns)
        rows = {
            "tokens": drawing.lives(story.tokens, window=window, now=now),
            "generations": drawing.lives(story.generations, window=window, now=now),
            "calls signed by": drawing.calls(story.calls, window=window),
            "": drawing.axis(window=window, story_begun_at=story.begun_at),
        }
        return [
            Text(f"{label:<{_LABEL_COLUMNS}}", no_wrap=True, overflow="crop").append_text(row)
            for label, row in rows.items()
        ]


def _actors(story: Story, now: datetime) -> list[Text]:
    token = f"token {story.tokens[-1].name}" if story.tokens else ""
    request = f"request {story.exchanges[-1].request_id}" if story.exchanges else ""
    published, signed = "", ""
    if story.generations:
        latest = story.generations[-1]
        ago = max((now - latest.begun_at).total_seconds(), 0)
        published = f"key {shortened(latest.name)}, published {ago:.0f} s ago"
    if story.calls:
        signed = f"key {shortened(story.calls[-1].access_key_id)}, generations seen: {len(story.signers)}"
    rotations, exchanges, calls = max(len(story.tokens) - 1, 0), len(story.exchanges), len(story.calls)
    return [
        _actor(Actor.KUBELET, "rotations", rotations, None, token),
        _actor(Actor.STS, "exchanges", exchanges, len(story.refused_exchanges), request),
        _actor(Actor.BROKER, "generations", len(story.generations), None, published),
        _actor(Actor.APP, "calls", calls, len(story.failures), signed),
        Text(f"{'':<9}{story.arn}", no_wrap=True, overflow="ellipsis"),
    ]


def _actor(actor: Actor, noun: str, count: int, failed: int | None, latest: str) -> Text:
    text = Text(f"{actor.value:<9}", style=_STYLES[actor], no_wrap=True, overflow="ellipsis")
    text.append(f"{noun:<11} {count:>4}  ", style="default")
    counted = "" if failed is None else f"failed {failed}"
    text.append(f"{counted:<11} ", style="bold red" if failed else "default")
    return text.append(latest, style="default")


def _told(happening: Happening, story: Story) -> Text:
    line = line_of(happening, story)
    text = Text(line, no_wrap=True, overflow="ellipsis", style="red" if happening.trouble else "default")
    text.stylize(_STYLES[happening.actor], 8, 8 + len(happening.actor.value))
    return text
