"""Reading the broker's own files in a directory where other programs may have put theirs."""

from __future__ import annotations

import os
import stat

from broker.core.records import Unprinted


class OwnedFile(Unprinted, frozen=True, kw_only=True):
    """The content of a file of the broker's user, and the permission bits of its mode."""

    content: bytes
    mode: int


class NotRestorable(Exception):
    """The file cannot be used after a restart. The message says why; `is_expected` is whether this is normal."""

    def __init__(self, message: str, *, is_expected: bool = False) -> None:
        super().__init__(message)
        self.is_expected = is_expected


def read_owned_file(directory: int, name: str, *, maximum_bytes: int) -> OwnedFile | None:
    """Return the file, or None if there is none. `directory` is a file descriptor.

    Symbolic links are not followed, and pipes do not block. Raises NotRestorable for everything but a regular file of
    the broker's user that is not longer than `maximum_bytes`, and for a file that cannot be read.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        file = os.open(name, flags, dir_fd=directory)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise NotRestorable(f"{name} cannot be opened: {os.strerror(error.errno or 0)}") from None
    try:
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode):
            raise NotRestorable(f"{name} is not a regular file")
        if found.st_uid != os.geteuid():
            raise NotRestorable(f"{name} belongs to user {found.st_uid}")
        if found.st_size > maximum_bytes:
            raise NotRestorable(f"{name} is longer than {maximum_bytes} bytes")
        return OwnedFile(content=os.read(file, maximum_bytes), mode=stat.S_IMODE(found.st_mode))
    except OSError as error:
        raise NotRestorable(f"{name} cannot be read: {os.strerror(error.errno or 0)}") from None
    finally:
        os.close(file)
