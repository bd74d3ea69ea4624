"""The ends of child processes: each is waited for once, and orphans are forgotten."""

from __future__ import annotations

import os
import signal
import sys

import pytest

from broker.worker.children import Children


@pytest.fixture
def children() -> Children:
    return Children()


def start(code: str = "") -> int:
    return os.posix_spawn(sys.executable, [sys.executable, "-ISc", code], os.environ)


def reap_until_ended(children: Children, *pids: int) -> None:
    """Reap until these have ended. They end soon."""
    for pid in pids:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    children.reap()


def test_status_of_an_ended_child_is_returned_once(children: Children) -> None:
    pid = start("raise SystemExit(7)")
    children.add(pid)
    assert children.take_status(pid) is None
    reap_until_ended(children, pid)
    status = children.take_status(pid)
    assert status is not None
    assert os.waitstatus_to_exitcode(status) == 7
    with pytest.raises(KeyError):
        children.take_status(pid)


def test_status_zero_is_a_status(children: Children) -> None:
    pid = start()
    children.add(pid)
    reap_until_ended(children, pid)
    assert children.take_status(pid) == 0


def test_several_children_are_reaped_together_and_each_keeps_its_status(children: Children) -> None:
    pids = [start(f"raise SystemExit({number})") for number in (3, 4)]
    for pid in pids:
        children.add(pid)
    reap_until_ended(children, *pids)
    found = [children.take_status(pid) for pid in pids]
    assert [os.waitstatus_to_exitcode(status or 0) for status in found] == [3, 4]


def test_orphan_is_waited_for_and_forgotten(children: Children) -> None:
    """As process 1 of a container, the broker inherits processes that it has not started."""
    orphan = start()
    reap_until_ended(children, orphan)
    with pytest.raises(ChildProcessError):
        os.waitpid(orphan, os.WNOHANG)
    with pytest.raises(KeyError):
        children.take_status(orphan)


def test_reaping_without_children_does_nothing(children: Children) -> None:
    children.reap()


def test_reaping_does_not_wait_for_a_child_that_runs(children: Children) -> None:
    pid = start("import time; time.sleep(60)")
    children.add(pid)
    children.reap()
    assert children.take_status(pid) is None
    os.kill(pid, signal.SIGKILL)
    reap_until_ended(children, pid)
    status = children.take_status(pid)
    assert status is not None
    assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL


def test_program_that_waits_itself_records_the_ends(children: Children) -> None:
    children.add(123_456_789)
    children.record_end(123_456_789, 256)
    children.record_end(987_654_321, 256)
    assert children.take_status(123_456_789) == 256
    with pytest.raises(KeyError):
        children.take_status(987_654_321)
