"""Writes lines to standard error without ever blocking the thread that logs them.

Standard error is usually a pipe. If nobody reads it, a write blocks once the pipe is full: for 64 KiB on Linux. A
thread of its own therefore writes the lines, from a bounded queue. A line that finds the queue full is dropped and
counted. docs/adr/0023-log-never-blocks.md compares the alternatives. This module knows nothing about log formats.
"""

from __future__ import annotations

import os
import select
import sys
import threading
from collections import deque
from typing import TYPE_CHECKING, Final, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable

MAXIMUM_LINES: Final = 1000
MAXIMUM_BYTES: Final = 256 * 1024
"""Bounds of the queue. A single longer line is accepted by an empty queue."""
FLUSH_SECONDS: Final = 1.0
"""How long the end of the process waits for lines. SIGTERM must end the broker within 2 s."""


def describe_dropped_lines(count: int) -> str:
    """Return the text that replaces dropped lines, unless the log has its own format for it."""
    return f"sts-broker: {count} lines were dropped because standard error took no more."


class LogWriter:
    """Writes lines to one stream, in order, on a daemon thread that starts with the first line.

    `describe_loss` returns the line that is written in place of dropped lines, given their number. Any thread may call
    the methods. After a fork, the child continues with an empty queue, because the parent writes the waiting lines.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream: Final = stream
        self.describe_loss: Callable[[int], str] = describe_dropped_lines
        self.dropped = 0
        """Lines lost since the start of the process: the queue was full, or the system refused to write them."""
        self._output = _Output(stream)
        self._unreported = 0  # dropped lines for which no line was written yet; used by the writing thread only
        self._start_empty()

    def forget_parent(self) -> None:
        """Continue in a forked child, which has neither the parent's thread nor responsibility for its lines."""
        self.dropped = self._unreported = 0
        self._start_empty()

    def _start_empty(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[bytes | int] = deque()  # lines, and numbers of lines that were dropped at their place
        self._waiting_bytes = 0
        self._thread: threading.Thread | None = None
        self._is_writing = self._is_full = self._is_stuck = self._is_closed = False

    def put(self, line: str) -> None:
        """Queue a line, which gets a newline at its end. Never blocks. Drops the line if the queue is full."""
        data = f"{line}\n".encode(self._output.encoding, "backslashreplace")
        with self._changed:
            if self._has_room(len(data)):
                self._waiting.append(data)
                self._waiting_bytes += len(data)
            else:
                self._drop()
            if self._thread is None:
                self._start_thread()
            self._changed.notify_all()

    def flush(self, seconds: float) -> bool:
        """Wait until all lines are written, `seconds` at most. Return whether they are.

        If an earlier call waited in vain and nothing was written since, this one does not wait.
        """
        with self._changed:
            if not self._is_stuck:
                self._is_stuck = not self._changed.wait_for(lambda: not self._waiting and not self._is_writing, seconds)
            return not self._is_stuck

    def close(self) -> None:
        """End the thread once the lines that wait are written."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def _has_room(self, size: int) -> bool:
        """Return whether the queue accepts a line.

        After it was full it accepts none until half of it is free. Otherwise a slow reader would get a line about
        dropped lines after every other line.
        """
        limit = 2 if self._is_full else 1
        self._is_full = bool(self._waiting) and (
            len(self._waiting) >= MAXIMUM_LINES // limit or self._waiting_bytes + size > MAXIMUM_BYTES // limit
        )
        return not self._is_full

    def _drop(self) -> None:
        self.dropped += 1
        last = self._waiting[-1]
        if isinstance(last, int):
            self._waiting[-1] = last + 1
        else:
            self._waiting.append(1)

    def _start_thread(self) -> None:
        thread = threading.Thread(target=self._write_lines, name="log", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the pod's process limit is used up; the next line tries again
            self._write_without_thread()
        else:
            self._thread = thread

    def _write_without_thread(self) -> None:
        """Write the waiting lines on this thread, as long as the stream is ready. Only a line above 4 KiB can block."""
        while self._waiting and self._output.is_ready():
            self._write(self._take())

    def _write_lines(self) -> None:
        while True:
            with self._changed:
                self._is_writing = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._waiting or self._is_closed)
                if not self._waiting:
                    return
                item = self._take()
                self._is_writing = True
            self._write(item)

    def _take(self) -> bytes | int:
        item = self._waiting.popleft()
        if isinstance(item, bytes):
            self._waiting_bytes -= len(item)
        return item

    def _write(self, item: bytes | int) -> None:
        """Write a line, and before it the number of lines that were dropped. Count it if the system refuses it."""
        if isinstance(item, int):
            self._unreported += item
            item = b""
        data = item
        if self._unreported:
            loss = f"{self.describe_loss(self._unreported)}\n".encode(self._output.encoding, "backslashreplace")
            data = loss + item
        is_written = self._output.write(data)
        self._is_stuck = False
        if is_written:
            self._unreported = 0
        elif item:
            self._unreported += 1
            self.dropped += 1


class _Output:
    """The file behind a stream, written to without Python's buffers.

    What those cannot write, they keep, and Python tries to write it again at its end: the exit code is then 120. A
    thread that is blocked in them would abort the end of the process. A stream without a file is written to directly.
    """

    def __init__(self, stream: TextIO) -> None:
        self.encoding = stream.encoding or "utf-8"
        self._stream = stream
        self._is_torn = False  # the last write ended within a line
        try:
            self._file = stream.fileno()
        except (OSError, ValueError):  # io.StringIO, and what tests capture
            self._file = -1

    def is_ready(self) -> bool:
        """Return whether a write is unlikely to block."""
        if self._file < 0:
            return True
        poll = select.poll()
        poll.register(self._file, select.POLLOUT)
        return bool(poll.poll(0))

    def write(self, data: bytes) -> bool:
        """Write whole lines. Return False if the system refuses, for example because the disk is full."""
        if self._is_torn:
            data = b"\n" + data
        while data:
            try:
                if self._file < 0:
                    self._stream.write(data.decode(self.encoding))
                    return True
                written = os.write(self._file, data)
            except BlockingIOError:  # another process that shares the file has made it non-blocking
                self._wait()
            except (OSError, ValueError):  # ValueError: the stream is closed
                return False
            else:
                self._is_torn = written < len(data)
                data = data[written:]
        return True

    def _wait(self) -> None:
        poll = select.poll()
        poll.register(self._file, select.POLLOUT)
        poll.poll()


class _Shared:
    """The writer of standard error, which the log and the messages of failed commands share to keep their order."""

    writer: LogWriter | None = None


def get_writer(stream: TextIO | None = None) -> LogWriter:
    """Return the writer for `stream` (default: standard error). A process has one; another stream replaces it."""
    stream = stream or sys.stderr
    writer = _Shared.writer
    if writer is None or writer.stream is not stream:
        if writer is not None:
            writer.close()
        writer = _Shared.writer = LogWriter(stream)
    return writer


def write_line(line: str) -> None:
    """Write a line to standard error, and wait for a second at most until it is written."""
    writer = get_writer()
    writer.put(line)
    writer.flush(FLUSH_SECONDS)


def flush(seconds: float = FLUSH_SECONDS) -> None:
    """Wait until all lines are written, `seconds` at most."""
    if _Shared.writer is not None:
        _Shared.writer.flush(seconds)


def count_dropped_lines() -> int:
    """Return how many lines this process has lost."""
    return _Shared.writer.dropped if _Shared.writer is not None else 0


def _forget_parent() -> None:
    if _Shared.writer is not None:
        _Shared.writer.forget_parent()


os.register_at_fork(after_in_child=_forget_parent)
