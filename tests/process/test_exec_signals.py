"""`broker exec` passes each signal on once, reaps what is left to it, and takes its files away however it ends."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import textwrap
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sandbox import faults
from tests.support.program import children_of, command, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.process.pod import Pod
    from tests.support.program import Program

pytestmark = pytest.mark.process

FORWARDED = ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGWINCH")
LISTENER = f"""
import os, signal, sys
signals = [signal.Signals[name] for name in {FORWARDED}]
signal.pthread_sigmask(signal.SIG_BLOCK, signals)
file = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
os.write(file, b"ready\\n")
while True:
    taken = signal.sigwaitinfo(signals)
    sender = " of the broker" if taken.si_pid == os.getppid() else ""
    os.write(file, (signal.Signals(taken.si_signo).name + sender + "\\n").encode())
"""
"""A command that writes down each signal it gets, at once, and ends of none but SIGKILL."""
AS_PID_1 = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
AS_SUBREAPER = (
    sys.executable,
    "-c",
    "import ctypes, os, sys; ctypes.CDLL(None).prctl(36, 1, 0, 0, 0); os.execvp(sys.argv[1], sys.argv[1:])",
)
"""PR_SET_CHILD_SUBREAPER: orphans come to it as they come to process 1."""
ORPHAN = """
(sleep 0.3 & echo $! > {file})
sleep 1.5
if [ -e /proc/$(cat {file}) ]; then exit 9; fi
"""
ON_A_TERMINAL = (
    sys.executable,
    "-c",
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execvp(sys.argv[1], sys.argv[1:])",
)
WITH_A_BUG = """
import sys
from broker import cli, status
record = status.Status.record
def broken(self, event):
    if type(event).__name__ == "RefreshRequested" or (type(event).__name__ == "Turned" and {condition}):
        raise ZeroDivisionError
    record(self, event)
status.Status.record = broken
sys.exit(cli.main(sys.argv[1:]))
"""


def heard(file: Path) -> list[str]:
    """Return the signals that the command got so far, once it is ready."""
    eventually(lambda: file.exists() and file.read_text().startswith("ready\n"), what="the command's handlers")
    return file.read_text().splitlines()[1:]


@pytest.fixture
def signals(tmp_path: Path) -> Path:
    """Return the file in which a LISTENER writes."""
    return tmp_path / "signals"


def start_listener(pod: Pod, signals: Path) -> tuple[Program, int]:
    """Start a LISTENER under `broker exec`. Return the broker and the id of the command."""
    pod.published.mkdir()
    program = pod.start("exec", "--", sys.executable, "-c", LISTENER, str(signals))
    heard(signals)
    (child,) = program.children()
    return program, child


def settled(signals: Path, count: int) -> list[str]:
    """Return what was heard, so many signals at least, and some time for one more."""
    eventually(lambda: len(heard(signals)) >= count, what=f"{count} signals")
    time.sleep(0.3)
    return heard(signals)


def test_each_signal_is_passed_on_once(pod: Pod, signals: Path) -> None:
    program, child = start_listener(pod, signals)
    for count, name in enumerate(FORWARDED, start=1):
        program.signal(signal.Signals[name])
        eventually(lambda count=count: len(heard(signals)) >= count, what=name)  # type: ignore[misc]
    assert settled(signals, len(FORWARDED)) == [f"{name} of the broker" for name in FORWARDED]
    program.signal(signal.SIGKILL, child)
    assert program.wait() == 128 + signal.SIGKILL
    assert list(pod.published.iterdir()) == []


@pytest.mark.parametrize("name", sorted(set(FORWARDED) - {"SIGWINCH"}))
def test_signal_that_ends_the_command_is_the_brokers_exit_code(pod: Pod, name: str) -> None:
    pod.published.mkdir()
    program = pod.start("exec", "--", "sleep", "60", wrapper=("env", "--default-signal"))
    eventually(lambda: sleeping(program), what="the command")
    program.signal(signal.Signals[name])
    assert program.wait() == 128 + signal.Signals[name]
    assert list(pod.published.iterdir()) == []


def sleeping(program: Program) -> bool:
    """Return whether the command is past its own exec."""
    commands = [Path(f"/proc/{child}/comm") for child in program.children()]
    return any(file.exists() and file.read_text() == "sleep\n" for file in commands)


@pytest.mark.parametrize("name", sorted(set(FORWARDED) - {"SIGWINCH"}))
def test_signal_before_the_command_keeps_it_from_running(pod: Pod, name: str) -> None:
    pod.published.mkdir()
    pod.sts.always(faults.Hang())
    program = pod.start("exec", "--", "touch", str(pod.root / "ran"))
    pod.sts.wait_for_calls(1)
    program.signal(signal.Signals[name])
    assert program.wait() == 128 + signal.Signals[name]
    assert not (pod.root / "ran").exists()
    assert list(pod.published.iterdir()) == []


def test_command_begins_with_no_signal_blocked_and_none_of_pythons_ignored(pod: Pod) -> None:
    ended = pod.run("exec", "--", "grep", "^Sig", "/proc/self/status")
    masks = {line.split(":")[0]: int(line.split()[1], 16) for line in ended.out.splitlines() if line[:4] != "SigQ"}
    assert masks["SigBlk"] == 0
    assert not masks["SigIgn"] >> (signal.SIGPIPE - 1) & 1
    assert not masks["SigIgn"] >> (signal.SIGXFSZ - 1) & 1


def test_broker_whose_parent_ignores_the_end_of_children_waits_for_its_own(pod: Pod) -> None:
    ignoring = (
        "import os, signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN); os.execvp(sys.argv[1], sys.argv[1:])"
    )
    assert pod.run("exec", "--", "sh", "-c", "exit 7", wrapper=(sys.executable, "-c", ignoring)).code == 7


class Terminal:
    """A broker on a pseudo terminal of its own, in a session that it leads."""

    def __init__(self, pod: Pod, *arguments: str) -> None:
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [*ON_A_TERMINAL, *command("exec", "--", *arguments)],
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
def terminal(pod: Pod, *arguments: str) -> Iterator[Terminal]:
    """Run `broker exec` with these arguments on a terminal, and end it all."""
    ours = Terminal(pod, *arguments)
    try:
        yield ours
    finally:
        for pid in [*children_of(ours.process.pid), ours.process.pid]:
            os.kill(pid, signal.SIGKILL)
        ours.process.wait()
        ours.close()


def test_keys_of_a_terminal_reach_the_command_once(pod: Pod, signals: Path) -> None:
    """The kernel sends them to the whole group: the command has them before the broker could pass them on."""
    with terminal(pod, sys.executable, "-c", LISTENER, str(signals)) as ours:
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
    with terminal(pod, sys.executable, "-c", apart, str(signals)) as ours:
        heard(signals)
        os.write(ours.master, b"\x03")
        assert settled(signals, 1) == ["SIGINT of the broker"]


def test_terminal_that_hangs_up_is_told_to_the_command_once(pod: Pod, signals: Path) -> None:
    """The kernel tells the leader of the session alone."""
    with terminal(pod, sys.executable, "-c", LISTENER, str(signals)) as ours:
        heard(signals)
        ours.close()
        assert settled(signals, 1) == ["SIGHUP of the broker"]


def test_orphan_is_reaped(pod: Pod) -> None:
    script = ORPHAN.format(file=pod.root / "pid")
    ended = pod.run("exec", "--", "sh", "-c", script, wrapper=AS_SUBREAPER)
    assert ended.code == 0, ended.err


def test_process_1_reaps_orphans_and_passes_signals_on(pod: Pod) -> None:
    probe = subprocess.run([*AS_PID_1, "true"], capture_output=True, text=True, check=False)
    if probe.returncode != 0:
        pytest.skip(f"no new pid namespace for this user: process 1 is not tested ({probe.stderr.strip()})")
    script = ORPHAN.format(file=pod.root / "pid")
    assert pod.run("exec", "--", "sh", "-c", script, wrapper=AS_PID_1).code == 0
    program = pod.start("exec", "--", "sleep", "60", wrapper=AS_PID_1)
    (broker,) = eventually(program.children, what="process 1")
    eventually(lambda: children_of(broker) and program.lines("refreshed"), what="the command")
    time.sleep(0.2)
    program.signal(signal.SIGTERM, broker)
    assert program.wait() == 128 + signal.SIGTERM


def test_two_at_once_keep_out_of_each_others_way(pod: Pod) -> None:
    pod.published.mkdir()
    programs = [pod.start("exec", "--", "sh", "-c", "sleep 1; ls $BROKER_PUBLISH_DIRECTORY") for _ in range(2)]
    eventually(lambda: len(list(pod.published.iterdir())) == 2, what="a directory of each")
    assert [program.wait() for program in programs] == [0, 0]
    assert [program.output().count("endpoint-token\n") for program in programs] == [1, 1]
    assert list(pod.published.iterdir()) == []


@pytest.mark.parametrize(
    ("condition", "code"),
    [("self.snapshot().profiles[0].published_generation", 7), ("True", 70)],
    ids=["while the command runs", "before the command"],
)
def test_bug_in_the_loop_is_told_and_the_command_still_counts(pod: Pod, condition: str, code: int) -> None:
    pod.published.mkdir()
    program = textwrap.dedent(WITH_A_BUG).format(condition=condition)
    done = subprocess.run(
        [sys.executable, "-c", program, "exec", "--", "sh", "-c", f"sleep 0.5; touch {pod.root}/ran; exit 7"],
        env=pod.environment(PYTHONPATH=str(Path.cwd())),
        cwd=pod.root / "cwd",
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == code
    assert '"event": "bug"' in done.stderr
    assert (pod.root / "ran").exists() == (code == 7)
    assert list(pod.published.iterdir()) == []
