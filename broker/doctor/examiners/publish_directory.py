"""Examine the publish directory: whether files can be written there, who can read them, and what volume holds them.

The check writes one file as the file sink does, and deletes it. The file's name begins with a dot, and it contains only
spaces, so that no reader mistakes it for credentials. The check never creates a directory.
"""

from __future__ import annotations

import json
import os
import stat
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from broker.core.model import ENDPOINT_TOKEN_FILE
from broker.doctor.examiners.mounts import find_mount
from broker.files.regular_file import read_regular_file
from broker.publish.file_sink import replace_file
from broker.publish.write_faults import explain_write_failure, find_irreplaceable_file

if TYPE_CHECKING:
    from collections.abc import Collection

    from broker.core.model import PublishSpec
    from broker.doctor.checks import Report

DIRECTORY_CHECKS: Final = ("publish-directory", "publish-volume", "publish-neighbours")
_BYTES_PER_PROFILE: Final = 16_384
"""What a profile's files may take while one is replaced. AWS documents no maximum size of a session token."""
_MAXIMUM_LENGTH_READ: Final = 65_536
_MOUNT_REMEDY: Final = (
    "Mount an emptyDir volume (medium: Memory) at that path, in the broker's and the app's container."
)


def examine_directory(
    spec: PublishSpec, profiles: Collection[str], report: Report, *, proc: str, now: datetime
) -> None:
    """Examine the directory as the broker would use it for these profiles."""
    if not os.path.isdir(spec.directory):  # noqa: PTH112 - paths are text here
        _examine_missing(spec.directory, report)
        return
    error = _try_to_write(spec, len(profiles) * _BYTES_PER_PROFILE)
    if error is not None:
        fault = explain_write_failure(error, spec.directory)
        group = "" if spec.group is None else f" and group {spec.group}"
        found = f"The broker can't write a file with mode {spec.mode:04o}{group} in {spec.directory}"
        report.failed("publish-directory", f"{found}: {fault.found}.", fault.remedy)
        report.not_checked(DIRECTORY_CHECKS[1:], "", because="publish-directory")
        return
    names = ("config", "credentials", ENDPOINT_TOKEN_FILE, *(f"{name}.json" for name in profiles))
    owned = find_irreplaceable_file(spec.directory, names) if os.geteuid() else None  # root may replace any file
    if owned is not None:
        found = f"The broker can't replace a file in {spec.directory}: {owned.found}."
        report.failed("publish-directory", found, owned.remedy)
        report.not_checked(DIRECTORY_CHECKS[1:], "", because="publish-directory")
        return
    _examine_modes(spec, report)
    _examine_volume(spec, report, proc)
    _examine_neighbours(spec, profiles, report, now)


def _examine_missing(directory: str, report: Report) -> None:
    if os.path.lexists(directory):
        found, remedy = f"{directory} is not a directory.", "Set BROKER_PUBLISH_DIRECTORY to a directory."
        report.failed("publish-directory", found, remedy)
    elif os.access(os.path.dirname(directory) or "/", os.W_OK | os.X_OK):  # noqa: PTH120 - likewise
        found = f"{directory} does not exist. The broker will create it, but other containers will not see it."
        report.warning("publish-directory", found, _MOUNT_REMEDY)
    else:
        report.failed("publish-directory", f"{directory} does not exist, and can't be created.", _MOUNT_REMEDY)
    report.not_checked(DIRECTORY_CHECKS[1:], "", because="publish-directory")


def _try_to_write(spec: PublishSpec, length: int) -> OSError | None:
    """Write a file of spaces as the file sink does, and delete it. Return the error that prevented it."""
    name = f".doctor-{os.getpid()}"
    try:
        directory = os.open(spec.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        return error
    try:
        replace_file(directory, name, (b" " * length,), mode=spec.mode, group=spec.group)
    except OSError as error:
        return error
    finally:
        with suppress(OSError):
            os.unlink(name, dir_fd=directory)
        os.close(directory)
    return None


def _examine_modes(spec: PublishSpec, report: Report) -> None:
    """Report who can read the files, and warn if the directory's mode keeps one of them out."""
    status = os.stat(spec.directory)  # noqa: PTH116 - likewise
    group = spec.group
    if group is None:
        group = status.st_gid if status.st_mode & stat.S_ISGID else os.getegid()
    kept_out = [
        who
        for who, reads, enters in (
            ("the group", stat.S_IRGRP, stat.S_IXGRP),
            ("others", stat.S_IROTH, stat.S_IXOTH),
        )
        if spec.mode & reads and not status.st_mode & enters and not (who != "others" and status.st_mode & stat.S_IXOTH)
    ]
    mode = f"{stat.S_IMODE(status.st_mode):04o}"
    if kept_out:
        found = f"{spec.directory} (mode {mode}) keeps out {' and '.join(kept_out)}, who should read the files in it."
        remedy = "Set fsGroup in the pod's securityContext, or change the directory's mode."
        report.warning("publish-directory", found, remedy)
        return
    readers = f"user {os.geteuid()}" + (f" and group {group}" if spec.mode & stat.S_IRGRP else "")
    readers = "everybody in the pod" if spec.mode & stat.S_IROTH else readers
    report.ok("publish-directory", f"{spec.directory} is writable; {readers} can read, mode {spec.mode:04o}.")


def _examine_volume(spec: PublishSpec, report: Report, proc: str) -> None:
    mount = find_mount(spec.directory, proc)
    space = os.statvfs(spec.directory)
    free = f"{space.f_bavail * space.f_frsize:,} bytes free"
    if mount is None:
        report.not_checked(("publish-volume",), "The kernel's mount table can't be read.")
    elif mount.is_in_memory:
        report.ok("publish-volume", f"{mount.point} is in memory ({mount.kind}), {free}.")
    elif mount.is_container_root:
        found = f"{spec.directory} is not on a volume ({mount.kind} at {mount.point}): other containers don't see it."
        report.warning("publish-volume", found, _MOUNT_REMEDY)
    else:
        found = f"{mount.point} is on a disk ({mount.kind}): credentials may stay there when the pod is gone."
        report.warning("publish-volume", found, "Set medium: Memory on the emptyDir volume.")


def _examine_neighbours(spec: PublishSpec, profiles: Collection[str], report: Report, now: datetime) -> None:
    """Warn about credentials of unknown profiles: two brokers in one directory overwrite each other's `credentials`."""
    directory = os.open(spec.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        names = {name.removesuffix(".json") for name in os.listdir(directory) if name.endswith(".json")}  # noqa: PTH208 - of an open directory
        unknown = [
            name for name in sorted(names.difference(profiles)) if _holds_credentials(directory, f"{name}.json", now)
        ]
    finally:
        os.close(directory)
    if unknown:
        found = f"{spec.directory} has credentials of profiles that are not in the settings: {', '.join(unknown)}."
        remedy = (
            "If another broker publishes there, give each a directory of its own. If they are left over, delete them."
        )
        report.warning("publish-neighbours", found, remedy)
    else:
        report.ok("publish-neighbours", "No other broker publishes there.")


def _holds_credentials(directory: int, name: str, now: datetime) -> bool:
    """Return whether the file holds unexpired credentials. Only regular files are read, and no links are followed."""
    with suppress(OSError, ValueError, TypeError, KeyError, RecursionError):
        document = json.loads(read_regular_file(name, _MAXIMUM_LENGTH_READ, directory=directory))
        expires_at = datetime.strptime(document["Expiration"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
        return bool(document["Version"] == 1 and expires_at > now)
    return False
