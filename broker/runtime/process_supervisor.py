"""Supervision of the command that `sts-broker exec` runs: start it, forward signals to it, reap child processes.

One thread receives every signal, SIGCHLD included. It therefore never sends a signal to a process ID that the kernel
has meanwhile given to another process. It reaps all children, because as process 1 the broker inherits the orphans of
its command. A signal that arrives before the command has started prevents the start. Job control (Ctrl-Z, `fg`) is left
to the kernel: broker and command share a process group, so they stop and continue together. This module knows nothing
about credentials.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from broker.worker.children import wait_for_ended_children

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

FORWARDED: Final = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGWINCH,
)
HANDLED: Final = frozenset({*FORWARDED, signal.SIGCHLD})
"""Signals to block in every thread of the process, so that only `Child.handle_signals` receives them."""
EXIT_NOT_FOUND: Final = 127
EXIT_NOT_EXECUTABLE: Final = 126
EXIT_SIGNAL_BASE: Final = 128
_ENDING: Final = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP})
"""Signals that are sent to end a program. One that is forwarded cancels a restart of the command."""
_IGNORED_BY_PYTHON: Final = (signal.SIGPIPE, signal.SIGXFSZ)
_SENT_BY_KERNEL: Final = 0x80
"""`si_code` SI_KERNEL (asm-generic/siginfo.h), which marks signals from a terminal to its whole foreground group."""


class CommandUnusable(Exception):
    """The command cannot be started. `exit_code` is that of a shell: 127 for not found, 126 for not executable."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Child:
    """One command, from before its start until after its end.

    `on_end` is called once, on the thread of `handle_signals`: when the command has ended, or when a signal has
    prevented its start. If `begin_restart` has caused the end, `on_stop` is called instead, and `start` starts the
    command again. `on_other_end` is called there with the pid and the wait status of every other child. `ignored`
    are the signals that the parent process ignores (`nohup` ignores SIGHUP). They do not prevent the start, and the
    command ignores them as well.
    """

    def __init__(
        self,
        on_end: Callable[[], None],
        *,
        on_stop: Callable[[], None] = lambda: None,
        on_other_end: Callable[[int, int], None] = lambda _pid, _status: None,
        ignored: Collection[int] = (),
    ) -> None:
        self._on_end = on_end
        self._on_stop = on_stop
        self._on_other_end = on_other_end
        self._ignored = {signal.SIGWINCH, *ignored}
        self._lock = threading.Lock()
        self._pid: int | None = None
        self._is_restarting = False
        self._exit_code: int | None = None
        self._ended = threading.Event()

    @property
    def exit_code(self) -> int | None:
        """Exit code of the command, or 128 + N if signal N ended it or prevented its start. None before the end."""
        return self._exit_code

    @property
    def is_stopped(self) -> bool:
        """Whether the command has ended because of `begin_restart`, and has not been started again."""
        with self._lock:
            return self._is_restarting and self._pid is None and self._exit_code is None

    def start(self, command: Sequence[str], environment: Mapping[str, str], mask: Collection[int]) -> None:
        """Start the command with the signal mask `mask`, unless a signal has prevented it. Raises CommandUnusable."""
        with self._lock:
            self._is_restarting = False
            if self._exit_code is not None:
                return
            if not command[0]:  # Python raises ValueError; a shell reports that there is no such command
                raise _explain_failure("''", OSError(errno.ENOENT, ""))
            try:
                self._pid = os.posix_spawnp(
                    command[0], list(command), environment, setsigmask=mask, setsigdef=_IGNORED_BY_PYTHON
                )
            except OSError as error:
                raise _explain_failure(command[0], error) from None

    def send(self, number: int) -> bool:
        """Send a signal to the command. Return False if it does not run."""
        with self._lock:
            if self._pid is None or self._exit_code is not None or _has_ended(self._pid):
                return False
            return _send(self._pid, number)

    def begin_restart(self) -> bool:
        """Send SIGTERM to the command, whose end is then not that of `exec`. Return False if it does not run.

        A command that has ended by itself is not started again.
        """
        with self._lock:
            if self._pid is None or self._exit_code is not None or _has_ended(self._pid):
                return False
            self._is_restarting = _send(self._pid, signal.SIGTERM)
            return self._is_restarting

    def kill_for_restart(self) -> bool:
        """Send SIGKILL to the command. Return False if it is not restarting anymore."""
        with self._lock:
            return self._is_restarting and self._pid is not None and _send(self._pid, signal.SIGKILL)

    def give_up(self, exit_code: int) -> None:
        """Record that the command could not be started again."""
        with self._lock:
            if self._exit_code is not None:
                return
            self._exit_code = exit_code
        self._finish()

    def wait(self) -> int:
        """Wait until the command has ended or its start was prevented. Return the exit code."""
        self._ended.wait()
        assert self._exit_code is not None
        return self._exit_code

    def handle_signals(self) -> None:
        """Receive signals until the process ends. Run this on its own thread, with HANDLED blocked in all threads."""
        while True:
            received = signal.sigwaitinfo(HANDLED)
            if received.si_signo == signal.SIGCHLD:
                self.reap_children()
            else:
                self.handle_signal(received.si_signo, from_kernel=received.si_code == _SENT_BY_KERNEL)

    def handle_signal(self, number: int, *, from_kernel: bool) -> None:
        """Forward the signal to the command. Before the command has started, prevent the start unless it is ignored.

        `from_kernel` is true if the kernel sent the signal on behalf of a terminal.
        """
        with self._lock:
            if self._exit_code is not None:
                return
            if self._pid is not None:
                if number in _ENDING:
                    self._is_restarting = False
                with suppress(OSError):  # the command is ending
                    if not (from_kernel and _has_reached(self._pid, number)):
                        _send(self._pid, number)
                return
            if number in self._ignored:
                return
            self._exit_code = EXIT_SIGNAL_BASE + number
        self._finish()

    def reap_children(self) -> None:
        """Reap all children that have ended: the command, and orphans that the broker has inherited."""
        has_ended = has_stopped = False
        with self._lock:
            for pid, status in wait_for_ended_children():
                if pid == self._pid and self._is_restarting:
                    self._pid, has_stopped = None, True
                elif pid == self._pid:
                    code = os.waitstatus_to_exitcode(status)
                    self._exit_code = code if code >= 0 else EXIT_SIGNAL_BASE - code
                    has_ended = True
                else:
                    self._on_other_end(pid, status)
        if has_ended:
            self._finish()
        if has_stopped:
            self._on_stop()

    def _finish(self) -> None:
        self._ended.set()
        self._on_end()


def _send(pid: int, number: int) -> bool:
    """Send a signal to the command, which was not waited for yet. Return False if it has changed its user."""
    try:
        os.kill(pid, number)
    except OSError:
        return False
    return True


def _has_ended(pid: int) -> bool:
    """Return whether the command has ended. It is still to be waited for."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _has_reached(pid: int, number: int) -> bool:
    """Return whether a signal from a terminal has already reached the command.

    A terminal signals its whole foreground process group. The exception is SIGHUP when the terminal closes: it goes to
    the session leader only.
    """
    if number == signal.SIGHUP and os.getsid(0) == os.getpid():
        return False
    return os.getpgid(pid) == os.getpgrp()


def _explain_failure(name: str, error: OSError) -> CommandUnusable:
    """Return the message and the exit code, that of a shell, for a command that could not be started."""
    message = f"Cannot run {name}: {os.strerror(error.errno or 0)}."
    if error.errno == errno.ENOENT:
        return CommandUnusable(f"{message} {_explain_missing_file(name)}", EXIT_NOT_FOUND)
    remedies = {
        errno.EACCES: "Make the file executable for this user (chmod +x), on a volume that is not mounted noexec.",
        errno.ENOEXEC: "The file is not a program for this machine. A script needs a first line such as #!/bin/sh.",
        errno.E2BIG: "Its arguments and environment are larger than the system allows. Pass less, or pass a file.",
    }
    return CommandUnusable(f"{message} {remedies.get(error.errno or 0, '')}".rstrip(), EXIT_NOT_EXECUTABLE)


def _explain_missing_file(name: str) -> str:
    if os.path.lexists(name) if "/" in name else shutil.which(name):
        return (
            "The file exists, but this image lacks the interpreter in its first line or its dynamic loader. Install "
            "that, or use an image that has it."
        )
    if "/" in name:
        return "Set the path that the file has in this container."
    return f"It is in no directory of PATH ({os.environ.get('PATH', 'not set')}). Set its full path, or extend PATH."
