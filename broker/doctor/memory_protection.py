"""Protect the running broker from the memory that `sts-broker doctor` needs, in a container with a memory limit.

If a container runs out of memory, the kernel ends one of its processes, or all of them. So the doctor offers itself
first, and only one doctor runs at a time. The lock is on the publish directory itself. It leaves no file behind, and
the kernel releases it when the process ends. This module imports little, because a second doctor must end before it
has taken memory.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from broker.core.model import DEFAULT_PUBLISH_DIRECTORY

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def prefer_as_oom_victim(proc: str) -> None:
    """Ask the kernel to end this process, or a child of it, rather than the broker if memory runs out."""
    with suppress(OSError), open(f"{proc}/self/oom_score_adj", "w", encoding="ascii") as file:  # noqa: PTH123 - one way to open in this package
        file.write("1000")


@contextmanager
def hold_lock(environ: Mapping[str, str]) -> Iterator[bool]:
    """Hold the lock, and yield whether it was free. A directory that can't be opened counts as free.

    The directory is that of BROKER_PUBLISH_DIRECTORY or the default: settings in YAML are not loaded yet.
    """
    path = environ.get("BROKER_PUBLISH_DIRECTORY") or DEFAULT_PUBLISH_DIRECTORY
    try:
        directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        yield True
        return
    try:
        yield _is_locked(directory)
    finally:
        os.close(directory)


def _is_locked(directory: int) -> bool:
    """Return whether this process has the lock now. A file system without locks counts as locked."""
    try:
        fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True
