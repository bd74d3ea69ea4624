"""The verb `exec` forwards each signal once, reaps orphans, and removes its files at every end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sandbox.aws import faults
from tests.process.commands import FORWARDED, LISTENER, find_sleep_process, read_signals, wait_for_signals
from tests.support.program import children_of, eventually, require_wrapper

if TYPE_CHECKING:
    from tests.process.pod import Pod
    from tests.support.program import Program

pytestmark = pytest.mark.process

AS_PID_1 = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
AS_SUBREAPER = (
    sys.executable,
    "-c",
    "import ctypes, os, sys; ctypes.CDLL(None).prctl(36, 1, 0, 0, 0); os.execvp(sys.argv[1], sys.argv[1:])",
)
"""PR_SET_CHILD_SUBREAPER: the process inherits orphans as process 1 does."""
ORPHAN = """
(sleep 0.3 & echo $! > {file})
sleep 1.5
if [ -e /proc/$(cat {file}) ]; then exit 9; fi
exit 7
"""
WITH_A_BUG = """
import sys
from broker.cli import main
from broker.core import status
record = status.Status.record
def broken(self, event):
    if type(event).__name__ == "RefreshRequested" or (type(event).__name__ == "Turned" and {condition}):
        raise ZeroDivisionError
    record(self, event)
status.Status.record = broken
sys.exit(main.main(sys.argv[1:]))
"""


@pytest.fixture
def signals(tmp_path: Path) -> Path:
    """Return the file to which a LISTENER writes."""
    return tmp_path / "signals"


def read_command_line(pid: int) -> str:
    """Return the arguments of a process. The broker's children are its command and its workers."""
    return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")


def start_listener(pod: Pod, signals: Path) -> tuple[Program, int]:
    """Start a LISTENER under `sts-broker exec`. Return the broker and the process ID of the command."""
    pod.published.mkdir()
    program = pod.start("exec", "--", sys.executable, "-c", LISTENER, str(signals))
    read_signals(signals)
    return program, next(child for child in program.children() if " exec " not in read_command_line(child))


def test_each_signal_is_forwarded_once(pod: Pod, signals: Path) -> None:
    program, child = start_listener(pod, signals)
    for count, name in enumerate(FORWARDED, start=1):
        program.signal(signal.Signals[name])
        eventually(lambda count=count: len(read_signals(signals)) >= count, what=name)  # type: ignore[misc]
    assert wait_for_signals(signals, len(FORWARDED)) == [f"{name} of the broker" for name in FORWARDED]
    program.signal(signal.SIGKILL, child)
    assert program.wait() == 128 + signal.SIGKILL
    assert list(pod.published.iterdir()) == []


@pytest.mark.parametrize("name", sorted(set(FORWARDED) - {"SIGWINCH"}))
def test_signal_that_ends_the_command_gives_the_exit_code(pod: Pod, name: str) -> None:
    pod.published.mkdir()
    program = pod.start("exec", "--", "sleep", "60", wrapper=("env", "--default-signal"))
    eventually(lambda: find_sleep_process(program), what="the command")
    program.signal(signal.Signals[name])
    assert program.wait() == 128 + signal.Signals[name]
    assert list(pod.published.iterdir()) == []


@pytest.mark.parametrize("name", sorted(set(FORWARDED) - {"SIGWINCH"}))
def test_signal_before_the_start_prevents_it(pod: Pod, name: str) -> None:
    pod.published.mkdir()
    pod.sts.always(faults.Hang())
    program = pod.start("exec", "--", "touch", str(pod.root / "ran"), wrapper=("env", "--default-signal"))
    pod.sts.wait_for_calls(1)
    program.signal(signal.Signals[name])
    assert program.wait() == 128 + signal.Signals[name]
    assert not (pod.root / "ran").exists()
    assert list(pod.published.iterdir()) == []


def test_ignored_signal_before_the_start_does_not_prevent_it(pod: Pod) -> None:
    pod.sts.script(faults.Latency(seconds=1.5))
    program = pod.start("exec", "--", "touch", str(pod.root / "ran"), wrapper=("env", "--ignore-signal=HUP"))
    pod.sts.wait_for_calls(1)
    program.signal(signal.SIGHUP)
    assert program.wait() == 0
    assert (pod.root / "ran").exists()


def test_command_starts_with_default_signal_mask_and_handlers(pod: Pod) -> None:
    ended = pod.run("exec", "--", "grep", "^Sig", "/proc/self/status")
    masks = {line.split(":")[0]: int(line.split()[1], 16) for line in ended.out.splitlines() if line[:4] != "SigQ"}
    assert masks["SigBlk"] == 0
    assert not masks["SigIgn"] >> (signal.SIGPIPE - 1) & 1
    assert not masks["SigIgn"] >> (signal.SIGXFSZ - 1) & 1


def test_command_starts_with_the_signal_mask_of_the_parent(pod: Pod) -> None:
    ended = pod.run("exec", "--", "grep", "^SigBlk", "/proc/self/status", wrapper=("env", "--block-signal=USR1"))
    assert int(ended.out.split()[1], 16) == 1 << (signal.SIGUSR1 - 1)


def test_ignored_sigchld_of_the_parent_does_not_hide_the_end_of_the_command(pod: Pod) -> None:
    ignoring = (
        "import os, signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN); os.execvp(sys.argv[1], sys.argv[1:])"
    )
    assert pod.run("exec", "--", "sh", "-c", "exit 7", wrapper=(sys.executable, "-c", ignoring)).code == 7


def test_orphan_is_reaped(pod: Pod) -> None:
    script = ORPHAN.format(file=pod.root / "pid")
    ended = pod.run("exec", "--", "sh", "-c", script, wrapper=AS_SUBREAPER)
    assert ended.code == 7, ended.err


def test_process_1_reaps_orphans_and_forwards_signals(pod: Pod) -> None:
    require_wrapper(AS_PID_1, untested="process 1")
    script = ORPHAN.format(file=pod.root / "pid")
    assert pod.run("exec", "--", "sh", "-c", script, wrapper=AS_PID_1).code == 7
    program = pod.start("exec", "--", "sleep", "60", wrapper=AS_PID_1)
    (broker,) = eventually(program.children, what="process 1")
    eventually(lambda: children_of(broker) and program.lines("refreshed"), what="the command")
    time.sleep(0.2)
    program.signal(signal.SIGTERM, broker)
    assert program.wait() == 128 + signal.SIGTERM


def test_two_runs_at_once_use_separate_directories(pod: Pod) -> None:
    pod.published.mkdir()
    programs = [pod.start("exec", "--", "sh", "-c", "sleep 1; ls $BROKER_PUBLISH_DIRECTORY") for _ in range(2)]
    eventually(lambda: len(list(pod.published.iterdir())) == 2, what="a directory for each")
    assert [program.wait() for program in programs] == [0, 0]
    assert [program.output().count("endpoint-token\n") for program in programs] == [1, 1]
    assert list(pod.published.iterdir()) == []


def test_directory_of_a_killed_broker_is_removed_by_the_next_run(pod: Pod) -> None:
    pod.published.mkdir()
    program = pod.start("exec", "--", "sleep", "60")
    child = eventually(lambda: find_sleep_process(program), what="the command")
    program.kill()
    os.kill(child, signal.SIGKILL)
    (left,) = pod.published.iterdir()
    os.utime(left, (0, 0))
    assert pod.run("exec", "--", "true").code == 0
    assert list(pod.published.iterdir()) == []


@pytest.mark.parametrize(
    ("condition", "code"),
    [("self.snapshot().profiles[0].published_generation", 7), ("True", 70)],
    ids=["while the command runs", "before the command"],
)
def test_bug_in_the_loop_is_logged_and_does_not_end_the_command(pod: Pod, condition: str, code: int) -> None:
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
