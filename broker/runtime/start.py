"""The first steps of `run`, `once` and `exec`, in the order that keeps secrets apart and the start short.

Signals are blocked in every later thread and process. Core dumps are turned off. Two workers are forked while the
process is small, has one thread and knows no secret. They check the settings and load botocore, while this process goes
on with its own imports: this module therefore imports little.
"""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

from broker.core.records import Struct
from broker.loop.event_loop import EventLoop
from broker.runtime.builtin_hashes import keep_openssl_out
from broker.worker import jobs
from broker.worker.adapters import SettingsLoad
from broker.worker.pool import Workers
from broker.worker.process_hardening import Hardening, harden_process

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping


class ResidentProcess(Struct, frozen=True, kw_only=True):
    """The process after its first steps. `settings` are being loaded.

    `mask` is the signal mask that the process was started with. `hardening` has the limits, and warnings.
    """

    environ: Mapping[str, str]
    loop: EventLoop
    workers: Workers
    settings: SettingsLoad
    mask: Collection[int]
    hardening: Hardening


@contextmanager
def resident_process(environ: Mapping[str, str], *, blocked: Collection[int]) -> Iterator[ResidentProcess]:
    """Take the first steps, and end the workers at the end of the block. `blocked` are the signals to block."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, blocked)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # if the parent process ignores it, no child can be waited for
    hardening = harden_process()
    loop = EventLoop()
    workers = Workers(loop)
    settings = SettingsLoad(workers, environ)
    workers.submit(jobs.GetReady(), lambda _: None)
    workers.may_fork = False
    keep_openssl_out()
    try:
        yield ResidentProcess(
            environ=environ, loop=loop, workers=workers, settings=settings, mask=mask, hardening=hardening
        )
    finally:
        workers.close()
