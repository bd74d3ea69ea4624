"""Reads figures of a process and all its descendants.

The broker is whatever `sts-broker run` starts: the started process is the resident one, and its helpers and workers are
its descendants. A descendant that has ended counts through the parent that reaped it. Memory of several processes is
added up so that a shared page counts once.
"""

from __future__ import annotations

import ctypes
import os
import signal
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.readings import Memory, cpu_seconds, read_file_pages, read_memory, reaped_cpu_seconds

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterable, Iterator

_PR_SET_CHILD_SUBREAPER = 36
_LIBC = ctypes.CDLL(None, use_errno=True)


def children_of(pid: int) -> list[int]:
    """Return the children of a process; an empty list if it has ended."""
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(FileNotFoundError, ProcessLookupError):
            found += map(int, path.read_text().split())
    return found


def tree_of(pid: int) -> list[int]:
    """Return the process and its descendants, each after its parent."""
    found = [pid]
    for each in found:  # grows meanwhile
        found += children_of(each)
    return found


def sum_memory(pids: Iterable[int]) -> Memory:
    """Return the memory of these processes. Only its PSS counts shared pages once. Raises NotReadable."""
    return sum(map(read_memory, pids), Memory())


def distinct_memory_mib(pids: Iterable[int]) -> float:
    """Return the memory of these processes together. A page that they share counts once. Raises NotReadable.

    For pages that files do not back, it is the sum of PSS. For each mapped region of a file, it is the largest resident
    part in any of the processes. The PSS of file pages would depend on other programs that use the same libraries.
    """
    pids = list(pids)
    regions: dict[str, float] = {}
    for pid in pids:
        for region, mib in read_file_pages(pid).items():
            regions[region] = max(mib, regions.get(region, 0.0))
    return sum_memory(pids).proportional_anonymous + sum(regions.values())


def tree_cpu_seconds(pid: int) -> float:
    """Return the CPU time so far of the process and its descendants, including those that ended and were reaped.

    Raises NotReadable.
    """
    return sum(cpu_seconds(each) + reaped_cpu_seconds(each) for each in tree_of(pid))


def end_and_count_cpu_seconds(process: subprocess.Popen[bytes]) -> float:
    """Kill the process and its descendants. Return their CPU time, including that of processes that ended before.

    It comes from `wait4`, because only that has the time of reaped children with a precision of microseconds.
    """
    with _adopting_orphans():
        pids = kill_tree(process.pid)
        return _reap(process) + sum(map(_reap_orphan, pids[1:]))


def cpu_seconds_at_exit(process: subprocess.Popen[bytes]) -> float:
    """Wait for the process to end, and kill descendants that remain. Return the CPU time of all of them."""
    with _adopting_orphans():
        ours = children_of(os.getpid())
        seconds = _reap(process)
        orphans = [pid for child in children_of(os.getpid()) if child not in ours for pid in tree_of(child)]
        _send(signal.SIGKILL, orphans)
        return seconds + sum(map(_reap_orphan, orphans))


def kill_tree(pid: int) -> list[int]:
    """Kill a process and its descendants. Return them, each after its parent."""
    pids = _stop_tree(pid)
    _send(signal.SIGKILL, pids)
    return pids


@contextmanager
def _adopting_orphans() -> Iterator[None]:
    """Become the parent of descendants whose parent ends, so that they can be waited for."""
    if _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")
    try:
        yield
    finally:
        _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def _stop_tree(pid: int) -> list[int]:
    """Stop a process and its descendants, so that they start no more. Return them, each after its parent."""
    stopped: list[int] = []
    while new := [each for each in tree_of(pid) if each not in stopped]:
        _send(signal.SIGSTOP, new)
        stopped += new
    return stopped


def _send(number: signal.Signals, pids: Iterable[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _reap(process: subprocess.Popen[bytes]) -> float:
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_utime + usage.ru_stime


def _reap_orphan(pid: int) -> float:
    """Wait for an adopted process. One that its parent had reaped already counts there."""
    try:
        _, _, usage = os.wait4(pid, 0)
    except ChildProcessError:
        return 0.0
    return usage.ru_utime + usage.ru_stime
