"""Starts clients as processes with a given environment, and stops them by closing their standard input.

Output goes to files, so that no pipe has to be read. A client that does not stop is ended with its children, by its own
process group.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING

from sdk_matrix.installs import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

_POLL_SECONDS = 0.1
_STOP_SECONDS = 10.0


def wait_until(condition: Callable[[], bool], within_seconds: float) -> bool:
    """Wait until the condition is true. Return whether it became true in time."""
    deadline = time.monotonic() + within_seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


class Process:
    """A started program. `output` is a path without a suffix: standard output and error go to `.out` and `.err`."""

    def __init__(self, command: Sequence[str], *, environment: Mapping[str, str], output: Path) -> None:
        self._out, self._err = output.with_suffix(".out"), output.with_suffix(".err")
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={"PYTHONDONTWRITEBYTECODE": "1", **environment},
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    @property
    def is_running(self) -> bool:
        """Whether the process has not ended."""
        return self._process.poll() is None

    def output(self) -> str:
        """Return the standard output so far."""
        return self._out.read_text(errors="replace")

    def errors(self) -> str:
        """Return the standard error so far."""
        return self._err.read_text(errors="replace")

    def close_input(self) -> None:
        """Close the program's standard input, which stops drivers."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()

    def terminate(self) -> None:
        """Send SIGTERM, for programs that do not read standard input."""
        self._process.terminate()

    def stop(self) -> None:
        """Stop the program and wait for it. After 10 s, end it with all its children."""
        self.close_input()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_STOP_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
