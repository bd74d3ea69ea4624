"""No process of the broker can leave a core dump; the command of `exec` has the limits of its caller."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.process.pod import Pod

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(resource.getrlimit(resource.RLIMIT_CORE)[1] == 0, reason="core dumps cannot be allowed here"),
]
WITH_CORE_DUMPS = ("sh", "-c", 'ulimit -S -c 8; exec "$@"', "sh")
"""Runs its arguments with a soft limit of 8 blocks."""


def read_soft_limit(pid: int) -> str:
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith("Max core file size")]
    return line.split()[4]


def test_core_dumps_of_run_are_off(pod: Pod) -> None:
    assert read_soft_limit(pod.start_and_publish(wrapper=WITH_CORE_DUMPS).pid) == "0"


def test_core_dumps_of_once_are_off(pod: Pod) -> None:
    pod.volume.path.unlink()  # it waits for a token
    program = pod.start("once", wrapper=WITH_CORE_DUMPS)
    program.wait_for("token_unfit")
    assert read_soft_limit(program.pid) == "0"


def test_command_of_exec_has_the_limit_of_its_caller(pod: Pod) -> None:
    command = ("sh", "-c", 'ulimit -S -c; grep "Max core file size" /proc/$PPID/limits')
    ended = pod.run("exec", "--", *command, wrapper=WITH_CORE_DUMPS)
    limit, of_broker = ended.out.splitlines()
    assert (limit, of_broker.split()[4]) == ("8", "0")
