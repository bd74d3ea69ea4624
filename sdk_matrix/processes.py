"""Clients as processes: started in an environment made from nothing, told to stop by the end of their input.

Rules: output goes to files, so that nothing has to be drained; a client that does not stop is ended with its children,
by the process group that was made for it; nothing else is ever signalled.
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
    """Wait for the condition; say whether it came about in time."""
    deadline = time.monotonic() + within_seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


class Process:
    """A started program. `output` is a path without suffix: standard output and error go to `.out` and `.err`."""

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
        """Whether it has not ended."""
        return self._process.poll() is None

    def output(self) -> str:
        """Return what it wrote to standard output so far."""
        return self._out.read_text(errors="replace")

    def errors(self) -> str:
        """Return what it wrote to standard error so far."""
        return self._err.read_text(errors="replace")

    def close_input(self) -> None:
        """Tell it to stop."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()

    def terminate(self) -> None:
        """Tell it to stop by SIGTERM, where it does not heed its input."""
        self._process.terminate()

    def stop(self) -> None:
        """Tell it to stop, and wait for the end; end it with all its children if it does not."""
        self.close_input()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_STOP_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
