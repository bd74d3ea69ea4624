"""SIGTERM and SIGINT end the broker within 2 s with exit code 0, in every state, also as process 1."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

import pytest

from sandbox import Misbehaviour
from sandbox.aws import faults
from tests.support.program import children_of, eventually, require_wrapper

if TYPE_CHECKING:
    from pathlib import Path

    from tests.process.pod import Pod

pytestmark = pytest.mark.process

WITHIN_SECONDS = 2.0
AS_PID_1 = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
ENDING = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)


@pytest.fixture(scope="module")
def new_pid_namespace() -> tuple[str, ...]:
    """Return a command that runs a program as process 1. Skip the test if the system does not allow that."""
    return require_wrapper(AS_PID_1, untested="process 1")


@ENDING
def test_signal_ends_an_idle_broker(pod: Pod, number: signal.Signals) -> None:
    program = pod.start_and_publish()
    before = pod.contents()
    began = time.monotonic()
    program.signal(number)
    assert program.wait() == 0
    assert time.monotonic() - began < WITHIN_SECONDS
    assert program.lines()[-1]["event"] == "stopping"
    assert pod.contents() == before


@ENDING
def test_signal_ends_a_broker_whose_exchange_hangs(pod: Pod, number: signal.Signals) -> None:
    pod.sts.always(faults.Hang())
    program = pod.start()
    pod.sts.wait_for_calls(1)
    began = time.monotonic()
    program.signal(number)
    assert program.wait() == 0
    assert time.monotonic() - began < WITHIN_SECONDS


@ENDING
def test_signal_ends_process_1_whose_exchange_hangs(
    pod: Pod, new_pid_namespace: tuple[str, ...], number: signal.Signals
) -> None:
    pod.sts.always(faults.Hang())
    program = pod.start(wrapper=new_pid_namespace)
    pod.sts.wait_for_calls(1)
    (broker,) = program.children()
    began = time.monotonic()
    program.signal(number, broker)
    assert program.wait() == 0
    assert time.monotonic() - began < WITHIN_SECONDS


def test_process_1_handles_sighup_and_leaves_no_zombie(pod: Pod, new_pid_namespace: tuple[str, ...]) -> None:
    program = pod.start(wrapper=new_pid_namespace)
    program.wait_for("refreshed")
    (broker,) = program.children()
    program.signal(signal.SIGHUP, broker)
    program.wait_for("refreshed", count=2)
    eventually(lambda: children_of(broker) == [], what="no worker, and no zombie")
    program.signal(signal.SIGTERM, broker)
    assert program.wait() == 0


def test_sigterm_ends_a_broker_that_waits_for_its_token(pod: Pod) -> None:
    pod.misbehave(Misbehaviour.ABSENT)
    program = pod.start()
    program.wait_for("token_unfit")
    program.signal(signal.SIGTERM)
    assert program.wait(WITHIN_SECONDS) == 0


def test_sigterm_during_the_start_ends_the_broker_once_it_has_started(pod: Pod) -> None:
    program = pod.start()
    eventually(lambda: program.children() or program.lines(), what="the first sign of its start")
    program.signal(signal.SIGTERM)
    assert program.wait() == 0
    assert "Traceback" not in program.output()


def test_every_thread_blocks_the_signals_except_the_one_that_waits_for_them(pod: Pod) -> None:
    """A signal that another thread received would take effect up to 30 s later."""
    pod.sts.always(faults.Hang())
    program = pod.start()
    pod.sts.wait_for_calls(1)
    assert program.get("/metrics").status == 200
    blocked = [blocked_signals(task) for task in program.threads()]
    assert len(blocked) >= 3, "threads of the main loop, the signals and the publisher"
    waiting = [each for each in blocked if not each]
    held = [each for each in blocked if each]
    assert len(waiting) <= 1, "sigwait unblocks the signals in its own thread"
    assert all(each == {signal.SIGTERM, signal.SIGINT, signal.SIGHUP} for each in held)


def blocked_signals(task: Path) -> set[int]:
    """Return the signals that a thread blocks."""
    line = next(line for line in (task / "status").read_text().splitlines() if line.startswith("SigBlk:"))
    mask = int(line.split()[1], 16)
    return {number for number in range(1, 65) if mask >> (number - 1) & 1}


def test_many_signals_at_once_end_the_broker_once(pod: Pod) -> None:
    program = pod.start_and_publish()
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        if program.is_running:
            program.signal(number)
    assert program.wait(WITHIN_SECONDS) == 0
    assert len(program.lines("stopping")) == 1
