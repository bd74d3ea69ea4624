"""`sts-broker exec` on a terminal: its keys, its end and its job control are the command's, each once."""

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

from tests.process.commands import LISTENER, heard, settled
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
    """Return the file in which a LISTENER writes."""
    return tmp_path / "signals"


class Terminal:
    """A program on a pseudo terminal of its own, in a session that it leads."""

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
        """Hang up."""
        if self.master >= 0:
            os.close(self.master)
            self.master = -1


@contextmanager
def terminal(pod: Pod, *program: str) -> Iterator[Terminal]:
    """Run a program on a terminal, and end it with its children and theirs."""
    pod.published.mkdir()  # what is killed leaves its directory there, and not in the machine's memory
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
    """The kernel sends them to the whole group: the command has them before the broker could pass them on."""
    with terminal(pod, *command("exec", "--", sys.executable, "-c", LISTENER, str(signals))) as ours:
        heard(signals)
        for count in range(1, 6):  # the same signal again, too soon to be told apart, would be lost now and then
            os.write(ours.master, b"\x03")
            settled(signals, count)
        os.write(ours.master, b"\x1c")
        settled(signals, 6)
        fcntl.ioctl(ours.master, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 132, 0, 0))
        assert settled(signals, 7) == [*["SIGINT"] * 5, "SIGQUIT", "SIGWINCH"]
        os.kill(ours.process.pid, signal.SIGINT)
        assert settled(signals, 8)[7:] == ["SIGINT of the broker"], "one that a process sends is passed on"


def test_keys_of_a_terminal_are_passed_on_to_a_command_in_a_group_of_its_own(pod: Pod, signals: Path) -> None:
    apart = f"import os; os.setpgid(0, 0)\n{LISTENER}"
    with terminal(pod, *command("exec", "--", sys.executable, "-c", apart, str(signals))) as ours:
        heard(signals)
        os.write(ours.master, b"\x03")
        assert settled(signals, 1) == ["SIGINT of the broker"]


def test_terminal_that_hangs_up_is_told_to_the_command_once(pod: Pod, signals: Path) -> None:
    """The kernel tells the leader of the session alone."""
    with terminal(pod, *command("exec", "--", sys.executable, "-c", LISTENER, str(signals))) as ours:
        heard(signals)
        ours.close()
        assert settled(signals, 1) == ["SIGHUP of the broker"]


def test_job_control_stops_and_continues_broker_and_command(pod: Pod, signals: Path) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash on this machine: job control is not tested")
    with terminal(pod, bash, "--norc", "--noprofile", "-i") as ours:
        job = shlex.join(command("exec", "--", sys.executable, "-c", LISTENER, str(signals)))
        os.write(ours.master, f"{job}\n".encode())
        heard(signals)
        (broker,) = children_of(ours.process.pid)
        both = [broker, *children_of(broker)]
        os.write(ours.master, b"\x1a")
        eventually(lambda: {state(pid) for pid in both} == {"T"}, what="both stopped")
        os.write(ours.master, b"fg\n")
        eventually(lambda: "T" not in {state(pid) for pid in both}, what="both going on")
        os.write(ours.master, b"\x03")
        assert settled(signals, 1) == ["SIGINT"]


def state(pid: int) -> str:
    """Return a process's state: T for stopped."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
