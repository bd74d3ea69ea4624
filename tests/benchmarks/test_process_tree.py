"""Figures of a process and its descendants."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from benchmarks import process_tree, readings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BURN = "import time\nend = time.process_time() + {seconds}\nwhile time.process_time() < end: pass\n"
PARENT = """\
import os, sys, time
def burn(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end: pass
if os.fork() == 0:              # ends, and is reaped
    burn({reaped})
    os._exit(0)
os.wait()
if os.fork() == 0:              # lives on, with a child of its own
    if os.fork() == 0:
        burn({grandchild})
        print("ready", flush=True)
        time.sleep(60)
    time.sleep(60)
{end}
"""


@contextmanager
def running(**values: float | str) -> Iterator[subprocess.Popen[bytes]]:
    """Start a process with a child and a grandchild, and wait until they have used their CPU time."""
    source = PARENT.format(**{"reaped": 0.0, "grandchild": 0.0, "end": "time.sleep(60)", **values})
    process = subprocess.Popen([sys.executable, "-c", source], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdout.readline()
        yield process
    finally:
        if process.returncode is None:
            process_tree.kill_tree(process.pid)
            process.wait()
        process.stdin.close()
        process.stdout.close()


def is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def test_tree_has_descendants_after_their_parents() -> None:
    with running() as process:
        tree = process_tree.tree_of(process.pid)
        assert len(tree) == 3
        assert tree[0] == process.pid
        assert process_tree.children_of(tree[1]) == [tree[2]]


def test_tree_of_an_ended_process_has_no_figures() -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    assert process_tree.children_of(process.pid) == []
    assert process_tree.tree_cpu_seconds(process.pid) == 0
    assert process_tree.sum_memory([process.pid]) == readings.Memory()
    assert readings.count_threads(process.pid) == readings.count_descriptors(process.pid) == 0


def test_cpu_time_of_a_tree_includes_reaped_and_living_descendants() -> None:
    with running(reaped=0.2, grandchild=0.3) as process:
        assert readings.cpu_seconds(process.pid) < 0.2
        assert readings.reaped_cpu_seconds(process.pid) > 0.17  # in ticks of 10 ms, rounded down
        assert 0.47 < process_tree.tree_cpu_seconds(process.pid) < 1.0


def test_children_whose_time_the_kernel_does_not_count_are_reported() -> None:
    source = "import signal\nsignal.signal(signal.SIGCHLD, signal.SIG_IGN)\nprint(1, flush=True)\nsignal.pause()"
    with subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(readings.NotReadable, match=f"process {process.pid} ignores SIGCHLD"):
            process_tree.tree_cpu_seconds(process.pid)
        process.kill()


def test_killed_tree_is_counted_with_reaped_and_living_descendants() -> None:
    with running(reaped=0.2, grandchild=0.3) as process:
        tree = process_tree.tree_of(process.pid)
        assert 0.5 <= process_tree.end_and_count_cpu_seconds(process) < 1.0
        assert process.returncode == -9
        assert not any(map(is_alive, tree))


def test_descendants_that_outlive_the_process_are_counted_and_killed() -> None:
    with running(grandchild=0.3, end="sys.stdin.read()") as process:
        assert process.stdin is not None
        tree = process_tree.tree_of(process.pid)
        process.stdin.close()
        assert 0.3 <= process_tree.cpu_seconds_at_exit(process) < 0.8
        assert process.returncode == 0
        assert not any(map(is_alive, tree))


def test_ended_threads_count_toward_cpu_time() -> None:
    source = BURN.format(seconds=0.2).replace("\n", "\n ").rstrip()
    program = f"import threading, sys, time\ndef burn():\n {source}\nthread = threading.Thread(target=burn)\n"
    program += "thread.start(); thread.join(); print(1, flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        seconds = readings.cpu_seconds(process.pid)
        process.kill()
    assert seconds >= 0.2


def test_memory_of_all_processes_counts_shared_pages_once() -> None:
    source = "import os, time\nblock = bytearray(os.urandom(32 << 20))\nos.fork()\nprint(1, flush=True)\ntime.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        process.stdout.readline()
        process.stdout.readline()
        pids = process_tree.tree_of(process.pid)
        memory, distinct = process_tree.sum_memory(pids), process_tree.distinct_memory_mib(pids)
        files = sum(readings.read_file_pages(process.pid).values())
        alone = readings.read_memory(process.pid)
    finally:
        process_tree.kill_tree(process.pid)
        process.wait()
        process.stdout.close()
    assert memory.resident > memory.anonymous > 64
    assert 32 < memory.proportional < 64
    assert files == pytest.approx(alone.resident - alone.anonymous, abs=0.5)
    assert distinct == pytest.approx(memory.proportional_anonymous + files, abs=0.5)
    assert memory.proportional_anonymous + 2 < distinct < 64


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_memory_of_a_process_that_is_not_dumpable_needs_root() -> None:
    pid = fork_as_nobody(signal.pause)  # a process that changes its user is not dumpable
    reading, writing = os.pipe()
    reader = fork_as_nobody(lambda: os.write(writing, read_as_an_ordinary_user(pid).encode()))
    try:
        os.waitpid(reader, 0)
        assert os.read(reading, 1000).decode().count("needs root") == 2
        assert readings.read_memory(pid).resident > 1
        assert readings.count_descriptors(pid) > 0
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(reading)
        os.close(writing)


def read_as_an_ordinary_user(pid: int) -> str:
    """Return the reasons why the figures of a process cannot be read."""
    reasons = []
    for read in (readings.read_memory, readings.count_descriptors):
        try:
            read(pid)
        except readings.NotReadable as error:
            reasons.append(str(error))
    return "; ".join(reasons)


def fork_as_nobody(act: Callable[[], object]) -> int:
    """Fork a process that acts as an ordinary user. Return its id once it is one."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setresuid(65534, 65534, 65534)
            os.write(writing, b"1")
            act()
        finally:
            os._exit(0)
    os.read(reading, 1)
    os.close(reading)
    os.close(writing)
    return pid
