"""Failures to write files: turns an error of the operating system into what was found and what to change."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from broker.core.records import Struct

if TYPE_CHECKING:
    from collections.abc import Iterable

_SPACE = "Raise sizeLimit of the emptyDir, or delete other files there."
_REMEDIES = {
    errno.ENOSPC: _SPACE,
    errno.EDQUOT: _SPACE,
    errno.EACCES: "Set fsGroup in the pod's securityContext, or runAsUser to the directory's owner.",
    errno.EPERM: (
        "Set publish.group (BROKER_PUBLISH_GROUP) to a group of the broker's process, or add that group to "
        "supplementalGroups in the pod's securityContext."
    ),
    errno.EROFS: "Mount the volume without readOnly in the broker's container. Only the app mounts it read-only.",
    errno.ENOENT: "Mount an emptyDir (medium: Memory) there, or change publish.directory (BROKER_PUBLISH_DIRECTORY).",
    errno.ENOTDIR: "Set publish.directory (BROKER_PUBLISH_DIRECTORY) to a directory.",
    errno.EISDIR: "Remove the directory that has the name of the file.",
}
_OTHER_REMEDY = "Check the volume that publish.directory (BROKER_PUBLISH_DIRECTORY) is on."


class WriteFault(Struct, frozen=True, kw_only=True):
    """Why a file could not be written: `found` is a phrase, `remedy` what to change."""

    found: str
    remedy: str


def explain_write_failure(error: OSError, directory: str, names: Iterable[str] = ()) -> WriteFault:
    """Return the explanation of an error in this directory. `names` are the files that were to be replaced."""
    number = error.errno or 0
    if number == errno.EPERM:
        fault = find_irreplaceable_file(directory, names)
        if fault is not None:
            return fault
    return WriteFault(found=os.strerror(number), remedy=_REMEDIES.get(number, _OTHER_REMEDY))


def find_irreplaceable_file(directory: str, names: Iterable[str]) -> WriteFault | None:
    """Return the fault for the first file that this user cannot replace, None if there is none.

    In a sticky directory, only the owner of a file or of the directory, or a process with CAP_FOWNER, can replace it.
    """
    user = os.geteuid()
    try:
        status = os.stat(directory)  # noqa: PTH116 - pathlib adds nothing here
        if not status.st_mode & stat.S_ISVTX or status.st_uid == user:
            return None
        owners = {name: os.lstat(os.path.join(directory, name)).st_uid for name in names if _exists(directory, name)}  # noqa: PTH118 - likewise
    except OSError:
        return None
    for name, owner in owners.items():
        if owner != user:
            return WriteFault(
                found=f"user {owner} owns {name}, and the directory is sticky (mode "
                f"{stat.S_IMODE(status.st_mode):04o}), so user {user} cannot replace the file",
                remedy=(
                    f"Delete the file, or set runAsUser of the broker's container to {owner}. If another broker "
                    "publishes there, give each a directory of its own: an emptyDir, not /tmp."
                ),
            )
    return None


def _exists(directory: str, name: str) -> bool:
    return os.path.lexists(os.path.join(directory, name))  # noqa: PTH118 - likewise
