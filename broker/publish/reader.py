"""The verb `credentials`: print the published credentials of a profile in the format of a `credential_process`.

SDKs run it in the app's container at each of their refreshes. It therefore reads one file, and neither the settings nor
STS. It prints nothing if the credentials are not usable: an SDK gets either credentials or an exit code with a message.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, BinaryIO

from broker.core.clock import SystemClock
from broker.core.errors import PublishError
from broker.core.model import DEFAULT_PROFILE, DEFAULT_PUBLISH_DIRECTORY
from broker.core.timestamps import timestamp
from broker.files.regular_file import NotRegularFileError, read_regular_file
from broker.publish.formats import parse_expiry

if TYPE_CHECKING:
    from collections.abc import Mapping

_ENDING = ".json"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_MAXIMUM_BYTES = 1_000_000
_SEE = "Check the broker's log or its /readyz."


def show(*, directory: str, profile: str, environ: Mapping[str, str], output: BinaryIO) -> None:
    """Write the credentials of a profile to `output`.

    "" for `directory` means the value of BROKER_PUBLISH_DIRECTORY or its default; "" for `profile` means the default
    or only profile. Raises PublishError if no usable credentials are published.
    """
    directory = directory or environ.get("BROKER_PUBLISH_DIRECTORY", "") or DEFAULT_PUBLISH_DIRECTORY
    profile = profile or _choose_profile(directory)
    if not _NAME.fullmatch(profile):
        raise _make_error(f"{profile!r} is not a valid profile name.", "Use a profile name of the broker's settings.")
    path = os.path.join(directory, profile + _ENDING)  # noqa: PTH118 - importing pathlib takes 3 ms
    document = _read(path)
    try:
        expires_at = parse_expiry(document)
    except ValueError as error:
        raise _make_error(
            f"{path} does not contain credentials: {error}.",
            "The broker did not write this file. Delete it; the broker publishes it again.",
        ) from None
    if expires_at <= SystemClock().read().now:
        raise _make_error(f"The credentials in {path} expired at {timestamp(expires_at)}.", _SEE)
    output.write(document)


def _choose_profile(directory: str) -> str:
    """Return `default` if it is published, or else the only published profile. Raises PublishError."""
    try:
        names = sorted(name.removesuffix(_ENDING) for name in os.listdir(directory) if name.endswith(_ENDING))  # noqa: PTH208 - likewise
    except OSError as error:
        raise _explain_error(directory, error) from None
    names = [name for name in names if _NAME.fullmatch(name)]
    if DEFAULT_PROFILE in names:
        return DEFAULT_PROFILE
    if not names:
        raise _make_error(f"No credentials are published in {directory} yet.", _SEE)
    if len(names) > 1:
        raise _make_error(
            f"Several profiles are published in {directory}: {', '.join(names)}.", "Choose one with --profile NAME."
        )
    return names[0]


def _read(path: str) -> bytes:
    """Return the content of the file. Raises PublishError."""
    try:
        return read_regular_file(path, _MAXIMUM_BYTES)
    except OSError as error:
        raise _explain_error(path, error) from None


def _explain_error(path: str, error: OSError) -> PublishError:
    if isinstance(error, FileNotFoundError):
        remedy = f"{_SEE} If its volume is mounted elsewhere in this container, set --directory to the mount path."
    elif isinstance(error, NotRegularFileError):
        remedy = "Remove it; the broker publishes the file again."
    else:
        remedy = (
            "Run as a user in the group of the broker's files, or change publish.mode (BROKER_PUBLISH_MODE) of the "
            "broker."
        )
    return _make_error(f"Cannot read {path}: {error.strerror}.", remedy, error.errno)


def _make_error(message: str, remedy: str, number: int | None = None) -> PublishError:
    return PublishError(message, remedy, sink="files", errno=number)
