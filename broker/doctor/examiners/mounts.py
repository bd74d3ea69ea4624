"""Read the kernel's mount table: the file system that holds a path, and whether a file is mounted by itself.

The fields of /proc/self/mountinfo are those of proc_pid_mountinfo(5). If the table can't be read, nothing is known, and
that is not an error. This module doesn't know what the paths are used for.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

_MEMORY_KINDS = frozenset({"tmpfs", "ramfs"})
_CONTAINER_ROOT_KINDS = frozenset({"overlay", "aufs", "fuse.fuse-overlayfs"})
_ESCAPE = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """One mount: its mount point, and the kind of its file system."""

    point: str
    kind: str

    @property
    def is_in_memory(self) -> bool:
        """Whether files on it are never written to a disk."""
        return self.kind in _MEMORY_KINDS

    @property
    def is_container_root(self) -> bool:
        """Whether it is the container's own root file system, which other containers do not share."""
        return self.point == "/" or self.kind in _CONTAINER_ROOT_KINDS


def find_mount(path: str, proc: str) -> Mount | None:
    """Return the mount that holds the path, symbolic links resolved; None if the mount table can't be read."""
    resolved = os.path.realpath(path)
    mounts = _read_mounts(proc)
    holding = [each for each in mounts if resolved == each.point or resolved.startswith(_with_slash(each.point))]
    return max(enumerate(holding), key=lambda pair: (len(pair[1].point), pair[0]))[1] if holding else None


def is_mounted_alone(path: str, proc: str) -> bool:
    """Return whether the file itself is a mount point, as a `subPath` mount makes it."""
    return os.path.isfile(path) and any(each.point == os.path.realpath(path) for each in _read_mounts(proc))  # noqa: PTH113 - paths are text here


def _read_mounts(proc: str) -> list[Mount]:
    try:
        with open(f"{proc}/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:  # noqa: PTH123 - one way to read in this package
            lines = file.read().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        before, _, after = line.partition(" - ")
        fields, kind = before.split(), after.split()[:1]
        if len(fields) > 4 and kind:  # noqa: PLR2004 - the fifth field is the mount point
            found.append(Mount(point=_ESCAPE.sub(lambda code: chr(int(code[1], 8)), fields[4]), kind=kind[0]))
    return found


def _with_slash(point: str) -> str:
    return point if point.endswith("/") else f"{point}/"
