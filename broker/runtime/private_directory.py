"""A directory for one run of `sts-broker exec`: its user's alone, in memory where that can be, gone at the end.

Who is killed cannot clear up. So each holds a lock on its directory for as long as it lives, which the kernel lifts
whatever happens, and the next one removes what nobody holds.
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
_OLD_ENOUGH_SECONDS = 60.0
"""A younger one may be about to be locked."""


@contextmanager
def private_directory(parents: Sequence[str]) -> Iterator[str]:
    """Make a directory in the first of the parents that lets us, else where the system has temporary files.

    Raises PublishError where there is no place for it.
    """
    for parent in parents:
        _remove_abandoned(parent)
    path = _make(parents)
    lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):  # a filesystem without locks: then the next one cannot take it for abandoned either
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
        f"No directory to put files in: {os.strerror(number)}, in {', '.join(parents)} and the system's temporary "
        "directories.",
        "Mount an emptyDir (medium: Memory), and set BROKER_PUBLISH_DIRECTORY to where it is.",
        sink="files",
        errno=number,
    )


def _remove_abandoned(parent: str) -> None:
    """Remove the directories of ours that nobody holds a lock on."""
    with suppress(OSError), os.scandir(parent) as entries:
        for entry in entries:
            if entry.name.startswith(_PREFIX) and entry.is_dir(follow_symlinks=False):
                with suppress(OSError):
                    _remove_if_abandoned(entry.path)


def _remove_if_abandoned(path: str) -> None:
    """Remove a directory. Raises OSError where it is another user's, somebody holds it, or it is gone."""
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        status = os.fstat(directory)
        if status.st_uid == os.geteuid() and status.st_mtime < time.time() - _OLD_ENOUGH_SECONDS:
            fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
    finally:
        os.close(directory)
