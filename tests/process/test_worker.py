"""The worker process, from outside: its death is one failed exchange, and the resident process stays small."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sandbox.aws import faults
from tests.support.program import eventually

if TYPE_CHECKING:
    from tests.process.pod import Pod
    from tests.support.program import Program

pytestmark = pytest.mark.process

HEAVY = ("botocore", "urllib3", "pydantic", "_ssl", "prometheus_client", "jwt")
"""Parts of the paths of libraries that the resident process never loads."""


def wait_for_worker(program: Program) -> int:
    """Return the pid of the only worker."""
    (pid,) = eventually(lambda: children if len(children := program.children()) == 1 else [], what="one worker")
    return pid


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_killed_worker_is_one_failed_exchange_and_the_next_one_succeeds(pod: Pod, number: signal.Signals) -> None:
    program = pod.start_and_publish()
    pod.sts.script(faults.Hang())
    program.refresh()
    eventually(lambda: len(pod.sts.calls) == 2, what="the call")
    program.signal(number, wait_for_worker(program))
    failed = program.wait_for("exchange_failed")
    assert failed["reason"] == "worker_failed"
    assert f"was ended by {number.name}" in failed["message"]
    assert ("memory" in failed["message"]) is (number == signal.SIGKILL)
    program.wait_for("refreshed", count=2)
    assert "fault" not in program.status()


def test_first_worker_that_is_killed_delays_the_start_only(pod: Pod) -> None:
    pod.sts.script(faults.Hang())
    program = pod.start()
    eventually(lambda: pod.sts.calls, what="the first call")
    program.signal(signal.SIGKILL, wait_for_worker(program))
    assert program.wait_for("exchange_failed")["reason"] == "worker_failed"
    program.wait_for("refreshed")


def test_worker_ends_when_it_has_been_idle_and_the_next_refresh_starts_another(pod: Pod) -> None:
    program = pod.start_and_publish()
    first = wait_for_worker(program)
    eventually(lambda: program.children() == [], what="no worker")
    program.refresh()
    program.wait_for("refreshed", count=2)
    assert wait_for_worker(program) != first


def test_worker_of_a_killed_broker_ends_with_it(pod: Pod) -> None:
    program = pod.start_and_publish()
    pod.sts.script(faults.Hang())
    program.refresh()
    eventually(lambda: len(pod.sts.calls) == 2, what="the call")
    worker = wait_for_worker(program)
    program.kill()
    eventually(lambda: not Path(f"/proc/{worker}").exists(), what="the end of the worker")


def test_process_that_cannot_be_started_is_one_failed_exchange(pod: Pod, tmp_path: Path) -> None:
    """The interpreter is gone when the second worker is started."""
    interpreter = tmp_path / "python"
    interpreter.symlink_to(sys.executable)
    code = (
        f"import sys; sys.executable = {str(interpreter)!r}; from broker.cli.main import main; sys.exit(main(['run']))"
    )
    program = pod.start_program((sys.executable, "-c", code))
    program.wait_for("refreshed")
    eventually(lambda: program.children() == [], what="no worker")
    interpreter.unlink()
    program.refresh()
    failed = program.wait_for("exchange_failed")
    assert failed["reason"] == "worker_failed"
    assert "did not allow the broker to start its worker process: No such file or directory." in failed["message"]
    interpreter.symlink_to(sys.executable)
    program.wait_for("refreshed", count=2)


@pytest.mark.usefixtures("unmeasured")
@pytest.mark.skipif(os.geteuid() != 0, reason="the maps of a process that is not dumpable are for root")
def test_resident_process_has_loaded_nothing_heavy(pod: Pod) -> None:
    program = pod.start_and_publish()
    program.refresh()
    program.wait_for("refreshed", count=2)
    assert program.get("/metrics").status == 200
    maps = Path(f"/proc/{program.pid}/maps").read_text()
    paths = {line.split(maxsplit=5)[5] for line in maps.splitlines() if "/" in line}
    assert [path for path in paths if any(part in path for part in (*HEAVY, "libssl", "libcrypto"))] == []
