"""Let only one `sts-broker doctor` run in a container, because two at once can exceed the container's memory limit.

A container that runs out of memory is ended as a whole, with the broker in it. The lock is on the publish directory
itself, so it leaves no file behind, and the kernel releases it when the process ends. This module imports little: the
second process must end before it has taken memory.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from broker.core.model import DEFAULT_PUBLISH_DIRECTORY

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


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
