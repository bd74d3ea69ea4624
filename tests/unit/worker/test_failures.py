"""Why a worker gave no result: what happened, and what to change."""

from __future__ import annotations

import errno
import os
import signal
from typing import TYPE_CHECKING

import pytest

from broker.core.errors import Disposition
from broker.worker import failures, jobs
from broker.worker.channel import ForeignValueError

if TYPE_CHECKING:
    from broker.core.errors import WorkerFailed

REMEDY = "Report it if it happens again. The broker tries again by itself."


def test_worker_that_was_killed_is_explained_by_memory() -> None:
    error = failures.explain_end(signal.SIGKILL)
    assert str(error) == (
        "The worker process, which reads tokens and calls STS, was ended by SIGKILL, probably because memory ran out. "
        "Raise the container's memory limit (resources.limits.memory); 64Mi is enough."
    )


@pytest.mark.parametrize(
    ("status", "how"),
    [
        (7 << 8, "ended with status 7"),
        (0, "ended with status 0"),
        (signal.SIGSEGV, "was ended by SIGSEGV"),
        (signal.SIGSEGV | 0x80, "was ended by SIGSEGV"),
        (signal.SIGRTMIN, "was ended by SIGRTMIN"),
        (signal.SIGRTMIN + 1, f"was ended by signal {signal.SIGRTMIN + 1}"),
    ],
)
def test_end_is_explained_by_its_status(status: int, how: str) -> None:
    error = failures.explain_end(status)
    assert str(error) == (
        f"The worker process, which reads tokens and calls STS, {how} before it had an answer. {REMEDY}"
    )


@pytest.mark.parametrize("number", range(1, signal.SIGRTMAX + 1))
def test_every_signal_can_be_explained(number: int) -> None:
    assert "was ended by" in failures.explain_end(number).message


def test_worker_that_does_not_end_has_no_status() -> None:
    error = failures.explain_end(failures.STATUS_UNKNOWN)
    assert error.message.endswith("calls STS, ended before it had an answer.")


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.EAGAIN, "process limit (pids)"),
        (errno.ENOMEM, "memory limit"),
        (errno.EMFILE, "limit of open files"),
        (errno.ENOEXEC, "Use an image"),
    ],
)
def test_start_failure_names_what_to_change(number: int, remedy: str) -> None:
    error = failures.explain_start_failure(OSError(number, os.strerror(number)))
    assert error.message == (f"The system did not allow the broker to start its worker process: {os.strerror(number)}.")
    assert remedy in error.remedy


def test_crash_is_explained_by_its_class_and_its_innermost_frame() -> None:
    crash = jobs.Crash(kind="ZeroDivisionError", frames=("share (x.py:1)", "divide (y.py:2)"))
    error = failures.explain_crash(crash)
    assert error.message.endswith("met a bug: ZeroDivisionError in divide (y.py:2).")
    assert error.stack == "share (x.py:1) > divide (y.py:2)"


def test_foreign_value_is_named() -> None:
    error = failures.explain_foreign_value(ForeignValueError("os.system"))
    assert error.message.endswith("sent no result of the broker, but os.system.")


@pytest.mark.parametrize(
    "error",
    [
        failures.explain_end(signal.SIGKILL),
        failures.explain_end(0),
        failures.explain_start_failure(OSError(errno.ENOMEM, "x")),
        failures.explain_crash(jobs.Crash(kind="x", frames=())),
        failures.explain_foreign_value(ForeignValueError("x")),
    ],
)
def test_every_failure_is_retried_soon_and_has_a_remedy(error: WorkerFailed) -> None:
    assert error.reason == "worker_failed"
    assert error.disposition is Disposition.SOON
    assert error.remedy
