"""The Makefile: its help fits 80 columns, and a target whose program is missing says what to install."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAKEFILE = (ROOT / "Makefile").read_text()
ALWAYS_THERE = ("make", "sh", "sed", "grep", "awk", "echo", "touch")
PYTHON = "python3.99"


def run_make(*arguments: str, directory: Path, is_ready: bool = False) -> subprocess.CompletedProcess[str]:
    """Run make with a copy of the Makefile, where only the programs of every system are installed.

    `is_ready`: the virtual environment seems to be there.
    """
    programs = directory / "bin"
    programs.mkdir()
    for name in ALWAYS_THERE:
        (programs / name).symlink_to(shutil.which(name) or pytest.fail(f"{name} is missing"))
    tree = directory / "tree"
    (tree / "broker").mkdir(parents=True)
    shutil.copy(ROOT / "Makefile", tree)
    shutil.copy(ROOT / "broker/__init__.py", tree / "broker")
    shutil.copytree(ROOT / "requirements", tree / "requirements")
    shutil.copy(ROOT / "pyproject.toml", tree)
    if is_ready:
        (tree / ".venv").mkdir()
        for name in (".created", ".ready"):
            (tree / ".venv" / name).touch()
    return subprocess.run(
        [programs / "make", *arguments],
        cwd=tree,
        env={"PATH": str(programs)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_help_lists_every_target_in_80_columns(tmp_path: Path) -> None:
    done = run_make("help", directory=tmp_path)
    assert done.returncode == 0, done.stderr
    (targets,) = re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    assert set(re.findall(r"^  make ([a-z-]+) +\S", done.stdout, re.MULTILINE)) == set(targets.split())
    assert max(map(len, done.stdout.splitlines())) <= 80


@pytest.mark.parametrize(
    ("target", "program", "advice"),
    [
        ("image", "buildah", "apt-get install buildah"),
        ("image-operator", "buildah", "apt-get install buildah"),
        ("lock", "uv", "pip install uv"),
        *((name, PYTHON, "apt-get install python3-venv") for name in ("demo", "test", "check", "bench", "soak")),
    ],
)
def test_missing_program_is_named_with_what_to_install(target: str, program: str, advice: str, tmp_path: Path) -> None:
    done = run_make(f"PYTHON={PYTHON}", target, directory=tmp_path)
    assert done.returncode == 2
    assert f"{program} is not installed. " in done.stderr
    assert advice in done.stderr
    assert "not found" not in done.stderr, "the message of the shell"


@pytest.mark.parametrize("target", ["test", "test-all"])
def test_missing_timeout_is_named_before_the_tests_start(target: str, tmp_path: Path) -> None:
    done = run_make(target, directory=tmp_path, is_ready=True)
    assert done.returncode == 2
    assert "timeout is not installed. Install GNU coreutils" in done.stderr
    assert "pytest" not in done.stdout


def test_every_program_of_a_recipe_is_checked_first() -> None:
    """What a recipe starts is in the virtual environment, is of the shell, or is named with `need`."""
    needed = set(re.findall(r"\$\(call need,([\w-]+),", MAKEFILE)) | set(ALWAYS_THERE)
    started = re.findall(r"^\t@?([a-z][\w-]*)\b", MAKEFILE, re.MULTILINE)
    assert "buildah" in started
    assert set(started) - needed - {"for", "echo"} == set()
    for variable in ("PYTEST", "COMPILE"):
        (program,) = re.findall(rf"^{variable} = ([a-z]+) ", MAKEFILE, re.MULTILINE)
        assert program in needed
