"""Signals of `run` and `once`: stop and refresh, and the end of the process if stopping takes too long.

A thread of its own waits for the signals. Python runs its own signal handlers in the main thread, which may hang on a
volume; and one that arrives just before the main thread waits would not wake it.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import TYPE_CHECKING

from broker.core.errors import NO_THREAD, ConfigurationError

if TYPE_CHECKING:
    from queue import SimpleQueue

    from broker.core.refresher import Message

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
STOP_SECONDS = 1.5
"""How long the main loop may take to stop. Then the process ends all the same: published files are always complete."""


def start_signal_thread(inbox: SimpleQueue[Message], *, exit_code: int) -> None:
    """Start the thread that turns signals into messages. SIGNALS must be blocked.

    `exit_code` is that of a process which does not stop in time. Raises ConfigurationError if the system allows no
    thread.
    """
    from broker.core.refresher import RefreshNow, Stop  # noqa: PLC0415 - SIGNALS is needed before, and the rest is not

    def receive_signals() -> None:
        while signal.sigwait(SIGNALS) == signal.SIGHUP:
            inbox.put(RefreshNow())
        inbox.put(Stop())
        time.sleep(STOP_SECONDS)
        os._exit(exit_code)

    try:
        threading.Thread(target=receive_signals, name="signals", daemon=True).start()
    except RuntimeError:
        raise ConfigurationError((" ".join(NO_THREAD),)) from None
