"""What the kernel says of mounts: which file system a path is on, and whether a file was mounted by itself.

Rules: it reads /proc/self/mountinfo, whose fields proc_pid_mountinfo(5) names; of what cannot be read there is nothing
to say. Refuses to know what the paths are for.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

_IN_MEMORY = frozenset({"tmpfs", "ramfs"})
_CONTAINERS_OWN = frozenset({"overlay", "aufs", "fuse.fuse-overlayfs"})
_ESCAPE = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """One mount: where, and the kind of its file system."""

    point: str
    kind: str

    @property
    def is_in_memory(self) -> bool:
        """Whether what is written there stays off disks."""
        return self.kind in _IN_MEMORY

    @property
    def is_containers_own(self) -> bool:
        """Whether it is the container's root, which other containers do not see."""
        return self.point == "/" or self.kind in _CONTAINERS_OWN


def mount_of(path: str, proc: str) -> Mount | None:
    """Return the mount that holds the path, links resolved; None where the kernel does not tell."""
    resolved = os.path.realpath(path)
    holding = [each for each in _mounts(proc) if resolved == each.point or resolved.startswith(_with_slash(each.point))]
    return max(enumerate(holding), key=lambda pair: (len(pair[1].point), pair[0]))[1] if holding else None


def is_mounted_alone(path: str, proc: str) -> bool:
    """Say whether the file itself is a mount, as `subPath` makes it."""
    return os.path.isfile(path) and any(each.point == os.path.realpath(path) for each in _mounts(proc))  # noqa: PTH113 - paths are text here


def _mounts(proc: str) -> list[Mount]:
    try:
        with open(f"{proc}/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:  # noqa: PTH123 - one way to read in this package
            lines = file.read().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        before, _, after = line.partition(" - ")
        fields, kind = before.split(), after.split()[:1]
        if len(fields) > 4 and kind:  # noqa: PLR2004 - the fifth is the mount point
            found.append(Mount(point=_ESCAPE.sub(lambda code: chr(int(code[1], 8)), fields[4]), kind=kind[0]))
    return found


def _with_slash(point: str) -> str:
    return point if point.endswith("/") else f"{point}/"
