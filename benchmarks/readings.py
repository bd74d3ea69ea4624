"""Reads figures of the kernel: a process's CPU time and memory, and when a file was replaced.

CPU time comes from the process's own clock (`clock_getcpuclockid`), in nanoseconds, and includes threads that have
ended. Memory comes from `smaps_rollup`. The kernel lets only root read it for a process that is not dumpable.
"""

from __future__ import annotations

import ctypes
import os
import re
import signal
import time
from dataclasses import dataclass
from pathlib import Path

NANOSECONDS_A_SECOND = 1_000_000_000
_KIB_A_MIB = 1024
_SIZE = re.compile(r"^(\w+): +(\d+) kB$", re.MULTILINE)
_REGION = re.compile(
    r"^[0-9a-f]+-[0-9a-f]+ \S+ (?P<file>[0-9a-f]+ [0-9a-f:]+ [1-9]\d*) .*\n(?P<sizes>(?:\w+: .*\n)+)", re.MULTILINE
)
"""A region of smaps that is backed by a file: offset, device and inode, and the lines with its sizes."""
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
    """PSS. A page that N processes share counts as 1/N for each, also if some are not the broker's."""
    proportional_anonymous: float = 0.0
    """The part of PSS that is not backed by files. Only forks share such pages, so it can be added up."""

    def __add__(self, other: Memory) -> Memory:
        return Memory(
            resident=self.resident + other.resident,
            anonymous=self.anonymous + other.anonymous,
            proportional=self.proportional + other.proportional,
            proportional_anonymous=self.proportional_anonymous + other.proportional_anonymous,
        )


def read_memory(pid: int) -> Memory:
    """Return the memory of a process; zero if it has ended. Raises NotReadable."""
    kib = {name: int(value) for name, value in _SIZE.findall(_read_memory_file(pid, "smaps_rollup"))}
    if not kib:
        return Memory()
    return Memory(
        resident=kib["Rss"] / _KIB_A_MIB,
        anonymous=kib["Anonymous"] / _KIB_A_MIB,
        proportional=kib["Pss"] / _KIB_A_MIB,
        proportional_anonymous=(kib["Pss_Anon"] + kib["Pss_Shmem"]) / _KIB_A_MIB,
    )


def read_file_pages(pid: int) -> dict[str, float]:
    """Return the resident MiB of each mapped region of a file, without copied pages. The key names file and offset.

    It is empty if the process has ended. Raises NotReadable.
    """
    found = {}
    for region in _REGION.finditer(_read_memory_file(pid, "smaps")):
        kib = {name: int(value) for name, value in _SIZE.findall(region["sizes"])}
        found[region["file"]] = (kib["Rss"] - kib["Anonymous"]) / _KIB_A_MIB
    return found


def _read_memory_file(pid: int, name: str) -> str:
    """Return a file of /proc/PID; empty if the process has ended. Raises NotReadable."""
    try:
        return Path(f"/proc/{pid}/{name}").read_text()
    except PermissionError:
        raise NotReadable("reading the memory of a process that is not dumpable needs root") from None
    except (FileNotFoundError, ProcessLookupError):
        return ""


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
    """Return the CPU time of the descendants that a process has reaped, in ticks of 10 ms; 0 if it has ended.

    Raises NotReadable if the process ignores SIGCHLD, because the kernel then does not add up that time.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
        ignored = int(re.findall(r"^SigIgn:\s+(\w+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)[0], 16)
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    if ignored >> (signal.SIGCHLD - 1) & 1:
        raise NotReadable(f"process {pid} ignores SIGCHLD, so the CPU time of its ended children is lost")
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
