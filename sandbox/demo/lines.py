"""The demo without a terminal: one line for each happening, after the seconds since the start.

Rules: plain text, flushed at once, so that pipes and CI logs show it as it happens; a character that the stream cannot
take becomes a question mark.
It refuses to know what counts as good.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sandbox.demo.story import Happening, Story


class Lines:
    """Writes to a stream; a context manager for the sake of its richer sibling."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._told = 0

    def __enter__(self) -> None:
        """Begin: nothing to do."""

    def __exit__(self, *_: object) -> None:
        """End: nothing to do."""

    def show(self, story: Story) -> None:
        """Write what has happened since the last time."""
        news = story.happenings[self._told :]
        self._told += len(news)
        self._write([line_of(happening, story) for happening in news])

    def conclude(self, story: Story, *, counts: list[str], verdict: list[str], is_good: bool) -> None:
        """Write the last words."""
        del is_good  # the verdict's words say it
        self.show(story)
        self._write(["", *counts, "", *verdict])

    def _write(self, lines: Sequence[str]) -> None:
        if lines:
            encoding = self._stream.encoding or "utf-8"
            self._stream.write(("\n".join(lines) + "\n").encode(encoding, "replace").decode(encoding))
            self._stream.flush()


def line_of(happening: Happening, story: Story) -> str:
    """Write one happening as a line: seconds since the start, actor, sentence."""
    elapsed = max((happening.at - story.begun_at).total_seconds(), 0)
    mark = "! " if happening.trouble else ""
    return f"{elapsed:6.1f}  {happening.actor.value:<8} {mark}{happening.text}"
