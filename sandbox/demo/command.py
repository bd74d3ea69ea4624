"""`sts-broker demo`: the broker's whole job on an AWS account in a box, beside an app that must not notice.

Rules: what is started is ended, by its pid, and the temporary directory goes, whether the time is up, Ctrl-C or SIGTERM
comes, or something breaks; the exit code is 0 only if the app made every call and saw two generations, otherwise the
last lines say why it is 1.
It refuses to know how the broker works.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Protocol, TextIO

from sandbox import host_environment
from sandbox.demo.lines import Lines
from sandbox.demo.stage import Fact, Interrupted, Pace, Stage
from sandbox.demo.verdict import shortcomings, summary, verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import timedelta

    from sandbox.demo.story import Story
    from sandbox.simulator import Sandbox

_LEAST_COLUMNS, _LEAST_LINES = 72, 22
_SIGNALS = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM", signal.SIGHUP: "SIGHUP"}


class View(Protocol):
    """Shows a story while it happens, inside `with`, and its conclusion after that."""

    def __enter__(self) -> object:
        """Begin to show."""
        ...

    def __exit__(self, *_: object) -> None:
        """Give the terminal back."""
        ...

    def show(self, story: Story) -> None:
        """Show the story as it is now."""
        ...

    def conclude(self, story: Story, *, counts: list[str], verdict: list[str], is_good: bool) -> None:
        """Show the last words."""
        ...


def run(*, seconds: float, prepare: Callable[[Sandbox], None] = lambda _: None, output: TextIO | None = None) -> int:
    """Show the demo for so many seconds, on `output` (standard output). Return the exit code.

    `prepare` is called with the box before anything uses it: the place to script faults.
    """
    view = _view(output or sys.stdout, seconds)
    inbox: SimpleQueue[Fact] = SimpleQueue()
    with (
        _signals_told(inbox),
        host_environment.hidden(),
        tempfile.TemporaryDirectory(prefix="broker-demo-") as temporary,
    ):
        stage = Stage(directory=Path(temporary), pace=Pace.of(seconds), inbox=inbox, prepare=prepare)
        try:
            with view:
                stage.play(seconds, view.show)
                ended_after = datetime.now(UTC) - stage.story.begun_at
                stage.end_programs()
        finally:
            stage.close()
    return _conclude(view, stage.story, ended_after)


def _conclude(view: View, story: Story, ended_after: timedelta) -> int:
    missing = shortcomings(story, ended_after=ended_after)
    view.conclude(
        story, counts=summary(story, ended_after=ended_after), verdict=verdict(story, missing), is_good=not missing
    )
    return 1 if missing else 0


def _view(output: TextIO, seconds: float) -> View:
    """Choose the screen for a terminal that can show it, lines for all else."""
    size = shutil.get_terminal_size()
    is_large = size.columns >= _LEAST_COLUMNS and size.lines >= _LEAST_LINES
    is_able = os.environ.get("TERM", "dumb") != "dumb" and "utf" in (output.encoding or "").lower()
    if not (output.isatty() and is_large and is_able):
        return Lines(output)
    from sandbox.demo.screen import Screen  # noqa: PLC0415 - only a terminal needs rich

    return Screen(output, seconds=seconds)


@contextlib.contextmanager
def _signals_told(inbox: SimpleQueue[Fact]) -> Iterator[None]:
    """Turn signals into facts (SimpleQueue.put may be called from a handler); a signal that was ignored stays so."""

    def tell(number: int, _: object) -> None:
        inbox.put(Interrupted(signal_name=_SIGNALS[signal.Signals(number)]))

    before = {number: signal.getsignal(number) for number in _SIGNALS}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, tell)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
