"""Reads what the kernel reports about this process: memory, CPU time, open files and the time of its start."""

from __future__ import annotations

import os
import resource

from broker.core.records import Struct


class ProcessReadings(Struct, frozen=True, kw_only=True):
    """The resources of the process at one moment.

    `started_at_seconds` is a Unix time. `cpu_seconds` is user and system time. `maximum_fds` is infinite if there is no
    limit.
    """

    virtual_memory_bytes: int
    resident_memory_bytes: int
    started_at_seconds: float
    cpu_seconds: float
    open_fds: int
    maximum_fds: float


class ProcessReader:
    """Reads the resources of the process that calls it, from procfs in the directory `proc`.

    The format is that of https://man7.org/linux/man-pages/man5/proc.5.html. The time of the boot is read once, by the
    constructor. The kernel derives it from the wall clock, so a correction of the clock changes it, and an alert counts
    changes of the start time as restarts.
    """

    def __init__(self, proc: str = "/proc") -> None:
        self._own = f"{proc}/self"
        self._ticks = os.sysconf("SC_CLK_TCK")
        self._page_size = os.sysconf("SC_PAGE_SIZE")
        self._booted_at = _read_boot_time(proc)

    def read(self) -> ProcessReadings | None:
        """Return the readings, or None if procfs cannot be read, as when no more files can be opened."""
        if self._booted_at is None:
            return None
        try:
            # The command's name is in parentheses, and may itself contain spaces and parentheses.
            fields = _read(f"{self._own}/stat").rpartition(b")")[2].split()
            open_fds = len(os.listdir(f"{self._own}/fd"))  # noqa: PTH208 - pathlib would import much more
        except OSError:
            return None
        maximum_fds, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        user, system, start, virtual, resident = (int(fields[index]) for index in (11, 12, 19, 20, 21))
        return ProcessReadings(
            virtual_memory_bytes=virtual,
            resident_memory_bytes=resident * self._page_size,
            started_at_seconds=self._booted_at + start / self._ticks,
            cpu_seconds=(user + system) / self._ticks,
            open_fds=open_fds,
            maximum_fds=float("inf") if maximum_fds == resource.RLIM_INFINITY else maximum_fds,
        )


def _read_boot_time(proc: str) -> int | None:
    """Return the Unix time of the boot, in seconds, or None if it cannot be read."""
    try:
        lines = _read(f"{proc}/stat").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith(b"btime ")), None)


def _read(path: str) -> bytes:
    with open(path, "rb") as file:  # noqa: PTH123 - likewise
        return file.read()
