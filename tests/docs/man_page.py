"""The man page, generated from the parser.

`python -m tests.docs.man_page` writes it; a test compares it with the parser. The wheel installs it in `share/man`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from broker import __version__
from broker.cli import help_texts
from broker.cli.main import build_parser

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broker.cli.parser import Parser

PAGE = Path(__file__).parents[2] / "share/man/man1/sts-broker.1"


def render() -> str:
    """Return the page in the man macros of roff."""
    parser = build_parser()
    lines = [
        f'.TH STS-BROKER 1 "" "sts-federation-broker {__version__}" "User Commands"',
        ".SH NAME",
        r"sts-broker \- temporary AWS credentials for a pod, from its service account token",
        ".SH SYNOPSIS",
        r".B sts-broker",
        r"\fICOMMAND\fR [\fIoption\fR \[u2026]]",
        ".SH DESCRIPTION",
        *_paragraphs(help_texts.DESCRIPTION),
        *_options(parser),
    ]
    for title, group in help_texts.GROUPS.items():
        lines.append(f".SH {title.upper()}")
        for name in group:
            lines += _command(parser.commands[name])
    for title, text in re.findall(r"^(\w[\w ]+):\n((?: .*\n|\n)+)", help_texts.EPILOG, re.MULTILINE):
        lines += [f".SH {title.upper()}", *_verbatim(text)]
    return "\n".join(_without_empty_paragraphs(lines)) + "\n"


def _without_empty_paragraphs(lines: list[str]) -> Iterator[str]:
    """Yield the lines without the paragraph marks that roff would ignore."""
    for previous, line, following in zip(["", *lines], lines, [*lines[1:], ""], strict=False):
        if line != ".PP" or not (previous.startswith(".S") or following == ".PP"):
            yield line


def _command(parser: Parser) -> Iterator[str]:
    yield f".SS {_escape(parser.prog)}"
    yield from _paragraphs(parser.description or "")
    yield from _options(parser)
    if parser.epilog:
        title, _, text = parser.epilog.partition("\n")
        yield from (".PP", _escape(title), *_verbatim(text))
    for below in parser.commands.values():
        yield from _command(below)


def _options(parser: Parser) -> Iterator[str]:
    for action in parser.arguments:
        if "--help" in action.option_strings:  # each command has it
            continue
        names = action.option_strings or [str(action.metavar)]
        value = f" \\fI{_escape(str(action.metavar))}\\fR" if action.option_strings and action.nargs != 0 else ""
        yield ".TP"
        yield ", ".join(f"\\fB{_escape(name)}\\fR{value}" for name in names)
        yield _escape((action.help or "").replace("%%", "%"))


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in text.split("\n\n"):
        if re.search(r"^  ", paragraph, re.MULTILINE):
            yield from (".PP", *_verbatim(paragraph))
        else:
            yield from (".PP", _escape(" ".join(paragraph.split())))


def _verbatim(text: str) -> Iterator[str]:
    yield from (".PP", ".nf", *map(_escape, text.strip("\n").splitlines()), ".fi")


def _escape(text: str) -> str:
    """Return a text in which roff finds no request, and no character that is not ASCII."""
    text = text.replace("\\", r"\e").replace("-", r"\-")
    text = "".join(each if each.isascii() else f"\\[u{ord(each):04X}]" for each in text)
    return f"\\&{text}" if text.startswith((".", "'")) else text


if __name__ == "__main__":
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(render())
