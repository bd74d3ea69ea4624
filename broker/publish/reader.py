"""`sts-broker credentials`: what is published of a profile, as SDKs want it of a `credential_process`.

It runs at every refresh of an SDK, in the app's container: it reads one file, and neither settings nor STS. What cannot
be used is never printed, so that an SDK gets either credentials or an exit code with a reason.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, BinaryIO

from broker.core.clock import SystemClock
from broker.core.errors import PublishError
from broker.core.model import DEFAULT_PROFILE, DEFAULT_PUBLISH_DIRECTORY
from broker.core.timestamps import timestamp
from broker.publish.formats import expiry_of

if TYPE_CHECKING:
    from collections.abc import Mapping

_ENDING = ".json"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_MAXIMUM_BYTES = 1_000_000
_SEE = "Look at the broker's log, or at its /readyz."


def show(*, directory: str, profile: str, environ: Mapping[str, str], output: BinaryIO) -> None:
    """Print the profile's credentials; "" stands for BROKER_PUBLISH_DIRECTORY, and for the profile that is meant.

    Raises PublishError where nothing usable is published.
    """
    directory = directory or environ.get("BROKER_PUBLISH_DIRECTORY", "") or DEFAULT_PUBLISH_DIRECTORY
    profile = profile or _profile_meant(directory)
    if not _NAME.fullmatch(profile):
        raise _fault(f"{profile!r} is no name of a profile.", "Write the name that stands in the broker's settings.")
    path = os.path.join(directory, profile + _ENDING)  # noqa: PTH118 - pathlib costs 3 ms of every call
    document = _read(path)
    try:
        expires_at = expiry_of(document)
    except ValueError as error:
        raise _fault(f"{path} holds no whole credentials: {error}.", "It is not the broker's: remove it.") from None
    if expires_at <= SystemClock().read().now:
        raise _fault(f"The credentials in {path} expired at {timestamp(expires_at)}.", _SEE)
    output.write(document)


def _profile_meant(directory: str) -> str:
    """Return `default` where it is published, else the only profile that is. Raises PublishError."""
    try:
        names = sorted(name.removesuffix(_ENDING) for name in os.listdir(directory) if name.endswith(_ENDING))  # noqa: PTH208 - likewise
    except OSError as error:
        raise _unreadable(directory, error) from None
    names = [name for name in names if _NAME.fullmatch(name)]
    if DEFAULT_PROFILE in names:
        return DEFAULT_PROFILE
    if not names:
        raise _fault(f"No credentials are published in {directory} yet.", _SEE)
    if len(names) > 1:
        raise _fault(
            f"Several profiles are published in {directory}: {', '.join(names)}.", "Choose one: --profile NAME."
        )
    return names[0]


def _read(path: str) -> bytes:
    """Return what stands in the file. Raises PublishError."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a planted pipe is not waited on
        try:
            return os.read(file, _MAXIMUM_BYTES)
        finally:
            os.close(file)
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: str, error: OSError) -> PublishError:
    number = error.errno or 0
    if isinstance(error, FileNotFoundError):
        remedy = f"{_SEE} Or mount the broker's volume here; --directory says where."
    else:
        remedy = "Run as a user in the group of the broker's files, or change BROKER_PUBLISH_MODE."
    return _fault(f"Cannot read {path}: {os.strerror(number)}.", remedy, number)


def _fault(message: str, remedy: str, number: int | None = None) -> PublishError:
    return PublishError(message, remedy, sink="files", errno=number)
