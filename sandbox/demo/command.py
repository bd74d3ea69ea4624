"""`sts-broker demo`: runs the broker and an app against a local AWS simulator, and shows how credentials are refreshed.

Every started process is ended by its pid, and the temporary directory is removed, also after Ctrl-C, SIGTERM or an
error. The exit code is 0 only if every call of the app succeeded and the app used at least two generations of
credentials. Otherwise it is 1, and the last lines give the reasons.
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
from sandbox.demo.demo_run import DemoRun, Message, Pace, SignalReceived
from sandbox.demo.lines import Lines
from sandbox.demo.verdict import find_shortcomings, summarize, write_verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import timedelta

    from sandbox.demo.progress import Progress
    from sandbox.simulator import Sandbox

_MINIMUM_COLUMNS, _MINIMUM_LINES = 72, 22
_SIGNALS = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM", signal.SIGHUP: "SIGHUP"}


class View(Protocol):
    """Shows the demo while it runs, inside `with`, and its result afterwards."""

    def __enter__(self) -> object:
        """Start to show the demo."""
        ...

    def __exit__(self, *_: object) -> None:
        """Restore the terminal."""
        ...

    def show(self, progress: Progress) -> None:
        """Show the current state."""
        ...

    def conclude(self, progress: Progress, *, counts: list[str], verdict: list[str], is_good: bool) -> None:
        """Show the result."""
        ...


def run(*, seconds: float, prepare: Callable[[Sandbox], None] = lambda _: None, output: TextIO | None = None) -> int:
    """Run the demo for this many seconds and show it on `output` (default: standard output). Return the exit code.

    `prepare` is called with the simulator before anything uses it. Tests queue faults there.
    """
    view = _choose_view(output or sys.stdout, seconds)
    inbox: SimpleQueue[Message] = SimpleQueue()
    with (
        _forward_signals(inbox),
        host_environment.hide_host_settings(),
        tempfile.TemporaryDirectory(prefix="broker-demo-") as temporary,
    ):
        demo = DemoRun(directory=Path(temporary), pace=Pace.of(seconds), inbox=inbox, prepare=prepare)
        try:
            with view:
                demo.run(seconds, view.show)
                ended_after = datetime.now(UTC) - demo.progress.began_at
                demo.end_programs()
        finally:
            demo.close()
    return _conclude(view, demo.progress, ended_after)


def _conclude(view: View, progress: Progress, ended_after: timedelta) -> int:
    shortcomings = find_shortcomings(progress, ended_after=ended_after)
    view.conclude(
        progress,
        counts=summarize(progress, ended_after=ended_after),
        verdict=write_verdict(progress, shortcomings),
        is_good=not shortcomings,
    )
    return 1 if shortcomings else 0


def _choose_view(output: TextIO, seconds: float) -> View:
    """Return the screen view for a terminal that can show it, and the line view otherwise."""
    size = shutil.get_terminal_size()
    is_large = size.columns >= _MINIMUM_COLUMNS and size.lines >= _MINIMUM_LINES
    is_able = os.environ.get("TERM", "dumb") != "dumb" and "utf" in (output.encoding or "").lower()
    if not (output.isatty() and is_large and is_able):
        return Lines(output)
    from sandbox.demo.screen import Screen  # noqa: PLC0415 - only a terminal needs rich

    return Screen(output, seconds=seconds)


@contextlib.contextmanager
def _forward_signals(inbox: SimpleQueue[Message]) -> Iterator[None]:
    """Put received signals into the inbox. Ignored signals stay ignored. A handler may call SimpleQueue.put."""

    def forward(number: int, _: object) -> None:
        inbox.put(SignalReceived(signal_name=_SIGNALS[signal.Signals(number)]))

    before = {number: signal.getsignal(number) for number in _SIGNALS}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, forward)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
