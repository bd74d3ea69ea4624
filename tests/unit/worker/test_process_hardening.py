"""Core dumps are off for the broker, other processes cannot inspect it, and libraries lack some variables."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from broker.core.library_variables import REMOVED
from broker.worker.process_hardening import forbid_core_dumps, take_environment, use_core_limits

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def limits() -> Iterator[tuple[int, int]]:
    """Set a soft limit that is neither 0 nor the hard limit, and restore the limits afterwards."""
    before = resource.getrlimit(resource.RLIMIT_CORE)
    given = (4096, before[1])
    resource.setrlimit(resource.RLIMIT_CORE, given)
    yield given
    resource.setrlimit(resource.RLIMIT_CORE, before)


def test_core_dumps_are_off_and_the_earlier_limits_are_returned(limits: tuple[int, int]) -> None:
    assert forbid_core_dumps() == limits
    assert resource.getrlimit(resource.RLIMIT_CORE) == (0, limits[1]), "the hard limit stays, so that it can be undone"


def test_earlier_limits_apply_within_the_block_only(limits: tuple[int, int]) -> None:
    forbid_core_dumps()
    with use_core_limits(limits):
        assert resource.getrlimit(resource.RLIMIT_CORE) == limits
    assert resource.getrlimit(resource.RLIMIT_CORE) == (0, limits[1])


def test_core_dumps_are_off_again_if_the_command_cannot_be_started(limits: tuple[int, int]) -> None:
    with pytest.raises(FileNotFoundError), use_core_limits(limits):
        raise FileNotFoundError
    assert resource.getrlimit(resource.RLIMIT_CORE) == (0, limits[1])


DUMPABLE = "ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)"
"""PR_GET_DUMPABLE."""

REFUSING = """
class Library:
    def prctl(self, *arguments):
        ctypes.set_errno(1)
        return -1
ctypes.CDLL = lambda *_, **__: Library()
"""


def run_python(code: str) -> str:
    """Run code in another process, because the effect is on the whole process. Return its output."""
    code = f"import ctypes, os, sys\nfrom broker.worker import process_hardening\n{code}"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_process_and_its_forks_are_not_dumpable_and_programs_they_execute_are() -> None:
    code = f"""
before = {DUMPABLE}
hardening = process_hardening.harden_process()
print(before, {DUMPABLE}, hardening.warnings, flush=True)
if os.fork() == 0:
    print({DUMPABLE}, flush=True)
    os.execv(sys.executable, [sys.executable, "-c", 'import ctypes; print({DUMPABLE})'])
os.wait()
"""
    assert run_python(code).splitlines() == ["1 0 ()", "0", "1"]


@pytest.mark.parametrize(
    ("setup", "found"),
    [
        ("sys.modules['ctypes'] = None", "import of ctypes halted"),
        ("ctypes.CDLL = lambda *_, **__: object()", "no attribute 'prctl'"),
        (REFUSING, "Operation not permitted"),
    ],
    ids=["no ctypes", "no prctl", "refused"],
)
def test_refused_protection_is_a_warning_and_core_dumps_are_off_nevertheless(setup: str, found: str) -> None:
    code = f"{setup}\nimport resource\nhardening = process_hardening.harden_process()\n"
    output = run_python(f"{code}print(hardening.warnings, resource.getrlimit(resource.RLIMIT_CORE)[0])")
    assert found in output
    assert "Allow prctl in the seccomp profile of the broker's container" in output
    assert output.endswith(" 0\n")


def test_removed_variables_are_in_the_copy_only(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in REMOVED:
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("KEPT", "y")
    environ = take_environment()
    assert {name: environ[name] for name in (*REMOVED, "KEPT")} == {**dict.fromkeys(REMOVED, "x"), "KEPT": "y"}
    assert [name for name in (*REMOVED, "KEPT") if name in os.environ] == ["KEPT"]
