"""The writer of the log: never blocks, bounded, in order, and every lost line is counted and reported."""

from __future__ import annotations

import fcntl
import io
import os
import select
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, NoReturn

import pytest

from broker.runtime.log_writer import MAXIMUM_BYTES, MAXIMUM_LINES, LogWriter

if TYPE_CHECKING:
    from collections.abc import Iterator

LONG = "x" * 999


class Pipe:
    """A pipe of 4 KiB with a writer, and a reader that reads only when asked to."""

    def __init__(self) -> None:
        self.reading, writing = os.pipe()
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
        self.stream = os.fdopen(writing, "w")
        self.writer = LogWriter(self.stream)

    def fill(self) -> None:
        """Fill the pipe, and let the thread of the writer block on it."""
        os.write(self.stream.fileno(), b"\n" * 4096)
        self.writer.put("first")
        while self.writer._waiting:
            time.sleep(0.001)

    def read_lines(self) -> list[str]:
        """Read until the writer has written everything, and return the lines."""
        text = b""
        while not self.writer.flush(0.01) or select_ready(self.reading):
            self.writer._is_stuck = False
            text += os.read(self.reading, 65536) if select_ready(self.reading) else b""
        return [line for line in text.decode().split("\n") if line]

    def close(self) -> None:
        os.close(self.reading)
        self.writer.close()
        if self.writer._thread is not None:
            self.writer._thread.join(5)
        self.stream.close()


def select_ready(file: int) -> bool:
    poll = select.poll()
    poll.register(file, select.POLLIN)
    return bool(poll.poll(0))


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe()
    yield made
    made.close()


def test_lines_are_written_in_order_each_with_a_newline() -> None:
    stream = io.StringIO()
    writer = LogWriter(stream)
    for number in range(100):
        writer.put(str(number))
    assert writer.flush(5)
    writer.close()
    assert stream.getvalue().split("\n") == [*map(str, range(100)), ""]


def test_full_pipe_does_not_block_and_lines_beyond_the_bound_are_counted_where_they_are_missing(pipe: Pipe) -> None:
    pipe.fill()
    began = time.monotonic()
    for number in range(MAXIMUM_LINES + 7):
        pipe.writer.put(str(number))
    assert time.monotonic() - began < 5
    assert pipe.writer.dropped == 7
    lines = pipe.read_lines()
    assert lines[:-1] == ["first", *map(str, range(MAXIMUM_LINES))]
    assert lines[-1] == "sts-broker: 7 lines were dropped because standard error took no more."
    pipe.writer.put("after")
    assert pipe.read_lines() == ["after"]


def test_queue_is_bounded_in_bytes(pipe: Pipe) -> None:
    pipe.fill()
    for _ in range(MAXIMUM_LINES):
        pipe.writer.put(LONG)
    accepted = MAXIMUM_BYTES // 1000
    assert pipe.writer.dropped == MAXIMUM_LINES - accepted
    assert pipe.read_lines().count(LONG) == accepted


def test_line_above_the_bound_is_written_if_nothing_waits(pipe: Pipe) -> None:
    pipe.writer.put("y" * 2 * MAXIMUM_BYTES)
    assert [len(line) for line in pipe.read_lines()] == [2 * MAXIMUM_BYTES]
    assert pipe.writer.dropped == 0


def test_slow_reader_gets_few_lines_about_dropped_lines(pipe: Pipe) -> None:
    """After the queue was full, no line is accepted until half of it is free."""
    pipe.fill()
    text = b""
    for _ in range(MAXIMUM_BYTES // 1000 * 4):
        pipe.writer.put(LONG)
        if pipe.writer.dropped:
            text += os.read(pipe.reading, 512)
            time.sleep(0.0005)
    lines = [line for line in text.decode().split("\n") if line] + pipe.read_lines()
    losses = [line for line in lines if "dropped" in line]
    assert 1 <= len(losses) <= 4
    assert sum(int(line.split()[1]) for line in losses) == pipe.writer.dropped


def test_flush_waits_for_the_given_time_and_not_again_without_progress(pipe: Pipe) -> None:
    pipe.fill()
    began = time.monotonic()
    assert not pipe.writer.flush(0.2)
    assert 0.2 <= time.monotonic() - began < 2
    began = time.monotonic()
    assert not pipe.writer.flush(5)
    assert time.monotonic() - began < 2
    os.read(pipe.reading, 65536)
    while pipe.writer._is_stuck:
        time.sleep(0.001)
    assert pipe.writer.flush(5)


def test_shared_pipe_that_another_process_made_non_blocking_loses_no_line(pipe: Pipe) -> None:
    os.set_blocking(pipe.stream.fileno(), False)
    lines = [f"{number} {LONG}" for number in range(20)]
    for line in lines:
        pipe.writer.put(line)
    assert pipe.read_lines() == lines
    assert pipe.writer.dropped == 0


def test_closed_reader_loses_and_counts_the_lines() -> None:
    pipe = Pipe()
    os.close(pipe.reading)
    pipe.writer.put("lost")
    pipe.writer.put("lost too")
    assert pipe.writer.flush(5)
    assert pipe.writer.dropped == 2
    pipe.reading = os.open(os.devnull, os.O_RDONLY)
    pipe.close()


def test_lines_that_the_disk_refused_are_reported_once_it_has_space_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first write is cut in the middle of a line, as a disk does that becomes full."""
    reading, writing = os.pipe()
    limit = 5
    write = os.write

    def write_with_limit(file: int, data: bytes) -> int:
        nonlocal limit
        if not limit:
            raise OSError(28, "No space left on device")
        written = write(file, data[:limit])
        limit -= written
        return written

    monkeypatch.setattr(os, "write", write_with_limit)
    with os.fdopen(writing, "w") as stream, os.fdopen(reading, "rb") as reader:
        writer = LogWriter(stream)
        writer.put("a line that is cut")
        writer.put("a line that is lost")
        assert writer.flush(5)
        assert writer.dropped == 2
        limit = 10_000
        writer.put("after")
        assert writer.flush(5)
        assert os.read(reader.fileno(), 65536).decode().split("\n") == [
            "a lin",
            "sts-broker: 2 lines were dropped because standard error took no more.",
            "after",
            "",
        ]
        writer.close()


def test_lines_are_written_without_a_thread_if_none_can_start(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: threading.Thread) -> NoReturn:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail)
        pipe.writer.put("first")
        assert os.read(pipe.reading, 100) == b"first\n"
        os.write(pipe.stream.fileno(), b"\n" * 4096)
        pipe.writer.put("second")  # waits: the pipe is full
    os.read(pipe.reading, 4096)
    pipe.writer.put("third")
    assert pipe.read_lines() == ["second", "third"]


def test_forked_child_writes_its_own_lines_only_while_its_parent_is_blocked() -> None:
    """In the parent, the thread writes to a full pipe, and a line waits. The child continues on another stream."""
    code = """
import os, sys
from broker.runtime import log_writer
reading, writing = os.pipe()
blocked = os.fdopen(os.dup(writing), "w")
os.set_blocking(writing, False)
try:
    while True:
        os.write(writing, b"x" * 4096)
except BlockingIOError:
    os.set_blocking(writing, True)
parent = log_writer.get_writer(blocked)
for number in range(2000):
    parent.put(f"parent {number}")
with parent._changed:  # another thread could hold it
    child = os.fork()
    if child == 0:
        assert parent.dropped == 0 and parent.flush(0)
        parent.put("to the blocked stream")
        log_writer.get_writer(sys.stderr).put("child")
        log_writer.flush(5)
        os._exit(3)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), parent.dropped > 900)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert (done.stdout, done.stderr) == ("3 True\n", "child\n")


def test_lines_queued_last_come_out_before_the_process_ends() -> None:
    code = """
import logging
from broker.runtime import logs
logs.configure("console", "info")
for number in range(500):
    logs.log_message(logging.INFO, "library", str(number))
raise SystemExit(4)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 4
    assert [line.split()[-1] for line in done.stderr.splitlines()] == [*map(str, range(500))]


def test_line_with_characters_that_the_terminal_lacks_is_escaped() -> None:
    with open(os.devnull, "w", encoding="ascii") as stream:  # noqa: PTH123 - a stream with an encoding
        writer = LogWriter(stream)
        writer.put("…")
        assert writer.flush(5)
        assert writer.dropped == 0
        writer.close()
