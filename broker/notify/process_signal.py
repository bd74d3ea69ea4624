"""Notify a process with a signal.

A process ID may be given to another process at any time. The process is therefore opened first (pidfd_open(2)), then
examined, then signaled by its descriptor, which never leads to another process. The broker's own processes are refused:
without a shared process namespace, the IDs of another container lead to them.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Final

from broker.core.findings import quoted
from broker.files.regular_file import read_regular_file
from broker.notify.faults import CannotNotify
from broker.notify.processes import iterate_processes, read_process

if TYPE_CHECKING:
    from collections.abc import Collection

    from broker.core.notify_targets import SignalTarget
    from broker.notify.processes import Process

_NO_SIGNAL: Final = 0
"""kill(2) with this number only checks whether a signal could be sent."""
_MAXIMUM_PID_FILE_BYTES: Final = 64
_MAXIMUM_PID: Final = 2**22
"""PID_MAX_LIMIT of the kernel."""
_SHARE_REMEDY: Final = "Set shareProcessNamespace: true in the pod's spec, so that the broker sees the app's processes."


def send_signal(target: SignalTarget, *, own: Collection[int]) -> None:
    """Send the signal. `own` are processes of the broker, which are refused like their children.

    Raises CannotNotify.
    """
    _send_to_all(target, own, signal.Signals[f"SIG{target.signal}"])


def check_process(target: SignalTarget) -> list[int]:
    """Return the IDs of the processes that would get the signal. Send nothing. Raises CannotNotify."""
    return _send_to_all(target, (), _NO_SIGNAL)


def _send_to_all(target: SignalTarget, own: Collection[int], number: int) -> list[int]:
    """Signal the processes. Return the IDs of those that got the signal. Raises CannotNotify."""
    found = [_find_by_pid_file(target, own)] if target.pid_file else _find_by_name(target, own)
    signaled = [process.pid for process in found if _send(process, number, target)]
    if not signaled:  # they ended while this was looking
        raise CannotNotify(f"Process {found[0].pid} has ended.", "Start the app.")
    return signaled


def _find_by_pid_file(target: SignalTarget, own: Collection[int]) -> Process:
    path = target.pid_file
    try:
        content = read_regular_file(path, _MAXIMUM_PID_FILE_BYTES).decode(errors="replace").strip()
    except OSError as error:
        remedy = "Set pid_file to a file that the app writes on a volume of both containers, and start the app."
        raise CannotNotify(f"Cannot read the pid_file {path}: {error.strerror}.", remedy) from None
    except ValueError as error:
        raise CannotNotify(f"Cannot read the pid_file {path}: {error}.", "Correct the path in pid_file.") from None
    if not (content.isascii() and content.isdecimal() and 0 < int(content) <= _MAXIMUM_PID):
        raise CannotNotify(
            f"The pid_file {path} contains {quoted(content)!r}; expected a process ID.",
            "Set pid_file to the file in which the app writes its process ID.",
        )
    pid = int(content)
    process = read_process(pid)
    if process is None:
        raise CannotNotify(f"No process has the ID {pid} that is in the pid_file {path}.", _SHARE_REMEDY)
    if pid == 1 or _is_own(process, own):
        whose = "process 1, which no app is in a shared process namespace" if pid == 1 else "a process of the broker"
        raise CannotNotify(f"The process ID {pid} in the pid_file {path} is that of {whose}.", _SHARE_REMEDY)
    return process


def _find_by_name(target: SignalTarget, own: Collection[int]) -> list[Process]:
    """Return the processes of this name, but for those whose parent has it too: they are the workers of the parent.

    Many servers pass a signal on to their workers, and some workers end if they get it themselves.
    """
    named = {
        process.pid: process
        for process in iterate_processes()
        if process.name == target.process and process.pid != 1 and not _is_own(process, own)
    }
    found = [process for process in named.values() if process.parent not in named]
    if not found:
        remedy = f"{_SHARE_REMEDY} Set process to the name that /proc/PID/comm shows for the app, and start the app."
        raise CannotNotify(f"No process of another container has the name {target.process}.", remedy)
    return found


def _is_own(process: Process, own: Collection[int]) -> bool:
    return process.pid in own or process.parent in own


def _send(process: Process, number: int, target: SignalTarget) -> bool:
    """Signal the process. Return False if it has ended, whatever has its ID now. Raises CannotNotify."""
    name = f"process {process.pid} ({quoted(process.name)})"
    try:
        descriptor = os.pidfd_open(process.pid)
        try:
            if read_process(process.pid) != process:
                return False
            signal.pidfd_send_signal(descriptor, number)
        finally:
            os.close(descriptor)
    except ProcessLookupError:
        return False
    except PermissionError:
        raise CannotNotify(
            f"The broker may not send {target.signal} to {name}, which runs as another user.",
            "Set the same securityContext.runAsUser for the app's container and the broker's.",
        ) from None
    except OSError as error:
        remedy = "Use a kernel and a container runtime that have pidfd_open(2): Linux 5.3 or newer."
        raise CannotNotify(f"The broker cannot signal {name}: {error.strerror}.", remedy) from None
    return True
