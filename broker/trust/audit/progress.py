"""Show how far the reading of an account is: a bar on standard error, on a terminal only."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from broker.core.model import printable

if TYPE_CHECKING:
    from types import TracebackType
    from typing import TextIO


class ReadingProgress:
    """A bar for one reading at a time. Without a terminal, only messages are printed."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        columns = (TextColumn("{task.description}", markup=False), BarColumn(bar_width=30), MofNCompleteColumn())
        is_shown = self._stream.isatty()
        self._bar = Progress(*columns, console=Console(file=self._stream), transient=True, disable=not is_shown)
        self._task = self._bar.add_task("", visible=False)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bar.stop()

    def begin(self, what: str, total: int | None = None) -> None:
        """Begin a reading of `total` things, None where the number is unknown."""
        self._bar.reset(self._task, description=what, total=total, visible=True)

    def advance(self, number: int = 1) -> None:
        """Report that so many more have been read."""
        self._bar.advance(self._task, number)

    def report(self, sentence: str) -> None:
        """Print a message for people."""
        self._bar.console.print(f"sts-broker: {printable(sentence)}", markup=False, highlight=False, soft_wrap=True)
