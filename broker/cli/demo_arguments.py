"""The command `sts-broker demo`, which needs the sandbox of a checkout."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from broker.cli.durations import parse_seconds
from broker.cli.failures import complain
from broker.cli.parser import EXIT_USAGE

if TYPE_CHECKING:
    import argparse


def add_arguments(verb: argparse.ArgumentParser) -> None:
    """Add the arguments of `sts-broker demo`."""
    verb.set_defaults(verb=_demo)
    verb.add_argument(
        "--seconds", type=parse_seconds, default=60.0, metavar="SECONDS", help="duration of the demo (default: 60)"
    )


def _demo(options: argparse.Namespace) -> int:
    try:
        demo = importlib.import_module("sandbox.demo.command")
    except ModuleNotFoundError as error:
        complain(
            f"demo needs a checkout of the repository, because {error.name} is not installed; clone the repository and "
            "run `make demo`"
        )
        return EXIT_USAGE
    code: int = demo.run(seconds=options.seconds)
    return code
