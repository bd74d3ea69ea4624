"""The test run itself: a worker that dies ends it with an error, and does not leave it waiting."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SUITE = """
import os
import signal
import time

import pytest


@pytest.mark.parametrize("number", range(40))
def test_lives(number):
    time.sleep(0.02)


@pytest.mark.xdist_group("dying")
@pytest.mark.parametrize("number", range(10))
def test_dies(number):
    if number == 3:
        os.kill(os.getpid(), signal.SIGSEGV)


@pytest.mark.xdist_group("other")
@pytest.mark.parametrize("number", range(10))
def test_lives_too(number):
    time.sleep(0.05)
"""


def test_dead_worker_fails_the_run_of_the_makefile(tmp_path: Path) -> None:
    (line,) = (each for each in (ROOT / "Makefile").read_text().splitlines() if each.startswith("PYTEST = "))
    _, _, options = line.partition("pytest ")
    given = [each for each in options.split() if not each.startswith("--cov")]
    (tmp_path / "test_dying.py").write_text(SUITE)
    (tmp_path / "conftest.py").write_text((ROOT / "tests/conftest.py").read_text())
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *given, "-n", "2", "."],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1, done.stdout
    assert "crashed while running 'test_dying.py::test_dies[3]" in done.stdout
