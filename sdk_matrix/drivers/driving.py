"""The loop of every driver in Python: prints the version, then calls and prints outcomes until standard input ends."""

from __future__ import annotations

import os
import select
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

ENDPOINT = os.environ["MATRIX_ENDPOINT"]
REGION = os.environ["AWS_REGION"]
_PAUSE_SECONDS = 1.5


def drive(version: str, call: Callable[[], object]) -> None:
    """Call repeatedly until standard input ends. A failed call is reported and does not end the loop."""
    report("version", version)
    while True:
        try:
            call()
        except Exception as error:  # noqa: BLE001 - any exception of an SDK is a failed call
            report("failed", type(error).__name__)
        else:
            report("done")
        if is_over(_PAUSE_SECONDS):
            return


def report(*words: str) -> None:
    """Print a line and flush it."""
    print(*words, flush=True)


def is_over(wait_seconds: float) -> bool:
    """Wait. Return whether standard input has ended."""
    return bool(select.select([sys.stdin], [], [], wait_seconds)[0])
