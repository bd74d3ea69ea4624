"""Commands for tests of `sts-broker exec`: one that records its signals, one that sleeps."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.program import eventually

if TYPE_CHECKING:
    from tests.process.pod import Pod
    from tests.support.program import Ended, Program

FORWARDED = ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGWINCH")
LISTENER = f"""
import os, signal, sys
signals = [signal.Signals[name] for name in {FORWARDED}]
signal.pthread_sigmask(signal.SIG_BLOCK, signals)
file = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
os.write(file, b"ready\\n")
while True:
    taken = signal.sigwaitinfo(signals)
    sender = " of the broker" if taken.si_pid == os.getppid() else ""
    os.write(file, (signal.Signals(taken.si_signo).name + sender + "\\n").encode())
"""
"""A command that writes each signal it receives to a file. Only SIGKILL ends it."""

KEYS = {
    "AWS_ACCESS_KEY_ID": "AKIDOFOLD",
    "AWS_SECRET_ACCESS_KEY": "old",
    "AWS_SESSION_TOKEN": "old",
    "AWS_SECURITY_TOKEN": "old",
    "AWS_CREDENTIAL_EXPIRATION": "2020-01-01T00:00:00Z",
}
RIVALS = {
    **KEYS,
    "AWS_PROFILE": "missing",
    "AWS_DEFAULT_PROFILE": "missing",
    "AWS_ROLE_SESSION_NAME": "from-exec",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://169.254.170.23/v1/credentials",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/v2/credentials/old",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN": "old",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": "/none/token",
}


def run_exec(pod: Pod, *arguments: str, stdin: str = "", **changes: str) -> Ended:
    """Run `sts-broker exec` to its end in a pod with a publish directory, which must be empty afterwards."""
    pod.published.mkdir(exist_ok=True)
    ended = pod.run("exec", *arguments, stdin=stdin, **changes)
    assert list(pod.published.iterdir()) == []
    return ended


def read_signals(file: Path) -> list[str]:
    """Return the signals that the command has received so far. Waits until the command is ready."""
    eventually(lambda: file.exists() and file.read_text().startswith("ready\n"), what="the command's handlers")
    return file.read_text().splitlines()[1:]


def wait_for_signals(signals: Path, count: int) -> list[str]:
    """Wait for `count` signals, and some time longer for one too many. Return all that were received."""
    eventually(lambda: len(read_signals(signals)) >= count, what=f"{count} signals")
    time.sleep(0.3)
    return read_signals(signals)


def find_sleep_process(program: Program) -> int:
    """Return the process ID of the broker's command `sleep` once it has called exec, or 0 before that."""
    for child in program.children():
        with suppress(FileNotFoundError, ProcessLookupError):  # it has ended since
            if Path(f"/proc/{child}/comm").read_text() == "sleep\n":
                return child
    return 0
