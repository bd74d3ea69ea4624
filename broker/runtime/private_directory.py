"""A private directory for one run of `sts-broker exec`: mode 0700, in memory if possible, removed at the end.

A process that is killed cannot remove its directory. Each run therefore holds a lock on its own, which the kernel
releases when the process ends, and removes the directories of earlier runs that are not locked.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from broker.core.errors import PublishError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_PREFIX = "broker-exec-"
_MINIMUM_AGE_SECONDS = 60.0
"""A younger directory is kept even if it is not locked: its owner may have just made it."""


@contextmanager
def private_directory(parents: Sequence[str]) -> Iterator[str]:
    """Make a directory in the first of `parents` that is writable, or else in the system's temporary directory.

    Yield its path, and remove it at the end. Raises PublishError if no directory can be made.
    """
    for parent in parents:
        _remove_abandoned(parent)
    path = _make(parents)
    lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):  # on a filesystem without locks the next run cannot lock it either, and so keeps it
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(lock)


def _make(parents: Sequence[str]) -> str:
    number = 0
    for parent in (*parents, None):
        try:
            return tempfile.mkdtemp(prefix=_PREFIX, dir=parent)
        except OSError as error:
            number = error.errno or 0
    raise PublishError(
        f"Cannot make a directory for credentials in {', '.join(parents)} or the system's temporary directory: "
        f"{os.strerror(number)}.",
        "Mount an emptyDir (medium: Memory), and set publish.directory (BROKER_PUBLISH_DIRECTORY) to its mount path.",
        sink="files",
        errno=number,
    )


def _remove_abandoned(parent: str) -> None:
    """Remove the directories in `parent` that earlier runs of this user left behind."""
    with suppress(OSError), os.scandir(parent) as entries:
        for entry in entries:
            if entry.name.startswith(_PREFIX) and entry.is_dir(follow_symlinks=False):
                with suppress(OSError):
                    _remove_if_abandoned(entry.path)


def _remove_if_abandoned(path: str) -> None:
    """Remove a directory if it is this user's, old enough and not locked. Raises OSError if it is locked or gone."""
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        status = os.fstat(directory)
        if status.st_uid == os.geteuid() and status.st_mtime < time.time() - _MINIMUM_AGE_SECONDS:
            fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
    finally:
        os.close(directory)
