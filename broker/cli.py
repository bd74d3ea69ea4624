"""The verbs: run, once, exec, credentials, token, issuer, trust, demo. Faults become exit codes here, and nowhere else.

Each verb imports what it needs when it is called, so that `broker token` costs no botocore.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import os
import sys
from datetime import timedelta
from typing import TYPE_CHECKING

from broker import __version__, issuer, trust_arguments
from broker.errors import EXIT_BUG, BrokerError, ConfigurationError, PublishError
from broker.model import DEFAULT_PUBLISH_DIRECTORY, redacted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_DESCRIPTION = """\
Exchanges a pod's bound service account token at AWS STS, publishes the temporary credentials
for the app beside it, and keeps them fresh."""
_EPILOG = """\
settings:
  The standard AWS variables (AWS_ROLE_ARN, AWS_WEB_IDENTITY_TOKEN_FILE, AWS_REGION, …) and BROKER_…;
  several profiles come from the YAML file that BROKER_CONFIG names. The README lists them all.

exit codes:
  0 done; run: ended by a signal    2 configuration    3 token    4 exchange    70 a bug
  5 publish: files could not be written; credentials: nothing usable is published
  issuer check: 1 STS would refuse    trust lint: 1 findings    trust explain: 1 not let in
  exec: the command's own, 128 + N for signal N, 126 not executable, 127 not found; those above: it was not run

examples:
  AWS_ROLE_ARN=arn:aws:iam::123456789012:role/app AWS_REGION=eu-west-1 broker run
  broker once --timeout 30        # one generation, for an init container or a Job
  broker exec -- aws s3 ls        # a command with credentials that are kept fresh while it runs
  broker credentials              # what is published, for credential_process
  broker token --json             # what the token in the file says
  broker issuer check https://oidc.example.com   # what STS would refuse of an issuer
  broker trust lint trust.json    # what is weak in a trust policy
  broker demo --seconds 60        # the whole job on an AWS account in a box"""
_VERBS = {
    "run": (
        "keep credentials fresh until told to stop",
        (
            "Reads the token, exchanges it, publishes the credentials, and again before they or the token expire.\n"
            "SIGTERM or SIGINT: end within 2 s, leaving the files in place. SIGHUP: refresh now.\n"
            "Health listener (default *:9910): /livez /readyz /metrics /status"
        ),
    ),
    "once": (
        "publish one generation, then exit",
        (
            "For init containers, Jobs and cron. What passes by itself (network, throttling, a late token) is tried\n"
            "again until the timeout; what somebody must mend ends it at once."
        ),
    ),
    "exec": (
        "run a command with credentials that are kept fresh",
        (
            "For Jobs, and where there is no sidecar. Waits for the first credentials as `once` does, then runs the\n"
            "command with an endpoint from which every SDK fetches them anew, and ends with the command's exit code.\n"
            "Takes away what would hide the endpoint: keys, AWS_PROFILE, AWS_WEB_IDENTITY_TOKEN_FILE, … Signals are\n"
            "passed on. BROKER_LOG_LEVEL=warning keeps standard error to what matters.\n"
            "Files, for what knows no endpoint, are in $BROKER_PUBLISH_DIRECTORY while it runs:\n"
            "  broker exec -- sh -c 'AWS_CONFIG_FILE=$BROKER_PUBLISH_DIRECTORY/config old-program'"
        ),
    ),
    "credentials": (
        "print what is published, for an SDK's credential_process",
        (
            "Reads <profile>.json in the publish directory, and nothing else: no STS, no settings. Prints it if it is\n"
            "whole and unexpired. Otherwise: nothing, the reason on standard error, exit code 5.\n"
            "In an AWS config file: credential_process = broker credentials --profile NAME"
        ),
    ),
    "token": (
        "show what the bound token says",
        (
            "Issuer, subject, audience, pod, age, time to rotation and expiry; never the signature, and nothing is\n"
            "verified: only STS does that. Exit code 3 where the token is not fit to be sent."
        ),
    ),
    "issuer": (
        "write and check an issuer's documents",
        (
            "For the one who sets up federation: `issuer render` writes what a self-hosted issuer has to serve,\n"
            "`issuer check` says what STS would refuse of an issuer, and what to change.\n"
            "docs/issuers.md has the procedures."
        ),
    ),
    "trust": (
        "judge trust policies before they are deployed",
        (
            "For infra teams: `trust lint` finds weaknesses, `trust explain` says what a policy says to a token and\n"
            "what would let it in, `trust render` prints a policy for a token. docs/trust.md has it all."
        ),
    ),
    "demo": (
        "the whole job on an AWS account in a box",
        (
            "Starts the sandbox (issuer, kubelet, STS), runs the real broker against it with short-lived tokens and\n"
            "sessions, and an unmodified boto3 session that calls GetCallerIdentity through the published config.\n"
            "Exit code 0 only if every call succeeded and at least two generations were seen."
        ),
    ),
}
"""Each verb's summary, and what more its help says."""
_LONGEST_WAIT_SECONDS = 86400
_GARBAGE_THRESHOLD = 20_000
"""Objects between two collections: importing libraries makes many and drops few, and collecting cost a tenth of the
start-up's CPU."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the verb that the arguments name. Return the exit code."""
    gc.set_threshold(_GARBAGE_THRESHOLD)
    _open_what_is_closed()
    options = _parser().parse_args(arguments)
    verb: Callable[[argparse.Namespace], int] = options.verb
    try:
        code = verb(options)
        sys.stdout.flush()  # here, where its failure can still be told
    except ConfigurationError as error:
        _complain(f"the configuration has {len(error.faults)} fault{'s' if len(error.faults) > 1 else ''}:")
        for fault in error.faults:
            sys.stderr.write(f"  {redacted(fault)}\n")
        return error.exit_code
    except BrokerError as error:
        _complain(f"{error} [{error.reason}]")
        return error.exit_code
    except BrokenPipeError:  # the reader of our output left early, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what Python flushes at its end
        return 0
    except Exception:  # noqa: BLE001 - a bug, to be told as such by its exit code
        _complain_of_a_bug()
        return EXIT_BUG
    return code


def _open_what_is_closed() -> None:
    """Give Python somewhere to write where whoever started us closed that, as `>&-` does: it has None there."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115 - for as long as we run


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="broker",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"sts-federation-broker {__version__}")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB [argument]", required=True)  # as long as needed to align
    _add_verb(verbs, "run", _run)
    once = _add_verb(verbs, "once", _once)
    once.add_argument("--timeout", type=_positive, default=60.0, metavar="SECONDS", help="give up after (default: 60)")
    _add_exec(verbs)
    credentials = _add_verb(verbs, "credentials", _credentials)
    credentials.add_argument(
        "--profile", default="", metavar="NAME", help="whose (default: default, else the only one there is)"
    )
    credentials.add_argument(
        "--directory",
        default="",
        metavar="DIR",
        help=f"where the broker publishes (default: BROKER_PUBLISH_DIRECTORY, or {DEFAULT_PUBLISH_DIRECTORY})",
    )
    token = _add_verb(verbs, "token", _token)
    token.add_argument(
        "file",
        nargs="?",
        default="",
        metavar="FILE",
        help="the token's file, or - for standard input (default: AWS_WEB_IDENTITY_TOKEN_FILE)",
    )
    token.add_argument("--audience", default="", help="audience to expect (default: BROKER_AUDIENCE)")
    token.add_argument("--json", action="store_true", help="print one JSON object")
    issuer.add_verbs(_add_verb(verbs, "issuer"))
    trust_arguments.add_verbs(_add_verb(verbs, "trust"))
    demo = _add_verb(verbs, "demo", _demo)
    demo.add_argument("--seconds", type=_positive, default=60.0, metavar="N", help="end after (default: 60)")
    return parser


def _add_verb(
    verbs: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    call: Callable[[argparse.Namespace], int] | None = None,
) -> argparse.ArgumentParser:
    """Add a verb. `call` None: its own verbs say what is called."""
    summary, more = _VERBS[name]
    verb = verbs.add_parser(
        name,
        help=summary,
        description=f"{summary}\n\n{more}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    verb.set_defaults(verb=call)
    return verb


def _add_exec(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    verb = _add_verb(verbs, "exec", _exec)
    verb.usage = "broker exec [-h] [--profile NAME] [--timeout SECONDS] [--env] -- command …"
    verb.add_argument("--profile", default="", metavar="NAME", help="whose (default: default, else the only one)")
    verb.add_argument("--timeout", type=_positive, default=60.0, metavar="SECONDS", help="give up after (default: 60)")
    verb.add_argument(
        "--env", action="store_true", help="set the keys too (AWS_ACCESS_KEY_ID, …); nothing renews them there"
    )
    verb.add_argument("command", nargs=argparse.REMAINDER, metavar="command …", help="what to run, and its arguments")
    verb.set_defaults(refuse=verb.error)


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0
    if not 0 < number <= _LONGEST_WAIT_SECONDS:
        raise argparse.ArgumentTypeError(f"{text}: write a number of seconds from above 0 to {_LONGEST_WAIT_SECONDS}")
    return number


def _run(_: argparse.Namespace) -> int:
    from broker import daemon  # noqa: PLC0415

    return daemon.run(os.environ)


def _once(options: argparse.Namespace) -> int:
    from broker import daemon  # noqa: PLC0415

    return daemon.once(os.environ, timeout=timedelta(seconds=options.timeout))


def _exec(options: argparse.Namespace) -> int:
    from broker.command import CommandSpec, execute  # noqa: PLC0415

    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not command:
        options.refuse("say which command to run: broker exec -- command …")
    timeout = timedelta(seconds=options.timeout)
    spec = CommandSpec(command=command, profile=options.profile, timeout=timeout, with_keys=options.env)
    return execute(os.environ, spec)


def _credentials(options: argparse.Namespace) -> int:
    from broker import published  # noqa: PLC0415

    try:
        published.show(
            directory=options.directory, profile=options.profile, environ=os.environ, output=sys.stdout.buffer
        )
    except PublishError as error:  # told without its reason: it is for the log of the SDK's program
        _complain(str(error))
        return error.exit_code
    return 0


def _token(options: argparse.Namespace) -> int:
    from broker import inspection  # noqa: PLC0415

    return inspection.show(
        path=options.file, audience=options.audience, as_json=options.json, environ=os.environ, output=sys.stdout
    )


def _demo(options: argparse.Namespace) -> int:
    try:
        demo = importlib.import_module("sandbox.demo")
    except ModuleNotFoundError as error:
        _complain(
            f"demo needs the sandbox of a checkout, and {error.name} is not here: clone the repository, `make demo`"
        )
        return 2
    code: int = demo.run(seconds=options.seconds)
    return code


def _complain(sentence: str) -> None:
    sys.stderr.write(f"broker: {redacted(sentence)}\n")


def _complain_of_a_bug() -> None:
    import traceback  # noqa: PLC0415 - rarely needed

    sys.stderr.write(redacted(traceback.format_exc()))
    _complain("this is a bug; please report it with the traceback above")
