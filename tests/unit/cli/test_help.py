"""The help of every command fits a terminal of 80 columns."""

from __future__ import annotations

import re

import pytest

from broker.cli import help_texts, main
from broker.cli.parser import HelpText, Parser

COLUMNS = 80
COMMANDS: list[tuple[str, ...]] = [
    (),
    *((verb,) for verb in help_texts.VERBS),
    *(("trust", verb) for verb in ("lint", "explain", "render", "audit")),
    *(("issuer", verb) for verb in ("render", "check")),
]


def help_of(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> str:
    """Return what --help prints."""
    with pytest.raises(SystemExit) as ended:
        main.main([*arguments, "--help"])
    assert ended.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command) or "sts-broker")
def test_help_fits_80_columns(command: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    text = help_of(command, capsys)
    assert text.startswith(f"usage: {' '.join(('sts-broker', *command))} ")
    assert [line for line in text.splitlines() if len(line) > COLUMNS] == []


@pytest.mark.parametrize("group", ["trust", "issuer"])
def test_every_command_of_a_group_is_among_those_of_this_test(group: str, capsys: pytest.CaptureFixture[str]) -> None:
    listed = re.findall(r"^    ([a-z]+) {2,}", help_of((group,), capsys), re.MULTILINE)
    assert listed
    assert [(group, name) for name in listed] == [each for each in COMMANDS if each[:1] == (group,) and each[1:]]


def test_usage_with_an_error_fits_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main.main(["exec"])
    usage = capsys.readouterr().err.split("error:")[0]
    assert "usage: sts-broker exec" in usage
    assert max(map(len, usage.splitlines())) <= COLUMNS


def test_paragraphs_of_a_description_are_wrapped_and_examples_are_not() -> None:
    parser = Parser(prog="p")
    text = HelpText(summary="do it", description=f"{'word ' * 29}\nsame\n\nNext one.", examples="  " + "x" * 90)
    commands = parser.add_commands({"Commands": {"do": text}})
    printed = commands["do"].format_help()
    assert printed == commands["do"].format_help()
    assert "\nDo it.\n\nword word" in printed
    assert "word same\n\nNext one.\n" in printed
    assert "  " + "x" * 90 in printed
