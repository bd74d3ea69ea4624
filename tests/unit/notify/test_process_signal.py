"""Signals to real processes: found by pid file or by name, never to the broker itself, each fault with its remedy."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from broker.core.notify_targets import SignalTarget
from broker.notify import process_signal
from broker.notify.faults import CannotNotify
from broker.notify.process_signal import check_process, send_signal
from broker.notify.processes import Process, iterate_processes, read_process
from tests.support.program import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SHARE = "Set shareProcessNamespace: true in the pod's spec, so that the broker sees the app's processes."
LISTENER = """
import os, signal, sys, time
open(f"/proc/{os.getpid()}/comm", "w").write(sys.argv[1])
signal.signal(signal.SIGHUP, lambda *_: print("HUP", flush=True))
if len(sys.argv) > 2 and os.fork() == 0:
    signal.signal(signal.SIGHUP, lambda *_: print("worker", flush=True))
print("ready", flush=True)
while True:
    time.sleep(10)
"""
NAME = f"told ({os.getpid()})"[:15]
"""With parentheses and a space, which /proc/PID/stat does not escape."""


class App:
    """A process with a name of its own that prints HUP at each SIGHUP."""

    def __init__(self, output: Path, *arguments: str) -> None:
        self._output = output
        with output.open("wb") as file:
            command = [sys.executable, "-c", LISTENER, NAME, *arguments]
            self._process = subprocess.Popen(command, stdout=file, start_new_session=True)
        self.pid = self._process.pid
        eventually(lambda: self.count("ready") == 1 + len(arguments), what="the app")

    def count(self, word: str) -> int:
        return self._output.read_text().split().count(word)

    def wait_for_hup(self, count: int = 1) -> None:
        eventually(lambda: self.count("HUP") >= count, what="SIGHUP")

    def end(self, *, is_reaped: bool = True) -> None:
        for pid in [self.pid, *(each.pid for each in iterate_processes() if each.parent == self.pid)]:
            with suppress(ProcessLookupError):
                os.kill(pid, 9)
        if is_reaped:
            self._process.wait()
        else:
            eventually(lambda: read_process(self.pid) is None, what="a zombie")


@pytest.fixture
def start_app(tmp_path: Path) -> Iterator[Callable[..., App]]:
    apps: list[App] = []

    def start(*arguments: str) -> App:
        apps.append(App(tmp_path / f"app-{len(apps)}", *arguments))
        return apps[-1]

    yield start
    for app in apps:
        app.end()


@pytest.fixture
def pid_file(tmp_path: Path) -> Path:
    return tmp_path / "app.pid"


def explain(target: SignalTarget, *own: int) -> CannotNotify:
    with pytest.raises(CannotNotify) as caught:
        send_signal(target, own=own)
    return caught.value


def by_file(path: Path | str) -> SignalTarget:
    return SignalTarget(signal="HUP", pid_file=str(path))


BY_NAME = SignalTarget(signal="HUP", process=NAME)


def test_process_of_the_pid_file_gets_the_signal(start_app: Callable[..., App], pid_file: Path) -> None:
    app = start_app()
    pid_file.write_text(f"{app.pid}\n")
    assert check_process(by_file(pid_file)) == [app.pid]
    send_signal(by_file(pid_file), own=())
    app.wait_for_hup()


def test_all_processes_of_the_name_get_the_signal_but_not_their_workers(start_app: Callable[..., App]) -> None:
    apps = [start_app(), start_app("with a worker")]
    assert sorted(check_process(BY_NAME)) == sorted(app.pid for app in apps)
    for count in (1, 2):
        send_signal(BY_NAME, own=())
        for app in apps:
            app.wait_for_hup(count)
    time.sleep(0.2)
    assert apps[1].count("worker") == 0


def test_no_process_of_the_name_is_explained() -> None:
    error = explain(BY_NAME)
    assert error.message == f"No process of another container has the name {NAME}."
    assert error.remedy.startswith(SHARE)


@pytest.mark.parametrize("content", ["", "nginx", "-1", "0", "1 2", "9999999999", "٣", "\0", "1" * 100])
def test_rubbish_in_a_pid_file_is_explained(content: str, pid_file: Path) -> None:
    pid_file.write_text(content)
    error = explain(by_file(pid_file))
    assert "; expected a process ID." in error.message
    assert str(pid_file) in error.message


def test_unreadable_pid_files_are_explained(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for path, problem in ((tmp_path / "gone", "No such file"), (fifo, "it is a FIFO"), (tmp_path, "it is a directory")):
        error = explain(by_file(path))
        assert error.message.startswith(f"Cannot read the pid_file {path}: {problem}")
    assert "null" in explain(by_file("/a\0b")).message


def test_process_that_has_ended_is_explained(start_app: Callable[..., App], pid_file: Path) -> None:
    app = start_app()
    pid_file.write_text(str(app.pid))
    app.end(is_reaped=False)
    error = explain(by_file(pid_file))
    assert error.message == f"No process has the ID {app.pid} that is in the pod_file {pid_file}.".replace(
        "pod_", "pid_"
    )
    assert error.remedy == SHARE


def test_process_1_and_processes_of_the_broker_are_refused(start_app: Callable[..., App], pid_file: Path) -> None:
    """Without a shared process namespace, the file of another container leads to them."""
    pid_file.write_text("1")
    error = explain(by_file(pid_file))
    assert "is that of process 1" in error.message
    assert error.remedy == SHARE
    app = start_app()
    for own in (app.pid, os.getpid()):  # itself, or its parent
        pid_file.write_text(str(app.pid))
        assert "is that of a process of the broker" in explain(by_file(pid_file), own).message
        assert "No process of another container" in explain(BY_NAME, own).message
    assert app.count("HUP") == 0


# Python warns of every fork in a process with threads, and pytest's workers have some.
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.skipif(os.geteuid() != 0, reason="SKIPPED: only root can start processes of two users")
def test_process_of_another_user_is_explained(start_app: Callable[..., App]) -> None:
    app = start_app()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            os.write(writing, str(explain(BY_NAME)).encode())
        finally:
            os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with os.fdopen(reading) as file:
        assert file.read() == (
            f"The broker may not send HUP to process {app.pid} ({NAME}), which runs as another user. "
            "Set the same securityContext.runAsUser for the app's container and the broker's."
        )
    assert app.count("HUP") == 0


def test_id_that_has_been_given_to_another_process_gets_no_signal(
    start_app: Callable[..., App], pid_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = start_app()
    pid_file.write_text(str(app.pid))
    before = Process(pid=app.pid, name="old", parent=7)
    found = iter([before])
    monkeypatch.setattr(process_signal, "read_process", lambda pid: next(found, read_process(pid)))
    assert explain(by_file(pid_file)).message == f"Process {app.pid} has ended."
    assert app.count("HUP") == 0


@pytest.mark.parametrize("error", [ProcessLookupError(3, "No such process"), OSError(38, "Function not implemented")])
def test_failure_of_the_kernel_is_explained(
    start_app: Callable[..., App], error: OSError, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = start_app()

    def fail(_: int) -> int:
        raise error

    monkeypatch.setattr(os, "pidfd_open", fail)
    message = explain(BY_NAME).message
    if isinstance(error, ProcessLookupError):
        assert message == f"Process {app.pid} has ended."
    else:
        assert message == f"The broker cannot signal process {app.pid} ({NAME}): Function not implemented."


def test_processes_are_those_of_ps(start_app: Callable[..., App]) -> None:
    app = start_app()
    assert read_process(app.pid) == Process(pid=app.pid, name=NAME, parent=os.getpid())
    assert read_process(2**22 + 1) is None
    assert {os.getpid(), app.pid} <= {each.pid for each in iterate_processes()}
