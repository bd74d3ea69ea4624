"""What `exec --on-refresh` does after a refresh, for commands that read credentials once: a signal, or a restart.

A restart sends SIGTERM, after RESTART_GRACE_SECONDS SIGKILL, and starts the command with the newest credentials when it
has ended. A refresh never waits for it. The first generation is not a refresh: the command starts with it.
"""

from __future__ import annotations

import logging
import signal
from typing import TYPE_CHECKING, Final

from broker.core.events import Published
from broker.runtime import logs

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.core.events import Event
    from broker.core.report_fields import ReportFields
    from broker.loop.event_loop import EventLoop
    from broker.runtime.process_supervisor import Child

RESTART: Final = "restart"
RESTART_GRACE_SECONDS: Final = 30.0
"""As long as Kubernetes gives a container by default (terminationGracePeriodSeconds)."""


class CommandRefresh:
    """Starts the command, and makes it notice each later generation of `profile`.

    `reaction` is RESTART, the name of a signal, or "" for none. `start` starts the command and returns None. If that
    is impossible, it logs why and returns the exit code.
    """

    def __init__(
        self, child: Child, loop: EventLoop, *, profile: str, reaction: str, start: Callable[[], int | None]
    ) -> None:
        self._child = child
        self._loop = loop
        self._profile = profile
        self._reaction = reaction
        self._start = start
        self._newest_generation = 0
        self._known_generation = 0
        """The generation that the command was started with, or signaled about last; 0 before its start."""
        self._kill_at: float | None = None
        loop.add_timed(self)

    def record(self, event: Event) -> None:
        """React to an event of the main loop if it published a later generation of the profile."""
        if not isinstance(event, Published) or event.generation.profile != self._profile:
            return
        self._newest_generation = event.generation.number
        if not self._reaction or self._known_generation in {0, self._newest_generation} or self._kill_at is not None:
            return
        if self._reaction == RESTART:
            self._begin_restart()
        else:
            self._signal()

    def start(self) -> int | None:
        """Start the command with the newest generation. Return the exit code if that is impossible."""
        self._known_generation, self._kill_at = self._newest_generation, None
        return self._start()

    def get_deadline(self) -> float | None:
        """Return when `meet_deadline` has something to do, for the event loop."""
        return 0.0 if self._child.is_stopped else self._kill_at

    def meet_deadline(self, now: float) -> None:
        """Start the command again when it has stopped. Kill it if it does not stop."""
        if self._child.is_stopped:
            self._start_again()
        elif self._kill_at is not None and self._kill_at <= now:
            self._kill_at = None
            if self._child.kill_for_restart():
                message = f"The command has not ended {RESTART_GRACE_SECONDS:.0f} s after SIGTERM: sent SIGKILL."
                logs.log_message(logging.WARNING, "command_stopping", message, **self._fields)

    def _signal(self) -> None:
        self._known_generation = self._newest_generation
        number = signal.Signals[f"SIG{self._reaction}"]
        if self._child.send(number):
            message = f"Sent {number.name} to the command, because there are new credentials."
            logs.log_message(logging.INFO, "command_signaled", message, **self._fields)

    def _begin_restart(self) -> None:
        if self._child.begin_restart():
            self._kill_at = self._loop.monotonic() + RESTART_GRACE_SECONDS
            message = "Sent SIGTERM to the command, to start it again with the new credentials."
            logs.log_message(logging.INFO, "command_stopping", message, **self._fields)

    def _start_again(self) -> None:
        exit_code = self.start()
        if exit_code is None:
            message = "Started the command again with the new credentials."
            logs.log_message(logging.INFO, "command_restarted", message, **self._fields)
        else:
            self._child.give_up(exit_code)

    @property
    def _fields(self) -> ReportFields:
        return {"profile": self._profile, "generation": self._newest_generation}
