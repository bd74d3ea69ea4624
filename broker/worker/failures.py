"""Why a worker gave no result, in words. Every failure is one failed attempt, which the main loop repeats."""

from __future__ import annotations

import errno
import os
import signal
from typing import TYPE_CHECKING

from broker.core.errors import WorkerFailed

if TYPE_CHECKING:
    from broker.worker.channel import ForeignValueError
    from broker.worker.jobs import Crash

STATUS_UNKNOWN = -1
"""Stands for the wait status of a worker that does not end, because the kernel holds it (a hung volume)."""
_NAME = "The worker process, which reads tokens and calls STS,"
_MEMORY_REMEDY = "Raise the container's memory limit (resources.limits.memory); 64Mi is enough."
_START_REMEDIES = {
    errno.EAGAIN: "Raise the process limit (pids) of the pod, or find out which process in the pod uses it up.",
    errno.ENOMEM: _MEMORY_REMEDY,
    errno.EMFILE: "Raise the limit of open files (nofile) of the container.",
    errno.ENFILE: "The node has run out of open files: find out what uses them up.",
}
_REPORT = "Report it if it happens again. The broker tries again by itself."


def explain_end(status: int) -> WorkerFailed:
    """Return the error for a worker that ended by itself. `status` is the wait status, or STATUS_UNKNOWN."""
    if status == STATUS_UNKNOWN:
        return WorkerFailed(f"{_NAME} ended before it had an answer.", _REPORT)
    code = os.waitstatus_to_exitcode(status)
    if code == -signal.SIGKILL:
        return WorkerFailed(f"{_NAME} was ended by SIGKILL, probably because memory ran out.", _MEMORY_REMEDY)
    how = f"was ended by {_name_signal(-code)}" if code < 0 else f"ended with status {code}"
    return WorkerFailed(f"{_NAME} {how} before it had an answer.", _REPORT)


def _name_signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # most real-time signals have no name
        return f"signal {number}"


def explain_start_failure(error: OSError) -> WorkerFailed:
    """Return the error for a worker that could not be started."""
    remedy = _START_REMEDIES.get(error.errno or 0, "Use an image in which the broker's Python is complete.")
    return WorkerFailed(f"The system did not allow the broker to start its worker process: {error.strerror}.", remedy)


def explain_crash(crash: Crash) -> WorkerFailed:
    """Return the error for a bug in the worker."""
    place = "".join(f" in {frame}" for frame in crash.frames[-1:])
    error = WorkerFailed(f"{_NAME} met a bug: {crash.kind}{place}.", _REPORT)
    error.stack = " > ".join(crash.frames)
    return error


def explain_foreign_value(error: ForeignValueError) -> WorkerFailed:
    """Return the error for a worker that sent something else than a result."""
    return WorkerFailed(f"{_NAME} sent no result of the broker, but {error}.", _REPORT)
