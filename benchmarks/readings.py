"""What the kernel says of a process: CPU time, memory, when a file was replaced.

Rules: CPU comes from the scheduler's own nanoseconds, never from the 10 ms ticks of /proc/PID/stat. A process that has
children is ended and waited for, because only `wait4` counts those that it reaped (the broker's settings child) with
that precision; one that goes on running is read from the schedstat of its threads.
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
    """Kill the process. Return the CPU it took since exec, user and system, its reaped children included."""
    os.kill(process.pid, signal.SIGKILL)
    return cpu_seconds_at_its_end(process)


def cpu_seconds_at_its_end(process: subprocess.Popen[bytes]) -> float:
    """Wait for the process's end. Return the CPU it took since exec, user and system, its reaped children included."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_utime + usage.ru_stime


def cpu_seconds(process: subprocess.Popen[bytes]) -> float:
    """Return the CPU that the process's living threads have taken so far."""
    threads = Path(f"/proc/{process.pid}/task").glob("*/schedstat")
    return sum(int(thread.read_text().split()[0]) for thread in threads) / NANOSECONDS_A_SECOND


def resident_mib(process: subprocess.Popen[bytes]) -> float:
    """Return the process's resident memory (Rss: shared pages count in full, as for a container's limit alone)."""
    text = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
    found = re.search(r"^Rss:\s+(\d+) kB$", text, re.MULTILINE)
    assert found is not None, text
    return int(found[1]) / _KIB_A_MIB


def replaced_at_seconds(path: Path) -> float:
    """Return when the file got its present content, as an epoch time; 0 where there is none.

    A rename sets the change time of the file it moves, to the kernel's tick (4 ms at most).
    """
    try:
        return path.stat().st_ctime_ns / NANOSECONDS_A_SECOND
    except FileNotFoundError:
        return 0.0
