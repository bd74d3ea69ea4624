"""The resident process's side of the workers: gives them jobs, and stops them in time.

One worker does all jobs that are due together. A job that exceeds its deadline is stopped by killing its worker, with
its sockets; the other jobs of that worker are given to a new one. A worker that ends by itself fails all its jobs. A
worker without a job is ended after IDLE_SECONDS. Nothing here raises because of a worker: every job ends with one call
of its `on_end`, on the thread of the loop.
"""

from __future__ import annotations

import os
import signal
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from broker.core.records import Struct, field
from broker.loop.event_loop import READ, WRITE
from broker.worker import jobs
from broker.worker.channel import READ_BYTES, ForeignValueError, Frames, encode
from broker.worker.children import Children
from broker.worker.failures import (
    STATUS_UNKNOWN,
    explain_crash,
    explain_end,
    explain_foreign_value,
    explain_start_failure,
)
from broker.worker.launch import fork_worker, spawn_worker

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.core.errors import WorkerFailed
    from broker.loop.event_loop import EventLoop

IDLE_SECONDS = 2.0
JOB_SECONDS = 30.0
"""The default limit for a job, because connect and read timeouts limit single steps only."""
_END_SECONDS = 1.0
"""How long a worker may take to end after its socket is closed, and again after it is killed."""
_POLL_SECONDS = 0.01


class Overdue(Struct, frozen=True):
    """The result of a job that was stopped after `seconds`."""

    seconds: float


class _Pending(Struct, frozen=True, kw_only=True, eq=False):
    """A job that has no result yet. `deadline` is monotonic, in seconds."""

    number: int
    job: jobs.Job
    on_end: Callable[[Any], None]
    seconds: float
    deadline: float


class _Worker(Struct, kw_only=True, eq=False):
    """A worker process. `is_shared`: it takes several jobs."""

    pid: int
    connection: socket.socket
    is_shared: bool
    idle_since: float
    frames: Frames = field(default_factory=Frames)
    output: bytearray = field(default_factory=bytearray)
    pending: dict[int, _Pending] = field(default_factory=dict)
    ends_by: float = 0.0
    """When it is killed, or given up after it was killed, in seconds of the loop's clock."""
    is_killed: bool = False


class Workers:
    """Gives jobs to worker processes. `close` ends them all.

    As long as `may_fork` is true, workers are forked; then they are new programs. `failures` counts the workers that
    could not be started, or ended before they had answered.
    """

    def __init__(self, loop: EventLoop) -> None:
        self._loop = loop
        self.children = Children()
        self.may_fork = True
        self.failures = 0
        self._workers: list[_Worker] = []
        self._ending: list[_Worker] = []
        """Workers whose sockets are closed, until their wait status is known."""
        self._looks_at = 0.0
        """When to look for their ends, in seconds of the loop's clock."""
        self._number = 0
        loop.add_timed(self)

    def submit(
        self,
        job: jobs.Job,
        on_end: Callable[[Any], None],
        *,
        seconds: float = JOB_SECONDS,
        is_apart: bool = False,
    ) -> None:
        """Have the job done within `seconds`. `is_apart` gives it a worker of its own.

        `on_end` gets the result of the job, its BrokerError, a WorkerFailed, or Overdue. It may be called at once.
        """
        self._number += 1
        deadline = self._loop.monotonic() + seconds
        pending = _Pending(number=self._number, job=job, on_end=on_end, seconds=seconds, deadline=deadline)
        self._give(pending, is_shared=not is_apart)

    def serve_until(self, is_over: Callable[[], bool]) -> None:
        """Serve the loop until the condition holds. Every job ends in time, so one that waits for a job does."""
        while not is_over():
            self._loop.turn(JOB_SECONDS)

    def wait_for_ends(self) -> None:
        """Serve the loop until no worker is ending, so that no zombie is left. It takes two seconds at most."""
        self.serve_until(lambda: not self._ending)

    def close(self) -> None:
        """End all workers. Their jobs get no result."""
        for worker in self._workers:
            self._disconnect(worker)
        self._workers.clear()

    def get_deadline(self) -> float | None:
        """Return when a job is overdue, or a worker is to be ended or looked for, in seconds of the loop's clock."""
        deadlines = [
            min((pending.deadline for pending in worker.pending.values()), default=worker.idle_since + IDLE_SECONDS)
            for worker in self._workers
        ]
        if self._ending:
            deadlines.append(self._looks_at)
        return min(deadlines, default=None)

    def meet_deadline(self, now: float) -> None:
        """Stop overdue jobs and idle workers, and find out how workers have ended."""
        for worker in list(self._workers):
            overdue = [pending for pending in worker.pending.values() if pending.deadline <= now]
            if overdue:
                self._stop(worker, overdue)
            elif not worker.pending and worker.idle_since + IDLE_SECONDS <= now:
                self._end(worker)
        if self._ending and self._looks_at <= now:
            self._look_for_ends(now)

    def _look_for_ends(self, now: float) -> None:
        """Take the statuses of workers that have ended, and kill those that do not end."""
        self._looks_at = now + _POLL_SECONDS
        self.children.reap()
        for worker in list(self._ending):
            status = self.children.take_status(worker.pid)
            if status is None and now < worker.ends_by:
                continue
            if status is None and not worker.is_killed:
                self._kill(worker)
                continue
            self._ending.remove(worker)
            self._fail(worker, explain_end(STATUS_UNKNOWN if status is None else status))

    def _stop(self, worker: _Worker, overdue: list[_Pending]) -> None:
        """Kill a worker because of its overdue jobs, and give its other jobs to a new one."""
        others = [pending for pending in worker.pending.values() if pending not in overdue]
        worker.pending = {}
        self._end(worker)
        self._kill(worker)
        for pending in overdue:
            pending.on_end(Overdue(pending.seconds))
        for pending in others:
            self._give(pending, is_shared=worker.is_shared)

    def _give(self, pending: _Pending, *, is_shared: bool) -> None:
        """Send the job to the shared worker, or to a new one."""
        worker = next((each for each in self._workers if each.is_shared), None) if is_shared else None
        if worker is None:
            try:
                worker = self._start_worker(is_shared=is_shared)
            except OSError as error:
                self.failures += 1
                pending.on_end(explain_start_failure(error))
                return
        worker.pending[pending.number] = pending
        worker.output += encode(jobs.Request(number=pending.number, job=pending.job))
        self._write(worker)

    def _start_worker(self, *, is_shared: bool) -> _Worker:
        """Start a worker process. Raises OSError."""
        ours, theirs = socket.socketpair()
        all_ours = [ours, *(worker.connection for worker in self._workers)]
        with theirs:
            try:
                pid = fork_worker(theirs, all_ours) if self.may_fork else spawn_worker(theirs)
            except OSError:
                ours.close()
                raise
        ours.settimeout(0)
        self.children.add(pid)
        worker = _Worker(pid=pid, connection=ours, is_shared=is_shared, idle_since=self._loop.monotonic())
        self._workers.append(worker)
        return worker

    def _watch(self, worker: _Worker) -> None:
        events = READ | (WRITE if worker.output else 0)
        self._loop.watch(worker.connection.fileno(), events, lambda ready: self._serve(worker, ready))

    def _serve(self, worker: _Worker, events: int) -> None:
        if events & WRITE:
            self._write(worker)
        if events & READ:
            self._read(worker)

    def _write(self, worker: _Worker) -> None:
        """Send what the socket takes, and watch for the rest. That a worker has gone is noticed by reading."""
        with suppress(OSError):
            del worker.output[: worker.connection.send(worker.output)]
        self._watch(worker)

    def _read(self, worker: _Worker) -> None:
        try:
            data = worker.connection.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._end(worker)
            return
        try:
            for reply in worker.frames.receive(data):
                self._take_reply(worker, reply)
        except ForeignValueError as error:
            self._fail(worker, explain_foreign_value(error))
            self._end(worker)
            self._kill(worker)

    def _take_reply(self, worker: _Worker, reply: object) -> None:
        if not isinstance(reply, jobs.Reply) or reply.number not in worker.pending:
            raise ForeignValueError(type(reply).__name__)
        pending = worker.pending.pop(reply.number)
        worker.idle_since = self._loop.monotonic()
        if not worker.is_shared:
            self._end(worker)
        result = reply.result
        pending.on_end(explain_crash(result) if isinstance(result, jobs.Crash) else result)

    def _end(self, worker: _Worker) -> None:
        """Close the worker's socket, which ends it. Jobs that are pending fail when it has ended."""
        if worker in self._workers:
            self._workers.remove(worker)
            self._disconnect(worker)
            self._looks_at = self._loop.monotonic()
            worker.ends_by = self._looks_at + _END_SECONDS
            self._ending.append(worker)

    def _kill(self, worker: _Worker) -> None:
        """Kill a worker that is ending. It is a child that was not waited for, so the pid is still its own."""
        with suppress(ProcessLookupError):
            os.kill(worker.pid, signal.SIGKILL)
        worker.is_killed, worker.ends_by = True, self._loop.monotonic() + _END_SECONDS

    def _disconnect(self, worker: _Worker) -> None:
        self._loop.ignore(worker.connection.fileno())
        worker.connection.close()

    def _fail(self, worker: _Worker, error: WorkerFailed) -> None:
        """End all jobs of the worker with the error."""
        pending, worker.pending = worker.pending, {}
        if pending:
            self.failures += 1
        for each in pending.values():
            each.on_end(error)
