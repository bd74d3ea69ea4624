"""The command that `sts-broker exec` runs: starts it, passes signals on to it, reaps whatever ends.

Rules: one thread takes every signal, that of a child's end included, so that no signal is sent to an id that the kernel
has given to another process meanwhile; it reaps all children, because a process 1 inherits the orphans of its command;
a signal that came before the command keeps it from starting. Job control (Ctrl-Z, `fg`) is left to the kernel: broker
and command share a process group, stop together and go on together. Knows nothing of credentials.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Final

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
TAKEN: Final = frozenset({*FORWARDED, signal.SIGCHLD})
"""What must be blocked in every thread of the process, for `Child.obey` to take it."""
EXIT_NOT_FOUND: Final = 127
EXIT_NOT_EXECUTABLE: Final = 126
EXIT_SIGNAL_BASE: Final = 128
_IGNORED_BY_PYTHON: Final = (signal.SIGPIPE, signal.SIGXFSZ)
_SENT_BY_THE_KERNEL: Final = 0x80
"""`si_code` SI_KERNEL (asm-generic/siginfo.h): of signals that a terminal sends, to all of its foreground group."""


class CommandUnusable(Exception):
    """The command cannot be started. `exit_code` is what a shell would return: 127 not found, 126 not executable."""

    def __init__(self, sentence: str, exit_code: int) -> None:
        super().__init__(sentence)
        self.exit_code = exit_code


class Child:
    """One command, from before its start until after its end.

    `when_over` is called once, on the thread of `obey`, when there is nothing more to wait for. `ignored` are signals
    that whoever started us wants ignored: they do not forestall the command, which inherits that.
    """

    def __init__(self, when_over: Callable[[], None], *, ignored: Collection[int] = ()) -> None:
        self._when_over = when_over
        self._ignored = {signal.SIGWINCH, *ignored}
        self._lock = threading.Lock()
        self._pid: int | None = None
        self._exit_code: int | None = None
        self._over = threading.Event()

    @property
    def exit_code(self) -> int | None:
        """The command's status, or 128 and the number of the signal that ended it or forestalled it; None: not over."""
        return self._exit_code

    def start(self, command: Sequence[str], environment: Mapping[str, str], mask: Collection[int]) -> None:
        """Start the command, with this signal mask; do nothing where a signal came before. Raises CommandUnusable."""
        with self._lock:
            if self._exit_code is not None:
                return
            if not command[0]:  # Python takes it for a mistake of ours; a shell that finds none says this
                raise _unusable("''", OSError(errno.ENOENT, ""))
            try:
                self._pid = os.posix_spawnp(
                    command[0], list(command), environment, setsigmask=mask, setsigdef=_IGNORED_BY_PYTHON
                )
            except OSError as error:
                raise _unusable(command[0], error) from None

    def wait(self) -> int:
        """Wait until it is over. Return the exit code."""
        self._over.wait()
        assert self._exit_code is not None
        return self._exit_code

    def obey(self) -> None:
        """Take signals until the end of the process; for a thread of its own, all of TAKEN blocked everywhere."""
        while True:
            taken = signal.sigwaitinfo(TAKEN)
            if taken.si_signo == signal.SIGCHLD:
                self.reap()
            else:
                self.take(taken.si_signo, from_kernel=taken.si_code == _SENT_BY_THE_KERNEL)

    def take(self, number: int, *, from_kernel: bool) -> None:
        """Pass a signal on to the command; before there is one, be over, but for one that is ignored."""
        with self._lock:
            if self._exit_code is not None:
                return
            if self._pid is not None:
                with suppress(OSError):  # it became another user, or is ending
                    if not (from_kernel and _has_reached(self._pid, number)):
                        os.kill(self._pid, number)
                return
            if number in self._ignored:
                return
            self._exit_code = EXIT_SIGNAL_BASE + number
        self._be_over()

    def reap(self) -> None:
        """Take note of all children that have ended, ours and the orphans that became ours."""
        is_over = False
        with self._lock:
            while True:
                try:
                    pid, status = os.waitpid(-1, os.WNOHANG)
                except ChildProcessError:
                    break
                if pid == 0:
                    break
                if pid == self._pid:
                    code = os.waitstatus_to_exitcode(status)
                    self._exit_code = code if code >= 0 else EXIT_SIGNAL_BASE - code
                    is_over = True
        if is_over:
            self._be_over()

    def _be_over(self) -> None:
        self._over.set()
        self._when_over()


def _has_reached(pid: int, number: int) -> bool:
    """Return whether a signal that the kernel sent us went to the command as well: a terminal's go to a whole group.

    Not so SIGHUP for the leader of a session, which alone is told that its terminal is gone.
    """
    if number == signal.SIGHUP and os.getsid(0) == os.getpid():
        return False
    return os.getpgid(pid) == os.getpgrp()


def _unusable(name: str, error: OSError) -> CommandUnusable:
    """Return what to say of a command that could not be started, and the exit code that shells have for it."""
    sentence = f"Cannot run {name}: {os.strerror(error.errno or 0)}."
    if error.errno == errno.ENOENT:
        if os.path.lexists(name) if "/" in name else shutil.which(name):
            more = "The file is there: the interpreter of its first line, or its loader, is not in this image."
        elif "/" in name:
            more = "Write the path as it is in this container."
        else:
            more = f"No directory of PATH has it: {os.environ.get('PATH', 'PATH is not set')}"
        return CommandUnusable(f"{sentence} {more}", EXIT_NOT_FOUND)
    remedies = {
        errno.EACCES: "Make it executable for this user (chmod +x), on a volume that is not mounted noexec.",
        errno.ENOEXEC: "It is no program of this machine's kind; a script needs a first line such as #!/bin/sh.",
        errno.E2BIG: "Its arguments and environment are longer than the system allows.",
    }
    return CommandUnusable(f"{sentence} {remedies.get(error.errno or 0, '')}".rstrip(), EXIT_NOT_EXECUTABLE)
