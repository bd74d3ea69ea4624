"""Reads figures of the kernel: a process's CPU time and memory, and when a file was replaced.

CPU time comes from the scheduler's nanoseconds, not from the 10 ms ticks of /proc/PID/stat. The CPU time of a process
with children is read with `wait4` at its end, because only `wait4` includes reaped children with that precision. For a
running process, it comes from the schedstat of its threads.
"""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import subprocess

NANOSECONDS_A_SECOND = 1_000_000_000
_KIB_A_MIB = 1024


def end_and_count_cpu_seconds(process: subprocess.Popen[bytes]) -> float:
    """Kill the process. Return its CPU time since exec, user and system, including reaped children."""
    os.kill(process.pid, signal.SIGKILL)
    return cpu_seconds_at_exit(process)


def cpu_seconds_at_exit(process: subprocess.Popen[bytes]) -> float:
    """Wait for the process to end. Return its CPU time since exec, user and system, including reaped children."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_utime + usage.ru_stime


def cpu_seconds(process: subprocess.Popen[bytes]) -> float:
    """Return the CPU time so far of the process's current threads."""
    threads = Path(f"/proc/{process.pid}/task").glob("*/schedstat")
    return sum(int(thread.read_text().split()[0]) for thread in threads) / NANOSECONDS_A_SECOND


def resident_mib(process: subprocess.Popen[bytes]) -> float:
    """Return the process's resident memory (RSS). Shared pages count in full.

    Only root can read the exact figure of the broker. For other users it is that of `status`, which lags behind by up
    to some hundred KiB in kernels before 6.17.
    """
    try:
        text = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
    except PermissionError:
        text = Path(f"/proc/{process.pid}/status").read_text()
    found = re.search(r"^(?:Rss|VmRSS):\s+(\d+) kB$", text, re.MULTILINE)
    assert found is not None, text
    return int(found[1]) / _KIB_A_MIB


def replaced_at_seconds(path: Path) -> float:
    """Return when the file got its current content, as an epoch time; 0 if there is no file.

    A rename sets the change time of the moved file, with the precision of the kernel's tick (up to 4 ms).
    """
    try:
        return path.stat().st_ctime_ns / NANOSECONDS_A_SECOND
    except FileNotFoundError:
        return 0.0
