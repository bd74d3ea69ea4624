"""Open files whose path comes from a setting, a volume or a directory that others can write to.

A path may lead to a FIFO or a device. Opening a FIFO blocks until it has a writer, reading a terminal blocks until
somebody types, and opening some devices has side effects. Only regular files are opened here, and reads have a limit.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import Final

_FLAGS: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
_UPDATE_FLAGS: Final = os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY | os.O_NOFOLLOW
_KINDS: Final = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
    stat.S_IFDIR: "a directory",
    stat.S_IFSOCK: "a socket",
    stat.S_IFLNK: "a symbolic link",
}


class NotRegularFileError(OSError):
    """The path leads to something that is not a regular file. `strerror` is a phrase that names what it is."""

    def __init__(self, path: str, kind: str) -> None:
        super().__init__(errno.EINVAL, f"it is {kind}; expected a regular file", path)


def read_regular_file(path: str, maximum_bytes: int, *, directory: int | None = None) -> bytes:
    """Return at most `maximum_bytes` bytes of a regular file, without blocking on anything else.

    With `directory`, a file descriptor, the path is relative to it, and a symbolic link is not followed: others may
    write to that directory. Raises NotRegularFileError, another OSError, or ValueError for a path that cannot exist.
    """
    follows = directory is None
    _require_regular(path, os.stat(path, dir_fd=directory, follow_symlinks=follows))  # opening a device may act on it
    file = os.open(path, _FLAGS if follows else _FLAGS | os.O_NOFOLLOW, dir_fd=directory)
    with os.fdopen(file, "rb") as opened:
        _require_regular(path, os.fstat(file))  # the file may have been replaced since
        return opened.read(maximum_bytes)


def open_for_update(path: str) -> int:
    """Return a file descriptor for reading and writing an existing regular file. Nothing is created or cut off.

    The last part of the path must not be a symbolic link. Raises NotRegularFileError, another OSError, or ValueError
    for a path that cannot exist.
    """
    _require_regular(path, os.lstat(path))  # opening a device may act on it
    file = os.open(path, _UPDATE_FLAGS)
    try:
        _require_regular(path, os.fstat(file))  # the file may have been replaced since
    except OSError:
        os.close(file)
        raise
    return file


def require_regular_file(path: str) -> None:
    """Raise NotRegularFileError, or another OSError, unless a library that opens this path finds a regular file."""
    _require_regular(path, os.stat(path))  # noqa: PTH116 - pathlib takes 3 ms to import


def _require_regular(path: str, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise NotRegularFileError(path, _KINDS.get(stat.S_IFMT(status.st_mode), "a special file"))
