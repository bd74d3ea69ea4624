"""The loop of every driver in Python: say the version, call, say how it ended, wait, until standard input ends."""

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
    """Call again and again; a failed call is told and no reason to end."""
    say("version", version)
    while True:
        try:
            call()
        except Exception as error:  # noqa: BLE001 - whatever an SDK raises is what is looked for
            say("failed", type(error).__name__)
        else:
            say("done")
        if is_over(_PAUSE_SECONDS):
            return


def say(*words: str) -> None:
    """Print a line at once."""
    print(*words, flush=True)


def is_over(wait_seconds: float) -> bool:
    """Wait; say whether standard input has ended."""
    return bool(select.select([sys.stdin], [], [], wait_seconds)[0])
