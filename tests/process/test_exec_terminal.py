"""The verb `exec` on a terminal: keys, hangup and job control reach the command, each once."""

from __future__ import annotations

import fcntl
import os
import pty
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import termios
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.process.commands import LISTENER, read_signals, wait_for_signals
from tests.support.program import children_of, command, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.process.pod import Pod

pytestmark = pytest.mark.process

ON_A_TERMINAL = (
    sys.executable,
    "-c",
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execvp(sys.argv[1], sys.argv[1:])",
)


@pytest.fixture
def signals(tmp_path: Path) -> Path:
    """Return the file to which a LISTENER writes."""
    return tmp_path / "signals"


class Terminal:
    """A program on its own pseudo terminal, as the leader of its session."""

    def __init__(self, pod: Pod, *program: str) -> None:
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [*ON_A_TERMINAL, *program],
            env=pod.environment(),
            cwd=pod.root / "cwd",
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)

    def close(self) -> None:
        """Close the terminal."""
        if self.master >= 0:
            os.close(self.master)
            self.master = -1


@contextmanager
def terminal(pod: Pod, *program: str) -> Iterator[Terminal]:
    """Run a program on a terminal. Kill it at the end, with its children and grandchildren."""
    pod.published.mkdir()  # a killed broker leaves its directory here, not in /dev/shm
    ours = Terminal(pod, *program)
    try:
        yield ours
    finally:
        children = children_of(ours.process.pid)
        for pid in [*(grandchild for child in children for grandchild in children_of(child)), *children]:
            os.kill(pid, signal.SIGKILL)
        ours.process.kill()
        ours.process.wait()
        ours.close()


def test_keys_of_a_terminal_reach_the_command_once(pod: Pod, signals: Path) -> None:
    """The kernel signals the whole process group, so the command receives the signal without the broker."""
    with terminal(pod, *command("exec", "--", sys.executable, "-c", LISTENER, str(signals))) as ours:
        read_signals(signals)
        for count in range(1, 6):  # a second signal is lost if the first is still pending
            os.write(ours.master, b"\x03")
            wait_for_signals(signals, count)
        os.write(ours.master, b"\x1c")
        wait_for_signals(signals, 6)
        fcntl.ioctl(ours.master, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 132, 0, 0))
        assert wait_for_signals(signals, 7) == [*["SIGINT"] * 5, "SIGQUIT", "SIGWINCH"]
        os.kill(ours.process.pid, signal.SIGINT)
        assert wait_for_signals(signals, 8)[7:] == ["SIGINT of the broker"], "a signal from a process is forwarded"


def test_keys_of_a_terminal_are_forwarded_to_a_command_in_its_own_process_group(pod: Pod, signals: Path) -> None:
    own_group = f"import os; os.setpgid(0, 0)\n{LISTENER}"
    with terminal(pod, *command("exec", "--", sys.executable, "-c", own_group, str(signals))) as ours:
        read_signals(signals)
        os.write(ours.master, b"\x03")
        assert wait_for_signals(signals, 1) == ["SIGINT of the broker"]


def test_hangup_of_the_terminal_is_forwarded_to_the_command_once(pod: Pod, signals: Path) -> None:
    """The kernel signals only the leader of the session."""
    with terminal(pod, *command("exec", "--", sys.executable, "-c", LISTENER, str(signals))) as ours:
        read_signals(signals)
        ours.close()
        assert wait_for_signals(signals, 1) == ["SIGHUP of the broker"]


def test_job_control_stops_and_continues_broker_and_command(pod: Pod, signals: Path) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("this machine has no bash: job control is not tested")
    with terminal(pod, bash, "--norc", "--noprofile", "-i") as ours:
        job = shlex.join(command("exec", "--", sys.executable, "-c", LISTENER, str(signals)))
        os.write(ours.master, f"{job}\n".encode())
        read_signals(signals)
        (broker,) = children_of(ours.process.pid)
        both = [broker, *children_of(broker)]
        os.write(ours.master, b"\x1a")
        eventually(lambda: {read_state(pid) for pid in both} == {"T"}, what="both processes to stop")
        os.write(ours.master, b"fg\n")
        eventually(lambda: "T" not in {read_state(pid) for pid in both}, what="both processes to continue")
        os.write(ours.master, b"\x03")
        assert wait_for_signals(signals, 1) == ["SIGINT"]


def read_state(pid: int) -> str:
    """Return the state of a process, T for stopped."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
