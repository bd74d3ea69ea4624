"""Other processes of the broker's user cannot read its memory, and no signal makes it leave a core dump.

For root, "another process of the same user" is one without capabilities. Both processes must lack them, because the
kernel lets no process inspect one with more capabilities than its own.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sandbox.aws import faults
from tests.process.commands import find_sleep_process
from tests.process.pod import Pod
from tests.support.program import eventually, require_wrapper
from tests.support.unprivileged_user import UnprivilegedUser, find_unprivileged_user

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sandbox import Sandbox
    from tests.support.program import Program

pytestmark = pytest.mark.process
HIDDEN = ("environ", "mem", "maps", "root/", "fd/0")
PROBE = """
import os, sys
for name in sys.argv[2:]:
    path = f"/proc/{sys.argv[1]}/{name}"
    try:
        os.readlink(path) if name == "fd/0" else os.stat(path) if name == "root/" else open(path, "rb").close()
        print(name)
    except PermissionError:
        pass
"""
"""Prints which of a process's files it can open, and which links it can follow."""


@pytest.fixture(scope="module")
def wrapper() -> tuple[str, ...]:
    """Return the command that runs a program without capabilities; or skip the test."""
    if os.geteuid() != 0:
        return ()
    command = ("setpriv", "--bounding-set=-all")
    return require_wrapper(command, untested="another process")


@pytest.fixture
def user(monkeypatch: pytest.MonkeyPatch) -> UnprivilegedUser:
    return find_unprivileged_user(monkeypatch)


@pytest.fixture
def pod_of_another_user(box: Sandbox, role_arn: str) -> Iterator[Pod]:
    """Return a pod outside pytest's directories, which are private to the user who runs the tests."""
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        root.chmod(0o755)
        pod = Pod(box=box, root=root, role_arn=role_arn, sts=box.sts)
        yield pod
        pod.close()


def find_readable_files(pid: int, wrapper: tuple[str, ...]) -> set[str]:
    """Return which of the HIDDEN files of a process another process can open."""
    probe = [*wrapper, sys.executable, "-c", PROBE, str(pid), *HIDDEN]
    return set(subprocess.run(probe, capture_output=True, text=True, check=True).stdout.split())


def test_probe_reads_a_process_that_is_not_protected(wrapper: tuple[str, ...]) -> None:
    with subprocess.Popen([*wrapper, "sleep", "60"]) as process:
        readable = eventually(lambda: find_readable_files(process.pid, wrapper), what="a process that can be read")
        process.kill()
    assert readable == set(HIDDEN)


def test_run_and_the_worker_that_checks_its_settings_cannot_be_read(pod: Pod, wrapper: tuple[str, ...]) -> None:
    settings = pod.root / "broker.yaml"
    settings.write_text("#" * 900_000 + "\nlog: {level: debug}\n")  # a worker takes seconds to parse this
    program = pod.start(wrapper=wrapper, BROKER_CONFIG=str(settings))
    workers = eventually(program.children, what="the workers")
    for pid in (program.pid, *workers):
        assert find_readable_files(pid, wrapper) == set()
    program.wait_for("refreshed", within=60)
    assert find_readable_files(program.pid, wrapper) == set()


def test_worker_of_a_refresh_cannot_be_read(pod: Pod, wrapper: tuple[str, ...]) -> None:
    """It is a new program, which the kernel makes readable at its start."""
    program = pod.start(wrapper=wrapper)
    program.wait_for("refreshed")
    eventually(lambda: program.children() == [], what="no worker")
    pod.sts.script(faults.Hang())
    program.refresh()
    eventually(lambda: len(pod.sts.calls) == 2, what="the call")
    (worker,) = program.children()
    assert find_readable_files(worker, wrapper) == set()


def test_once_cannot_be_read(pod: Pod, wrapper: tuple[str, ...]) -> None:
    pod.volume.path.unlink()  # it waits for a token
    program = pod.start("once", wrapper=wrapper)
    program.wait_for("token_unfit")
    assert find_readable_files(program.pid, wrapper) == set()


def test_exec_cannot_be_read_but_its_command_can(pod: Pod, wrapper: tuple[str, ...]) -> None:
    pod.published.mkdir()
    program = pod.start("exec", "--", "sleep", "60", wrapper=wrapper)
    program.wait_for("refreshed")
    command = eventually(lambda: find_sleep_process(program), what="the command")
    assert find_readable_files(program.pid, wrapper) == set()
    assert find_readable_files(command, wrapper) == set(HIDDEN)
    program.signal(signal.SIGTERM)
    program.wait()


def test_doctor_cannot_be_read_once_it_has_a_token(pod: Pod, wrapper: tuple[str, ...]) -> None:
    token = pod.root / "token-pipe"
    os.mkfifo(token)
    program = pod.start("doctor", "--token", str(token), wrapper=wrapper)
    with token.open("w") as pipe:  # opened as soon as the doctor opens it
        assert find_readable_files(program.pid, wrapper) == set()
        pipe.write(pod.tokens[-1])
    program.wait(within=60)


def test_doctor_of_an_ordinary_user_prefers_itself_as_the_oom_victim(
    pod_of_another_user: Pod, user: UnprivilegedUser
) -> None:
    """It must write to its own directory in /proc before that belongs to root."""
    pod = pod_of_another_user
    token = pod.root / "token-pipe"
    os.mkfifo(token)
    token.chmod(0o644)
    program = pod.start("doctor", "--token", str(token), wrapper=user.wrapper)
    with token.open("w") as pipe:
        assert Path(f"/proc/{program.pid}/oom_score_adj").read_text() == "1000\n"
        pipe.write(pod.tokens[-1])
    program.wait(within=60)


@pytest.mark.parametrize("locale", ["C", "POSIX"])
def test_variable_that_python_sets_is_not_given_to_the_command(
    pod_of_another_user: Pod, user: UnprivilegedUser, locale: str
) -> None:
    """To learn that, the broker reads a file in /proc that only root can read later."""
    pod = pod_of_another_user
    ended = pod.run("exec", "--", "env", wrapper=user.wrapper, LANG=locale)
    assert ended.code == 0, ended.err
    assert "LC_CTYPE" not in ended.out
    ended = pod.run("exec", "--", "env", wrapper=user.wrapper, LANG=locale, LC_CTYPE="C.UTF-8")
    assert "LC_CTYPE=C.UTF-8\n" in ended.out


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGQUIT])
def test_signal_leaves_no_core_dump_even_if_the_limit_allows_it(pod: Pod, number: signal.Signals) -> None:
    """The limit is raised from outside, as if the kernel ignored it."""
    program = pod.start_and_publish()
    allow_core_dump(program.pid)
    assert end_by_signal(program, number) == os.CLD_KILLED
    assert program.wait() == -number
    assert pod.strays() == []


def test_signal_makes_a_process_that_is_not_protected_dump(tmp_path: Path) -> None:
    """Otherwise the test before this one would prove nothing on this machine."""
    with subprocess.Popen(["sleep", "60"], cwd=tmp_path) as process:
        eventually(lambda: Path(f"/proc/{process.pid}/comm").read_text() == "sleep\n", what="sleep")
        allow_core_dump(process.pid)
        process.send_signal(signal.SIGSEGV)
        ended = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert ended is not None
    assert ended.si_code == os.CLD_DUMPED


def allow_core_dump(pid: int) -> None:
    """Raise the soft limit of another process to its hard limit. Skip the test if that is 0."""
    hard = resource.prlimit(pid, resource.RLIMIT_CORE)[1]
    if hard == 0:
        pytest.skip("core dumps cannot be allowed here")
    resource.prlimit(pid, resource.RLIMIT_CORE, (hard, hard))


def end_by_signal(program: Program, number: signal.Signals) -> int:
    """End the program by a signal. Return how it ended: CLD_DUMPED if the kernel made a core dump."""
    program.signal(number)
    ended = os.waitid(os.P_PID, program.pid, os.WEXITED | os.WNOWAIT)
    assert ended is not None
    return ended.si_code
