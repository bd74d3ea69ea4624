"""The entry point: parse the command line, run the command, turn failures into exit codes.

Each command imports what it needs when it is called, so that `sts-broker token` does not import botocore.
"""

from __future__ import annotations

import gc
import os
import sys
from typing import TYPE_CHECKING

from broker import __version__
from broker.cli import completion, demo_arguments, help_texts, operator_tools, sidecar_arguments
from broker.cli.failures import report_failure
from broker.cli.parser import Parser

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

_EXIT_INTERRUPTED = 128 + 2
"""The exit code that shells use for SIGINT. `run`, `once` and `exec` handle that signal themselves."""
_GARBAGE_THRESHOLD = 20_000
"""Objects between two garbage collections. Imports create many objects and drop few, so collecting at the default
threshold took a tenth of the CPU time of a start."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that the arguments name. Return the exit code."""
    gc.set_threshold(_GARBAGE_THRESHOLD)
    _replace_closed_streams()
    arguments = sys.argv[1:] if arguments is None else arguments
    if completion.VARIABLE in os.environ:
        return completion.complete(build_parser())
    named = next((each for each in arguments if not each.startswith("-")), "")
    options = build_parser(named).parse_args(arguments)
    verb: Callable[[argparse.Namespace], int] = options.verb
    try:
        code = verb(options)
        sys.stdout.flush()  # here, because a failure of Python's own flush at exit cannot be reported
    except KeyboardInterrupt:
        return _EXIT_INTERRUPTED
    except Exception as error:  # noqa: BLE001 - every failure is reported, bugs with their traceback
        return report_failure(error, os.environ, writes_log=options.writes_log)
    return code


def _replace_closed_streams() -> None:
    """Open the null device for standard streams that the parent process closed (`>&-`): Python sets them to None."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115 - open until exit


def build_parser(only: str | None = None) -> Parser:
    """Return the parser. With `only`, just the parser of this command is built, to save CPU time."""
    parser = Parser(prog="sts-broker", description=help_texts.DESCRIPTION, epilog=help_texts.EPILOG)
    parser.add_argument("--version", action="version", version=f"sts-federation-broker {__version__}")
    parser.set_defaults(writes_log=False)
    for name, verb in parser.add_commands(help_texts.GROUPS, only=only).items():
        _ADD_ARGUMENTS[name](verb)
    return parser


def _add_trust(verb: Parser) -> None:
    from broker.cli import trust_arguments  # noqa: PLC0415

    operator_tools.add_arguments("trust", verb, trust_arguments.add_verbs)


def _add_issuer(verb: Parser) -> None:
    from broker.cli import issuer_arguments  # noqa: PLC0415

    operator_tools.add_arguments("issuer", verb, issuer_arguments.add_verbs)


def _add_inject(verb: Parser) -> None:
    from broker.cli import inject_arguments  # noqa: PLC0415

    operator_tools.add_arguments("inject", verb, inject_arguments.add_arguments)


_ADD_ARGUMENTS: dict[str, Callable[[Parser], None]] = {
    "run": sidecar_arguments.add_run,
    "once": sidecar_arguments.add_once,
    "exec": sidecar_arguments.add_exec,
    "credentials": sidecar_arguments.add_credentials,
    "token": sidecar_arguments.add_token,
    "doctor": sidecar_arguments.add_doctor,
    "trust": _add_trust,
    "issuer": _add_issuer,
    "inject": _add_inject,
    "demo": demo_arguments.add_arguments,
}
