"""Worker processes in tests: a clock that tests advance, and results that they wait for."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from broker.loop.event_loop import EventLoop
from broker.worker.pool import JOB_SECONDS, Workers

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.worker import jobs

_PATIENCE_SECONDS = 30.0
"""How long a test waits for what must happen, on a busy machine."""


class Pool:
    """Workers on a loop whose clock a test can advance by `ahead`, in seconds."""

    def __init__(self) -> None:
        self.ahead = 0.0
        self.loop = EventLoop(lambda: time.monotonic() + self.ahead)
        self.workers = Workers(self.loop)
        self.started: set[int] = set()

    @property
    def pids(self) -> list[int]:
        """The processes of the workers that get jobs, the oldest first."""
        pids = [worker.pid for worker in self.workers._workers]
        self.started.update(pids)
        return pids

    def submit(self, job: jobs.Job, *, seconds: float = JOB_SECONDS, is_apart: bool = False) -> list[Any]:
        """Submit a job. Return a list, which gets its result."""
        results: list[Any] = []
        self.workers.submit(job, results.append, seconds=seconds, is_apart=is_apart)
        self.started.update(self.pids)
        return results

    def do(self, job: jobs.Job, **options: Any) -> Any:  # noqa: ANN401 - of any job
        """Return the result of a job."""
        results = self.submit(job, **options)
        self.serve(lambda: bool(results))
        return results[0]

    def serve(self, is_over: Callable[[], bool]) -> None:
        """Serve the loop until the condition holds."""
        end = time.monotonic() + _PATIENCE_SECONDS
        while not is_over():
            assert time.monotonic() < end, "it does not happen"
            self.loop.turn(0.05)
            self.started.update(self.pids)

    def advance(self, seconds: float) -> None:
        """Let time pass by the loop's clock, and do what is due then."""
        self.ahead += seconds
        self.loop.turn(0)

    def close(self) -> None:
        """End all workers, and wait for them."""
        self.workers.close()
        for pid in self.started:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
            with suppress(ChildProcessError):
                os.waitpid(pid, 0)
        self.loop.close()


def list_descriptors() -> set[str]:
    """Return the file descriptors of this process, and what each is, but for that of the listing."""
    found = set()
    for path in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            found.add(f"{path.name} {path.readlink()}")
    return found


def has_ended(pid: int) -> bool:
    """Return whether this child has ended and was waited for."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False
