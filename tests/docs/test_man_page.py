"""The man page is that of the parser, and the wheel installs it where `man` finds it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest

from broker import __version__
from broker.cli.help_texts import VERBS
from broker.cli.main import build_parser
from tests.docs import man_page

if TYPE_CHECKING:
    from pathlib import Path

ROOT = man_page.PAGE.parents[3]
TEXT = man_page.PAGE.read_text()


def find(program: str) -> str:
    """Return the path of a program. Skips the test without it."""
    path = shutil.which(program)
    if not path:
        pytest.skip(f"SKIPPED: {program} is not installed")
    return path


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program that reads the page."""
    return subprocess.run(
        command,
        env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_page_is_generated_from_the_parser() -> None:
    assert man_page.render() == TEXT, "run python -m tests.docs.man_page"


def test_page_has_every_command_and_option() -> None:
    parsers = list(build_parser().commands.items())
    assert {name for name, _ in parsers} == VERBS.keys()
    while parsers:
        name, parser = parsers.pop()
        assert f".SS {parser.prog}\n".replace("-", r"\-") in TEXT, name
        for action in parser.arguments:
            for option in {*action.option_strings} - {"-h", "--help"}:
                assert f"\\fB{option}\\fR".replace("-", r"\-") in TEXT, (name, option)
        parsers += parser.commands.items()


def test_roff_prints_the_page_without_warnings() -> None:
    done = run(find("groff"), "-man", "-Tutf8", "-ww", str(man_page.PAGE))
    assert (done.returncode, done.stderr) == (0, "")
    for text in ("--role-arn", "sts-broker trust render --account 123456789012", "…"):
        assert text in run(find("groff"), "-man", "-Tutf8", "-P-cbou", str(man_page.PAGE)).stdout


def test_mandoc_has_no_warnings() -> None:
    done = run(find("mandoc"), "-Tlint", "-Wwarning", str(man_page.PAGE))
    warnings = [line for line in done.stdout.splitlines() if "missing date" not in line]
    assert warnings == [], "the page has no date, so that it changes only with its text"


def test_man_finds_the_page_next_to_the_program(tmp_path: Path) -> None:
    """man-db searches `../share/man` of each directory in PATH."""
    man = find("man")
    find("groff")
    (tmp_path / "bin").mkdir()
    shutil.copytree(ROOT / "share", tmp_path / "share")
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    done = run(man, "-P", "cat", "sts-broker", PATH=path)
    assert done.returncode == 0, done.stderr
    assert f"sts-federation-broker {__version__}" in done.stdout


def test_wheel_installs_the_page(tmp_path: Path) -> None:
    build = "import sys, hatchling.build as build; print(build.build_wheel(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", build, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(tmp_path / done.stdout.split()[-1]) as wheel:
        data = f"sts_federation_broker-{__version__}.data/data/share/man/man1/sts-broker.1"
        assert wheel.read(data).decode() == TEXT
