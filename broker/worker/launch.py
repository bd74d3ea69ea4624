"""Two ways to start a worker: fork, and start as a new program.

A fork is cheaper, because the modules are loaded already. It is safe only as long as this process has one thread and
knows no secret: a worker would inherit both. Later workers are therefore new programs, which inherit the environment
and nothing else (docs/adr/0025-worker-process.md compares the ways).
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
from typing import TYPE_CHECKING

from broker.core.errors import EXIT_BUG
from broker.worker.process import serve
from broker.worker.process_hardening import harden_process

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import NoReturn

_IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
"""Signals to the process group, for example of a terminal. What ends a worker is the end of its socket."""
_PROGRAM = "import sys; sys.path[:] = sys.argv[2:]; from broker.worker.launch import main; main(int(sys.argv[1]))"


def fork_worker(worker_end: socket.socket, resident_ends: Iterable[socket.socket]) -> int:
    """Fork a worker that serves `worker_end`. Return its pid. Raises OSError.

    `resident_ends` are this process's ends of the sockets to all workers: a copy in a worker would keep another one
    from noticing the end.
    """
    pid = os.fork()
    if pid == 0:
        for each in resident_ends:
            each.close()
        _serve(worker_end)
    return pid


def spawn_worker(worker_end: socket.socket) -> int:
    """Start a worker that serves `worker_end` as a new program. Return its pid. Raises OSError.

    It gets the module path of this process. -I makes it ignore the PYTHON variables.
    """
    descriptor = worker_end.fileno()
    os.set_inheritable(descriptor, True)  # noqa: FBT003 - of os; the caller closes it
    arguments = [sys.executable, "-I", "-S", "-c", _PROGRAM, str(descriptor), *sys.path]
    return os.posix_spawn(sys.executable, arguments, os.environ, setsigdef=[signal.SIGCHLD])


def main(descriptor: int) -> NoReturn:
    """Be the worker that `spawn_worker` has started. `descriptor` is that of its socket."""
    harden_process()  # starting a program makes a process dumpable again
    _serve(socket.socket(fileno=descriptor))


def _serve(connection: socket.socket) -> NoReturn:
    status = EXIT_BUG
    try:
        gc.disable()  # a worker lives for seconds, and collecting takes a tenth of its time
        for number in _IGNORED:
            signal.signal(number, signal.SIG_IGN)
        status = serve(connection)
    finally:
        os._exit(status)  # nothing in it outlives a job
