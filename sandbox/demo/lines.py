"""The demo without a terminal: one line for each event, with the seconds since the start.

The output is plain text and flushed at once, so that pipes and CI logs show events when they happen. A character that
the stream cannot encode becomes a question mark.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sandbox.demo.progress import Event, Progress


class Lines:
    """Writes lines to a stream. A context manager only because `Screen` is one."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._written = 0

    def __enter__(self) -> None:
        """Do nothing."""

    def __exit__(self, *_: object) -> None:
        """Do nothing."""

    def show(self, progress: Progress) -> None:
        """Write the new events."""
        new = progress.events[self._written :]
        self._written += len(new)
        self._write([format_event(event, progress) for event in new])

    def conclude(self, progress: Progress, *, counts: list[str], verdict: list[str], is_good: bool) -> None:
        """Write the remaining events and the result."""
        del is_good  # the text of the verdict says it
        self.show(progress)
        self._write(["", *counts, "", *verdict])

    def _write(self, lines: Sequence[str]) -> None:
        if lines:
            encoding = self._stream.encoding or "utf-8"
            self._stream.write(("\n".join(lines) + "\n").encode(encoding, "replace").decode(encoding))
            self._stream.flush()


def format_event(event: Event, progress: Progress) -> str:
    """Return an event as a line: seconds since the start, actor, text."""
    elapsed = max((event.at - progress.began_at).total_seconds(), 0)
    mark = "! " if event.is_problem else ""
    return f"{elapsed:6.1f}  {event.actor.value:<8} {mark}{event.text}"
