"""Examine the publish directory: whether files can be written there, who can read them, and what holds them.

Rules: it writes one file, with a dot before its name and nothing in it that a reader could take for credentials, as
`publish` writes files, and takes it away again. It makes no directory.
"""

from __future__ import annotations

import json
import os
import stat
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from broker.doctor.examiners.mounts import mount_of
from broker.publish.file_sink import REMEDIES, replace_file

if TYPE_CHECKING:
    from collections.abc import Collection

    from broker.core.model import PublishSpec
    from broker.doctor.checks import Sheet

OF_DIRECTORY: Final = ("publish-directory", "publish-volume", "publish-neighbours")
_BYTES_EACH: Final = 16_384
"""What a profile's files may take while one is replaced; AWS tells no limit of a session token."""
_MAXIMUM_LENGTH_READ: Final = 65_536
_MOUNT_REMEDY: Final = "Mount an emptyDir (medium: Memory) there, into the app's container too."


def examine_directory(spec: PublishSpec, profiles: Collection[str], sheet: Sheet, *, proc: str, now: datetime) -> None:
    """Look at the directory as the broker would use it."""
    if not os.path.isdir(spec.directory):  # noqa: PTH112 - paths are text here
        _examine_absent(spec.directory, sheet)
        return
    fault = _try_to_write(spec, len(profiles) * _BYTES_EACH)
    if fault is not None:
        number = fault.errno or 0
        remedy = REMEDIES.get(number, "Look at the volume behind BROKER_PUBLISH_DIRECTORY.")
        said = f"A file of mode {spec.mode:04o}{_of_group(spec)} cannot be put in {spec.directory}"
        sheet.failed("publish-directory", f"{said}: {os.strerror(number)}.", remedy)
        sheet.not_checked(OF_DIRECTORY[1:], "", because="publish-directory")
        return
    _examine_modes(spec, sheet)
    _examine_volume(spec, sheet, proc)
    _examine_neighbours(spec, profiles, sheet, now)


def _examine_absent(directory: str, sheet: Sheet) -> None:
    if os.path.lexists(directory):
        sheet.failed("publish-directory", f"{directory} is no directory.", "Set BROKER_PUBLISH_DIRECTORY to one.")
    elif os.access(os.path.dirname(directory) or "/", os.W_OK | os.X_OK):  # noqa: PTH120 - likewise
        said = f"{directory} is not there: the broker makes it, where the app does not see it."
        sheet.warning("publish-directory", said, _MOUNT_REMEDY)
    else:
        sheet.failed("publish-directory", f"{directory} is not there, and cannot be made.", _MOUNT_REMEDY)
    sheet.not_checked(OF_DIRECTORY[1:], "", because="publish-directory")


def _try_to_write(spec: PublishSpec, length: int) -> OSError | None:
    """Put a file of spaces there as `publish` would, and take it away. Return what was in the way."""
    name = f".doctor-{os.getpid()}"
    try:
        directory = os.open(spec.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        return error
    try:
        replace_file(directory, name, b" " * length, mode=spec.mode, group=spec.group)
    except OSError as error:
        return error
    finally:
        with suppress(OSError):
            os.unlink(name, dir_fd=directory)
        os.close(directory)
    return None


def _of_group(spec: PublishSpec) -> str:
    return "" if spec.group is None else f" and group {spec.group}"


def _examine_modes(spec: PublishSpec, sheet: Sheet) -> None:
    """Say who can read the files, and whether the directory lets them in."""
    status = os.stat(spec.directory)  # noqa: PTH116 - likewise
    group = spec.group
    if group is None:
        group = status.st_gid if status.st_mode & stat.S_ISGID else os.getegid()
    kept_out = [
        who
        for who, reads, enters in (
            ("group", stat.S_IRGRP, stat.S_IXGRP),
            ("others", stat.S_IROTH, stat.S_IXOTH),
        )
        if spec.mode & reads and not status.st_mode & enters and not (who == "group" and status.st_mode & stat.S_IXOTH)
    ]
    mode = f"{stat.S_IMODE(status.st_mode):04o}"
    if kept_out:
        said = f"Files are to be read by {' and '.join(kept_out)}, whom {spec.directory} (mode {mode}) keeps out."
        sheet.warning("publish-directory", said, "Set fsGroup in the pod's securityContext, or chmod the directory.")
        return
    readers = f"user {os.geteuid()}" + (f" and group {group}" if spec.mode & stat.S_IRGRP else "")
    readers = "everybody in the pod" if spec.mode & stat.S_IROTH else readers
    sheet.ok("publish-directory", f"{spec.directory} can be written; {readers} can read, mode {spec.mode:04o}.")


def _examine_volume(spec: PublishSpec, sheet: Sheet, proc: str) -> None:
    mount = mount_of(spec.directory, proc)
    space = os.statvfs(spec.directory)
    free = f"{space.f_bavail * space.f_frsize:,} bytes free"
    if mount is None:
        sheet.not_checked(("publish-volume",), "The kernel does not tell of mounts here.")
    elif mount.is_in_memory:
        sheet.ok("publish-volume", f"{mount.point} is in memory ({mount.kind}), {free}.")
    elif mount.is_containers_own:
        said = f"{spec.directory} is in no volume ({mount.kind} at {mount.point}): other containers do not see it."
        sheet.warning("publish-volume", said, _MOUNT_REMEDY)
    else:
        said = f"{mount.point} is on a disk ({mount.kind}): credentials outlive the pod there."
        sheet.warning("publish-volume", said, "Set medium: Memory on the emptyDir.")


def _examine_neighbours(spec: PublishSpec, profiles: Collection[str], sheet: Sheet, now: datetime) -> None:
    """Look for profiles of somebody else: two brokers in one directory take each other's `credentials` away."""
    strangers = []
    with os.scandir(spec.directory) as entries:
        for entry in entries:
            name = entry.name.removesuffix(".json")
            if name != entry.name and name not in profiles and _is_unexpired(entry.path, now):
                strangers.append(name)
    if strangers:
        said = f"Profiles of no setting here have credentials in {spec.directory}: {', '.join(sorted(strangers))}."
        remedy = "Another broker's? Give each a directory of its own. Left over from other settings? Remove the files."
        sheet.warning("publish-neighbours", said, remedy)
    else:
        sheet.ok("publish-neighbours", "No other broker publishes there.")


def _is_unexpired(path: str, now: datetime) -> bool:
    """Say whether the file holds unexpired credentials; neither a link nor a pipe is looked into."""
    with suppress(OSError, ValueError, TypeError, KeyError, RecursionError):
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            document = json.loads(os.read(file, _MAXIMUM_LENGTH_READ))
        finally:
            os.close(file)
        expires_at = datetime.strptime(document["Expiration"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
        return bool(document["Version"] == 1 and expires_at > now)
    return False
