"""Reads figures of the kernel: a process's CPU time and memory, and when a file was replaced.

CPU time comes from the process's own clock (`clock_getcpuclockid`), in nanoseconds, and includes threads that have
ended. Memory comes from `smaps_rollup`. The kernel lets only root read it for a process that is not dumpable.
"""

from __future__ import annotations

import ctypes
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path

NANOSECONDS_A_SECOND = 1_000_000_000
_KIB_A_MIB = 1024
_LIBC = ctypes.CDLL(None)
_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
_FIRST_FIELD_AFTER_NAME = 3
_CUTIME, _CSTIME = 16, 17
"""The numbers of the fields in /proc/PID/stat, as in proc_pid_stat(5)."""


class NotReadable(Exception):
    """The kernel does not let this user read a figure, with the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """The memory of a process, or the sum for several processes, in MiB."""

    resident: float = 0.0
    """RSS. Shared pages count in full."""
    anonymous: float = 0.0
    """The part of RSS that is not backed by files."""
    proportional: float = 0.0
    """PSS. A page that N processes share counts as 1/N for each, so that PSS can be added up."""

    def __add__(self, other: Memory) -> Memory:
        return Memory(
            resident=self.resident + other.resident,
            anonymous=self.anonymous + other.anonymous,
            proportional=self.proportional + other.proportional,
        )


def read_memory(pid: int) -> Memory:
    """Return the memory of a process; zero if it has ended. Raises NotReadable."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except PermissionError:
        raise NotReadable("reading the memory of a process that is not dumpable needs root") from None
    except (FileNotFoundError, ProcessLookupError):
        return Memory()
    kib = {name: int(value) for name, value in re.findall(r"^(\w+):\s+(\d+) kB$", text, re.MULTILINE)}
    return Memory(
        resident=kib["Rss"] / _KIB_A_MIB, anonymous=kib["Anonymous"] / _KIB_A_MIB, proportional=kib["Pss"] / _KIB_A_MIB
    )


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process so far, user and system, without its children; 0 if it has ended."""
    clock = ctypes.c_int()
    if _LIBC.clock_getcpuclockid(pid, ctypes.byref(clock)) != 0:
        return 0.0
    try:
        return time.clock_gettime(clock.value)
    except OSError:  # it has ended since
        return 0.0


def reaped_cpu_seconds(pid: int) -> float:
    """Return the CPU time of the descendants that a process has reaped, in ticks of 10 ms; 0 if it has ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    fields = text.rpartition(") ")[2].split()
    ticks = (int(fields[number - _FIRST_FIELD_AFTER_NAME]) for number in (_CUTIME, _CSTIME))
    return sum(ticks) / _TICKS_A_SECOND


def count_descriptors(pid: int) -> int:
    """Return the number of open file descriptors of a process; 0 if it has ended. Raises NotReadable."""
    try:
        return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
    except PermissionError:
        raise NotReadable("reading the descriptors of a process that is not dumpable needs root") from None
    except (FileNotFoundError, ProcessLookupError):
        return 0


def count_threads(pid: int) -> int:
    """Return the number of threads of a process; 0 if it has ended."""
    try:
        return sum(1 for _ in Path(f"/proc/{pid}/task").iterdir())
    except (FileNotFoundError, ProcessLookupError):
        return 0


def replaced_at_seconds(path: Path) -> float:
    """Return when the file got its current content, as an epoch time; 0 if there is no file.

    A rename sets the change time of the moved file, with the precision of the kernel's tick (up to 4 ms).
    """
    try:
        return path.stat().st_ctime_ns / NANOSECONDS_A_SECOND
    except FileNotFoundError:
        return 0.0
