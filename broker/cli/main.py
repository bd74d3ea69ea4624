"""The verbs: what each takes, and calls. Faults become exit codes here, and nowhere else.

Each verb imports what it needs when it is called, so that `sts-broker token` costs no botocore.
"""

from __future__ import annotations

import argparse
import errno
import gc
import importlib
import os
import sys
from datetime import timedelta
from typing import TYPE_CHECKING

from broker import __version__
from broker.cli import help_texts
from broker.core.errors import EXIT_BUG, BrokerError, ConfigurationError, PublishError
from broker.core.model import DEFAULT_PUBLISH_DIRECTORY, redacted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_EXIT_INTERRUPTED = 128 + 2
"""What shells make of SIGINT. `run`, `once` and `exec` see to that signal themselves."""
_OUTPUT_IS_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_LONGEST_WAIT_SECONDS = 86400
_GARBAGE_THRESHOLD = 20_000
"""Objects between two collections: importing libraries makes many and drops few, and collecting cost a tenth of the
start-up's CPU."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the verb that the arguments name. Return the exit code."""
    gc.set_threshold(_GARBAGE_THRESHOLD)
    _open_what_is_closed()
    arguments = sys.argv[1:] if arguments is None else arguments
    options = _parser(arguments).parse_args(arguments)
    verb: Callable[[argparse.Namespace], int] = options.verb
    try:
        code = verb(options)
        sys.stdout.flush()  # here, where its failure can still be told
    except KeyboardInterrupt:
        return _EXIT_INTERRUPTED
    except Exception as error:  # noqa: BLE001 - faults are told here, and bugs as such
        return _told(error)
    return code


def _told(error: Exception) -> int:
    """Tell what ended the verb. Return the exit code."""
    if isinstance(error, ConfigurationError):
        _complain(f"the configuration has {len(error.faults)} fault{'s' if len(error.faults) > 1 else ''}:")
        for fault in error.faults:
            sys.stderr.write(f"  {redacted(fault)}\n")
        return error.exit_code
    if isinstance(error, BrokerError):
        _complain(f"{error} [{error.reason}]")
        return error.exit_code
    if isinstance(error, BrokenPipeError):  # the reader of our output left early, as `head` does
        _write_no_more()
        return 0
    if isinstance(error, OSError) and error.errno in _OUTPUT_IS_FULL:
        _write_no_more()
        _complain(f"standard output cannot be written: {error.strerror}")
        return PublishError.exit_code
    _complain_of_a_bug()
    return EXIT_BUG


def _write_no_more() -> None:
    """Let go what Python would flush at its end, where nobody could hear of its failure."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _open_what_is_closed() -> None:
    """Give Python somewhere to write where whoever started us closed that, as `>&-` does: it has None there."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115 - for as long as we run


def _parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    """Return what reads these arguments. Only the verb that they name is built: for a start, the others are ballast."""
    parser = argparse.ArgumentParser(
        prog="sts-broker",
        description=help_texts.DESCRIPTION,
        epilog=help_texts.EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"sts-federation-broker {__version__}")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB [argument]", required=True)  # as long as needed to align
    for name in arguments[:1] if arguments[:1] and arguments[0] in help_texts.VERBS else help_texts.VERBS:
        summary, more = help_texts.VERBS[name]
        verb = verbs.add_parser(
            name,
            help=summary,
            description=f"{summary}\n\n{more}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        _ADD_ARGUMENTS[name](verb)
    return parser


def _add_run(verb: argparse.ArgumentParser) -> None:
    verb.set_defaults(verb=_run)


def _add_once(verb: argparse.ArgumentParser) -> None:
    verb.set_defaults(verb=_once)
    _add_timeout(verb)


def _add_exec(verb: argparse.ArgumentParser) -> None:
    verb.set_defaults(verb=_exec, refuse=verb.error)
    verb.usage = "sts-broker exec [-h] [--profile NAME] [--timeout SECONDS] [--env] -- command …"
    verb.add_argument("--profile", default="", metavar="NAME", help="whose (default: default, else the only one)")
    _add_timeout(verb)
    verb.add_argument(
        "--env", action="store_true", help="set the keys too (AWS_ACCESS_KEY_ID, …); nothing renews them there"
    )
    verb.add_argument("command", nargs=argparse.REMAINDER, metavar="command …", help="what to run, and its arguments")


def _add_timeout(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--timeout", type=_positive, default=60.0, metavar="SECONDS", help="give up after (default: 60)")


def _add_credentials(verb: argparse.ArgumentParser) -> None:
    verb.set_defaults(verb=_credentials)
    verb.add_argument(
        "--profile", default="", metavar="NAME", help="whose (default: default, else the only one there is)"
    )
    verb.add_argument(
        "--directory",
        default="",
        metavar="DIR",
        help=f"where the broker publishes (default: BROKER_PUBLISH_DIRECTORY, or {DEFAULT_PUBLISH_DIRECTORY})",
    )


def _add_token(verb: argparse.ArgumentParser) -> None:
    verb.set_defaults(verb=_token)
    verb.add_argument(
        "file",
        nargs="?",
        default="",
        metavar="FILE",
        help="the token's file, or - for standard input (default: AWS_WEB_IDENTITY_TOKEN_FILE)",
    )
    verb.add_argument("--audience", default="", help="audience to expect (default: BROKER_AUDIENCE)")
    verb.add_argument("--json", action="store_true", help="print one JSON object")


def _add_doctor(verb: argparse.ArgumentParser) -> None:
    verb.set_defaults(verb=_doctor)
    verb.add_argument("--token", default="", metavar="FILE", help="a copied token, or - for standard input")
    verb.add_argument(
        "--policy",
        default="",
        metavar="FILE",
        help="the role's trust policy, - for standard input, or iam to read it there: say what it says to the token",
    )
    verb.add_argument("--profile", default="", metavar="NAME", help="look at this one, and its sources (default: all)")
    verb.add_argument("--json", action="store_true", help="print one JSON object")


def _add_issuer(verb: argparse.ArgumentParser) -> None:
    from broker.issuer import commands  # noqa: PLC0415

    commands.add_verbs(verb)


def _add_inject(verb: argparse.ArgumentParser) -> None:
    from broker.cli import inject_arguments  # noqa: PLC0415

    inject_arguments.add_arguments(verb)


def _add_trust(verb: argparse.ArgumentParser) -> None:
    from broker.cli import trust_arguments  # noqa: PLC0415

    trust_arguments.add_verbs(verb)


def _add_demo(verb: argparse.ArgumentParser) -> None:
    verb.set_defaults(verb=_demo)
    verb.add_argument("--seconds", type=_positive, default=60.0, metavar="N", help="end after (default: 60)")


_ADD_ARGUMENTS: dict[str, Callable[[argparse.ArgumentParser], None]] = {
    "run": _add_run,
    "once": _add_once,
    "exec": _add_exec,
    "credentials": _add_credentials,
    "token": _add_token,
    "doctor": _add_doctor,
    "issuer": _add_issuer,
    "trust": _add_trust,
    "inject": _add_inject,
    "demo": _add_demo,
}


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0
    if not 0 < number <= _LONGEST_WAIT_SECONDS:
        raise argparse.ArgumentTypeError(f"{text}: write a number of seconds from above 0 to {_LONGEST_WAIT_SECONDS}")
    return number


def _run(_: argparse.Namespace) -> int:
    from broker.runtime import daemon  # noqa: PLC0415

    return daemon.run(os.environ)


def _once(options: argparse.Namespace) -> int:
    from broker.runtime import daemon  # noqa: PLC0415

    return daemon.once(os.environ, timeout=timedelta(seconds=options.timeout))


def _exec(options: argparse.Namespace) -> int:
    from broker.runtime.exec_command import CommandSpec, execute  # noqa: PLC0415

    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not command:
        options.refuse("say which command to run: sts-broker exec -- command …")
    timeout = timedelta(seconds=options.timeout)
    spec = CommandSpec(command=command, profile=options.profile, timeout=timeout, with_keys=options.env)
    return execute(os.environ, spec)


def _credentials(options: argparse.Namespace) -> int:
    from broker.publish import reader  # noqa: PLC0415

    try:
        reader.show(directory=options.directory, profile=options.profile, environ=os.environ, output=sys.stdout.buffer)
    except PublishError as error:  # told without its reason: it is for the log of the SDK's program
        _complain(str(error))
        return error.exit_code
    return 0


def _token(options: argparse.Namespace) -> int:
    from broker.tokens import token_report  # noqa: PLC0415

    return token_report.show(
        path=options.file, audience=options.audience, as_json=options.json, environ=os.environ, output=sys.stdout
    )


def _doctor(options: argparse.Namespace) -> int:
    from broker.doctor import command  # noqa: PLC0415

    chosen = command.Options(token=options.token, policy=options.policy, profile=options.profile, as_json=options.json)
    return command.run(chosen, os.environ)


def _demo(options: argparse.Namespace) -> int:
    try:
        demo = importlib.import_module("sandbox.demo.command")
    except ModuleNotFoundError as error:
        _complain(
            f"demo needs the sandbox of a checkout, and {error.name} is not here: clone the repository, `make demo`"
        )
        return 2
    code: int = demo.run(seconds=options.seconds)
    return code


def _complain(sentence: str) -> None:
    sys.stderr.write(f"sts-broker: {redacted(sentence)}\n")


def _complain_of_a_bug() -> None:
    import traceback  # noqa: PLC0415 - rarely needed

    sys.stderr.write(redacted(traceback.format_exc()))
    _complain("this is a bug; please report it with the traceback above")
