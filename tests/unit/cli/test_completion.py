"""Completion in a real bash, with the script that argcomplete's command prints."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from broker.cli import completion, help_texts
from broker.cli.main import build_parser

PROGRAMS = Path(sys.executable).parent
BASH = shutil.which("bash") or ""
# Calls the function that bash calls at the Tab key, with the variables that bash sets.
TAB = """
eval "$(register-python-argcomplete sts-broker)"
COMP_LINE=$1 COMP_POINT=${#1} COMP_TYPE=9
read -ra COMP_WORDS <<< "$1"
[[ $1 == *" " ]] && COMP_WORDS+=("")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
function=$(complete -p sts-broker | sed 's/.* -F \\([^ ]*\\) .*/\\1/')
"$function" sts-broker "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""

needs_bash = pytest.mark.skipif(not BASH, reason="SKIPPED: bash is not installed")
needs_argcomplete = pytest.mark.skipif(
    not (PROGRAMS / "register-python-argcomplete").exists(), reason="SKIPPED: argcomplete is not installed"
)


def press_tab(line: str, **environment: str) -> list[str]:
    """Return what bash offers for a command line."""
    done = subprocess.run(
        [BASH, "-c", TAB, "bash", line],
        env={"PATH": f"{PROGRAMS}:{os.environ['PATH']}", **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


@needs_bash
@needs_argcomplete
@pytest.mark.usefixtures("unmeasured")
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("sts-broker ", [*help_texts.VERBS]),
        ("sts-broker tr", ["trust"]),
        ("sts-broker trust ", ["lint", "explain", "render", "audit"]),
        ("sts-broker trust r", ["render"]),
        ("sts-broker inject --memory-", ["--memory-request", "--memory-limit"]),
        ("sts-broker once --t", ["--timeout"]),
        ("sts-broker --v", ["--version"]),
        ("sts-broker nothing", []),
    ],
)
def test_tab_offers_commands_and_options(line: str, expected: list[str]) -> None:
    assert press_tab(line) == expected


@needs_bash
@needs_argcomplete
@pytest.mark.usefixtures("unmeasured")
@pytest.mark.parametrize("name", help_texts.VERBS)
def test_tab_offers_every_option_of_a_command(name: str) -> None:
    parser = build_parser(name).commands[name]
    options = {each for action in parser.arguments for each in action.option_strings if each.startswith("--")}
    assert set(press_tab(f"sts-broker {name} --")) == options


def test_missing_library_gives_no_completion(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "argcomplete", None)
    assert completion.complete(build_parser()) == os.EX_UNAVAILABLE
