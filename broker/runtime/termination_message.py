"""The container's termination message: the current faults, for `kubectl describe pod`.

Kubernetes mounts a writable file into each container (`terminationMessagePath`), and shows its content once the
container has ended. It always contains the current faults. So the pod's status has the reason even if SIGKILL, a lack
of memory or a failed startup probe ends the broker. Anyone who can read pods can read the message: it consists of
redacted sentences, and omits the text of unexpected exceptions.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from broker.core.errors import BrokerError, ConfigurationError, SourceUnavailable, list_frames
from broker.core.events import Decided, Exchanged, Published, RefreshRequested, Restored, TokenObserved, Turned
from broker.core.model import printable, redacted
from broker.core.status import has_readers_served
from broker.files.regular_file import open_for_update

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from broker.core.events import Event
    from broker.core.status import ProfileStatus, Snapshot

MAXIMUM_BYTES: Final = 4096
"""The kubelet shows the last 4096 bytes (MaxContainerTerminationMessageLength in pkg/kubelet/container/runtime.go)."""
PREFIX: Final = "sts-broker: "
"""How each line begins. A file that begins otherwise belongs to somebody else, such as the command of `exec`."""
_CUT: Final = "…"


class TerminationMessage:
    """Keeps the file at `path` up to date with the faults in the status. `take_snapshot` is that of Status."""

    def __init__(self, path: str, take_snapshot: Callable[[], Snapshot]) -> None:
        self._path = path
        self._take_snapshot = take_snapshot
        self._text: str | None = None  # what the file contains, once something was written

    def record(self, event: Event) -> None:
        """Rewrite the file if the event changed the faults. The status must have recorded the event before."""
        if isinstance(event, Turned | RefreshRequested | Decided):
            return
        if self._text == "" and isinstance(event, TokenObserved | Restored | Exchanged | Published):
            return  # a success adds no fault
        self._write(describe_faults(self._take_snapshot().profiles, event.at.now))

    def record_end(self, error: Exception) -> None:
        """Write what ends the process before the faults of the profiles, unless it is one of these faults."""
        profiles = [profile for profile in self._take_snapshot().profiles if profile.fault is not None]
        if not any(profile.fault is not None and profile.fault.error is error for profile in profiles):
            self.record_text(describe_error(error))

    def record_text(self, text: str) -> None:
        """Write why the process ends before the faults of the profiles."""
        self._write("\n".join(filter(None, (text, self._text))))

    def _write(self, text: str) -> None:
        if text != self._text:
            self._text = text
            write_message(self._path, text)


def describe_faults(profiles: Sequence[ProfileStatus], now: datetime) -> str:
    """Return a line for each profile with a fault, the most urgent one first.

    Required profiles come before others, those whose readers have no credentials before others, and chained roles that
    only wait for their source after these. Then the earliest fault is first.
    """
    faults = [(profile, profile.fault) for profile in profiles if profile.fault is not None]
    faults.sort(
        key=lambda each: (
            not each[0].required,
            has_readers_served(each[0], now),
            isinstance(each[1].error, SourceUnavailable),
            each[1].since,
        )
    )
    return "\n".join(
        f"profile {profile.profile}: {_join_lines(str(fault.error))} [{fault.error.reason}]"
        for profile, fault in faults
    )


def describe_error(error: Exception) -> str:
    """Return the lines for an error that ends the process. Of a bug, only its type and place are shown."""
    if isinstance(error, ConfigurationError):
        return "\n".join(f"{_join_lines(fault)} [{error.reason}]" for fault in error.faults)
    if isinstance(error, BrokerError):
        return f"{_join_lines(str(error))} [{error.reason}]"
    place = "".join(f" in {frame}" for frame in list_frames(error)[-1:])
    return (
        f"A bug ended the broker: {type(error).__name__}{place}. Report it with the traceback in its log "
        "(kubectl logs --previous). [bug]"
    )


def write_message(path: str, text: str) -> None:
    """Replace the content of the file, or clear it if `text` is "". Do nothing if it is not there or not ours.

    Never raises an error: without the file, the log still has everything.
    """
    try:
        file = open_for_update(path)
    except (OSError, ValueError):
        return
    try:
        _overwrite(file, _encode(text))
    except OSError:
        pass
    finally:
        os.close(file)


def _overwrite(file: int, content: bytes) -> None:
    before = os.pread(file, len(PREFIX), 0)
    if before and before != PREFIX.encode():
        return
    os.pwrite(file, content, 0)  # before the rest is cut off, so that the file is never empty between two faults
    os.ftruncate(file, len(content))


def _encode(text: str) -> bytes:
    """Return the redacted lines, each with its prefix, in at most MAXIMUM_BYTES bytes."""
    lines = (f"{PREFIX}{printable(redacted(line))}\n" for line in text.split("\n") if line)
    content = "".join(lines).encode()
    if len(content) <= MAXIMUM_BYTES:
        return content
    cut = content[: MAXIMUM_BYTES - len(f"{_CUT}\n".encode())].decode(errors="ignore")
    return f"{cut}{_CUT}\n".encode()


def _join_lines(text: str) -> str:
    return " ".join(text.split("\n"))
