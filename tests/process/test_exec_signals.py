"""`sts-broker exec` passes each signal on once, reaps what is left to it, and takes its files away however it ends."""

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
from tests.process.commands import FORWARDED, LISTENER, heard, settled, sleeping
from tests.support.program import children_of, eventually

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
"""PR_SET_CHILD_SUBREAPER: orphans come to it as they come to process 1."""
ORPHAN = """
(sleep 0.3 & echo $! > {file})
sleep 1.5
if [ -e /proc/$(cat {file}) ]; then exit 9; fi
exit 7
"""
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


@pytest.fixture
def signals(tmp_path: Path) -> Path:
    """Return the file in which a LISTENER writes."""
    return tmp_path / "signals"


def start_listener(pod: Pod, signals: Path) -> tuple[Program, int]:
    """Start a LISTENER under `sts-broker exec`. Return the broker and the id of the command."""
    pod.published.mkdir()
    program = pod.start("exec", "--", sys.executable, "-c", LISTENER, str(signals))
    heard(signals)
    (child,) = program.children()
    return program, child


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


@pytest.mark.parametrize("name", sorted(set(FORWARDED) - {"SIGWINCH"}))
def test_signal_before_the_command_keeps_it_from_running(pod: Pod, name: str) -> None:
    pod.published.mkdir()
    pod.sts.always(faults.Hang())
    program = pod.start("exec", "--", "touch", str(pod.root / "ran"), wrapper=("env", "--default-signal"))
    pod.sts.wait_for_calls(1)
    program.signal(signal.Signals[name])
    assert program.wait() == 128 + signal.Signals[name]
    assert not (pod.root / "ran").exists()
    assert list(pod.published.iterdir()) == []


def test_ignored_signal_before_the_command_keeps_nothing_from_running(pod: Pod) -> None:
    pod.sts.script(faults.Latency(seconds=1.5))
    program = pod.start("exec", "--", "touch", str(pod.root / "ran"), wrapper=("env", "--ignore-signal=HUP"))
    pod.sts.wait_for_calls(1)
    program.signal(signal.SIGHUP)
    assert program.wait() == 0
    assert (pod.root / "ran").exists()


def test_command_begins_with_no_signal_blocked_and_none_of_pythons_ignored(pod: Pod) -> None:
    ended = pod.run("exec", "--", "grep", "^Sig", "/proc/self/status")
    masks = {line.split(":")[0]: int(line.split()[1], 16) for line in ended.out.splitlines() if line[:4] != "SigQ"}
    assert masks["SigBlk"] == 0
    assert not masks["SigIgn"] >> (signal.SIGPIPE - 1) & 1
    assert not masks["SigIgn"] >> (signal.SIGXFSZ - 1) & 1


def test_command_begins_with_what_whoever_started_us_had_blocked(pod: Pod) -> None:
    ended = pod.run("exec", "--", "grep", "^SigBlk", "/proc/self/status", wrapper=("env", "--block-signal=USR1"))
    assert int(ended.out.split()[1], 16) == 1 << (signal.SIGUSR1 - 1)


def test_broker_whose_parent_ignores_the_end_of_children_waits_for_its_own(pod: Pod) -> None:
    ignoring = (
        "import os, signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN); os.execvp(sys.argv[1], sys.argv[1:])"
    )
    assert pod.run("exec", "--", "sh", "-c", "exit 7", wrapper=(sys.executable, "-c", ignoring)).code == 7


def test_orphan_is_reaped(pod: Pod) -> None:
    script = ORPHAN.format(file=pod.root / "pid")
    ended = pod.run("exec", "--", "sh", "-c", script, wrapper=AS_SUBREAPER)
    assert ended.code == 7, ended.err


def test_process_1_reaps_orphans_and_passes_signals_on(pod: Pod) -> None:
    probe = subprocess.run([*AS_PID_1, "true"], capture_output=True, text=True, check=False)
    if probe.returncode != 0:
        pytest.skip(f"no new pid namespace for this user: process 1 is not tested ({probe.stderr.strip()})")
    script = ORPHAN.format(file=pod.root / "pid")
    assert pod.run("exec", "--", "sh", "-c", script, wrapper=AS_PID_1).code == 7
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


def test_what_a_killed_broker_left_is_removed_by_the_next(pod: Pod) -> None:
    pod.published.mkdir()
    program = pod.start("exec", "--", "sleep", "60")
    child = eventually(lambda: sleeping(program), what="the command")
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
