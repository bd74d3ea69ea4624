"""The processes in this PID namespace, as /proc shows them (proc_pid_stat(5)).

This module knows nothing about signals.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from broker.core.records import Struct

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME_LENGTH: Final = 15
"""The kernel keeps this many bytes of a process's name (TASK_COMM_LEN)."""
_ENDED: Final = "ZX"
"""States of processes that have ended: zombie, dead."""


class Process(Struct, frozen=True, kw_only=True):
    """A process that runs."""

    pid: int
    name: str
    parent: int


def read_process(pid: int) -> Process | None:
    """Return the process, or None if there is none with this ID that runs."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 - pathlib takes 3 ms to import
            content = file.read()
    except OSError:
        return None
    before, _, after = content.rpartition(b")")  # the name may contain parentheses
    state, parent = after.split()[:2]
    if state.decode() in _ENDED:
        return None
    return Process(pid=pid, name=before.partition(b"(")[2].decode(errors="replace"), parent=int(parent))


def iterate_processes() -> Iterator[Process]:
    """Yield all processes of this PID namespace."""
    for name in os.listdir("/proc"):  # noqa: PTH208 - likewise
        if name.isdecimal() and (process := read_process(int(name))) is not None:
            yield process
