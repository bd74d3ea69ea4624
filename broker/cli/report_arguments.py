"""The options that commands with a report share."""

from __future__ import annotations

import argparse
from functools import partial
from typing import TYPE_CHECKING

from broker.core.spelling import suggest

if TYPE_CHECKING:
    from broker.cli.parser import Parser

_FORMATS = ("text", "json", "sarif")


def add_output(verb: Parser, subject: str) -> None:
    """Add the options of a report: its format, and what does not count. `subject` begins the help on the format."""
    verb.add_argument(
        "--format",
        type=partial(parse_choice, choices=_FORMATS),
        default="text",
        metavar="FORMAT",
        help=f"{subject}: text, json or sarif (default: text)",
    )
    verb.add_argument(
        "--allow-unjudged",
        action="store_true",
        help="exit with 0 where a policy or a part of it can't be judged, such as one that a plan doesn't know",
    )
    verb.add_argument("--ignore", action="append", default=[], metavar="RULE", help="rule to leave out; repeatable")


def parse_choice(text: str, choices: tuple[str, ...]) -> str:
    """Return the text if it is one of the choices. Raises ArgumentTypeError."""
    if text not in choices:
        raise argparse.ArgumentTypeError(f"{text}: expected {', '.join(choices)}{suggest(text, choices)}")
    return text
