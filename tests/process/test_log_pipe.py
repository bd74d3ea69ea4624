"""Standard error that takes no more log lines: nobody reads the pipe, its reader is gone, or the disk is full."""

from __future__ import annotations

import fcntl
import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sandbox.aws import faults
from tests.support.program import eventually, log_lines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.process.pod import Pod
    from tests.support.program import Program

pytestmark = pytest.mark.process

STOP_SECONDS = 2.0
"""The time that docs/operations.md promises for the end after SIGTERM."""
END_SECONDS = 10.0
"""How long a command that fails may take, with its start on a slow machine."""


def with_stderr(path: Path) -> tuple[str, ...]:
    """Return a wrapper that opens the path as standard error of the broker."""
    return ("sh", "-c", 'exec "$@" 2>"$0"', str(path))


class Pipe:
    """A FIFO of 4 KiB, filled with newlines. It has this reader until `close`."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.path = path
        self._file = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        fcntl.fcntl(self._file, fcntl.F_SETPIPE_SZ, 4096)

    def fill(self) -> None:
        with suppress(BlockingIOError):
            while True:
                os.write(self._file, b"\n" * 512)

    def read(self) -> str:
        """Return what the pipe contains now."""
        chunks = []
        with suppress(BlockingIOError):
            while True:
                chunks.append(os.read(self._file, 4096))
        return b"".join(chunks).decode()

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
        self._file = -1


@pytest.fixture
def pipe(tmp_path: Path) -> Iterator[Pipe]:
    made = Pipe(tmp_path / "stderr")
    yield made
    made.close()


def start_on_full_pipe(pod: Pod, pipe: Pipe, *arguments: str, **changes: str) -> Program:
    pipe.fill()
    wrapper = with_stderr(pipe.path)
    return pod.start(*arguments, wrapper=wrapper, umask=-1, BROKER_LOG_LEVEL="debug", **changes)


def is_published(pod: Pod) -> bool:
    return (pod.published / "default.json").exists()


def read_credentials(pod: Pod) -> str:
    return (pod.published / "default.json").read_text()


def assert_stops(program: Program) -> None:
    program.signal(signal.SIGTERM)
    assert program.wait(within=STOP_SECONDS) == 0


def test_refreshes_and_sigterm_work_while_nobody_reads_the_log(pod: Pod, pipe: Pipe) -> None:
    program = start_on_full_pipe(pod, pipe)
    eventually(lambda: is_published(pod), what="the first credentials")
    seen = {read_credentials(pod)}
    for count in range(2, 6):
        program.refresh()
        pod.sts.wait_for_calls(count)
        eventually(lambda: read_credentials(pod) not in seen, what="new credentials")
        seen.add(read_credentials(pod))
    assert_stops(program)


@pytest.mark.skipif(os.geteuid() != 0, reason="the kernel shows the files of the broker to root only")
def test_standard_error_stays_in_blocking_mode_for_the_processes_that_share_it(pod: Pod, pipe: Pipe) -> None:
    program = start_on_full_pipe(pod, pipe)
    eventually(lambda: is_published(pod), what="the first credentials")
    flags = next(
        int(line.split()[1], 8)
        for line in Path(f"/proc/{program.pid}/fdinfo/2").read_text().splitlines()
        if line.startswith("flags:")
    )
    assert not flags & os.O_NONBLOCK


def test_reader_that_resumes_gets_the_waiting_lines_and_the_number_of_dropped_ones(pod: Pod, pipe: Pipe) -> None:
    program = start_on_full_pipe(pod, pipe)
    eventually(lambda: is_published(pod), what="the first credentials")
    for _ in range(3000):  # each one is logged, unless the one before it is still pending
        program.refresh()
        time.sleep(0.001)
    text = ""

    def has_line(event: str) -> bool:
        nonlocal text
        text += pipe.read()
        return any(line["event"] == event for line in log_lines(text))

    eventually(lambda: has_line("log_lines_dropped"), what="the line about dropped lines")
    lines = log_lines(text)
    assert lines[0]["event"] == "starting"
    dropped = next(line for line in lines if line["event"] == "log_lines_dropped")
    lines.remove(dropped)  # its time is that of its writing
    assert [line["time"] for line in lines] == sorted(line["time"] for line in lines)
    assert dropped["level"] == "warning"
    assert dropped["dropped_lines"] > 100
    text = ""
    assert_stops(program)
    assert has_line("stopping")


@pytest.mark.parametrize("kind", ["full disk", "reader gone"])
def test_broken_standard_error_does_not_change_the_exit_code(pod: Pod, pipe: Pipe, kind: str) -> None:
    path = pipe.path if kind == "reader gone" else Path("/dev/full")
    program = pod.start(wrapper=with_stderr(path))
    eventually(lambda: is_published(pod), what="the first credentials")
    pipe.close()
    program.refresh()
    pod.sts.wait_for_calls(2)
    assert_stops(program)


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_invalid_settings_end_the_broker_though_nobody_reads_the_message(pod: Pod, pipe: Pipe, log_format: str) -> None:
    program = start_on_full_pipe(pod, pipe, AWS_ROLE_ARN="admin", BROKER_LOG_FORMAT=log_format)
    assert program.wait(within=END_SECONDS) == 2


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_invalid_settings_end_the_broker_with_2_on_a_full_disk(pod: Pod, log_format: str) -> None:
    wrapper = with_stderr(Path("/dev/full"))
    program = pod.start(wrapper=wrapper, AWS_ROLE_ARN="admin", BROKER_LOG_FORMAT=log_format)
    assert program.wait(within=END_SECONDS) == 2


def test_once_that_gives_up_ends_though_nobody_reads_the_message(pod: Pod, pipe: Pipe) -> None:
    pod.sts.always(faults.ACCESS_DENIED)
    program = start_on_full_pipe(pod, pipe, "once")
    assert program.wait(within=END_SECONDS) == 4


@pytest.mark.parametrize(("command", "code"), [("true", 0), ("no-such-command", 127)])
def test_exec_ends_with_its_command_though_nobody_reads_the_log(pod: Pod, pipe: Pipe, command: str, code: int) -> None:
    program = start_on_full_pipe(pod, pipe, "exec", "--", command)
    assert program.wait(within=END_SECONDS) == code


@pytest.mark.parametrize("arguments", [("exec",), ("run", "--wrong"), ("--",)])
def test_invalid_command_line_ends_the_broker_though_nobody_reads_the_message(
    pod: Pod, pipe: Pipe, arguments: tuple[str, ...]
) -> None:
    program = start_on_full_pipe(pod, pipe, *arguments)
    assert program.wait(within=END_SECONDS) == 2
    program = pod.start(*arguments, wrapper=with_stderr(Path("/dev/full")))
    assert program.wait(within=END_SECONDS) == 2


def test_verb_for_people_ends_though_nobody_reads_its_complaint(pod: Pod, pipe: Pipe) -> None:
    program = start_on_full_pipe(pod, pipe, "credentials", "--profile", "missing")
    assert program.wait(within=END_SECONDS) == 5
