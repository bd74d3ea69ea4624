"""The commands of the sidecar image: `run`, `once`, `exec`, `credentials`, `token` and `doctor`.

Each function adds the options of one command, and sets the function that runs it.
"""

from __future__ import annotations

import argparse
import os
import sys
from datetime import timedelta

from broker.cli import operator_tools
from broker.cli.durations import parse_seconds
from broker.cli.failures import complain
from broker.core.errors import PublishError
from broker.core.model import DEFAULT_PUBLISH_DIRECTORY, DEFAULT_TOKEN_FILE
from broker.core.notify_targets import SIGNALS
from broker.worker.process_hardening import take_environment


def add_run(verb: argparse.ArgumentParser) -> None:
    """Add the arguments of `sts-broker run`: it has none."""
    verb.set_defaults(verb=_run, writes_log=True)


def add_once(verb: argparse.ArgumentParser) -> None:
    """Add the arguments of `sts-broker once`."""
    verb.set_defaults(verb=_once, writes_log=True)
    _add_timeout(verb)


def add_exec(verb: argparse.ArgumentParser) -> None:
    """Add the arguments of `sts-broker exec`."""
    verb.set_defaults(verb=_exec, writes_log=True, refuse=verb.error)
    verb.usage = (
        "sts-broker exec [-h] [--profile NAME] [--timeout SECONDS] [--env]\n"
        "                       [--on-refresh signal:NAME | restart]\n"
        "                       -- COMMAND [ARGUMENT …]"
    )
    verb.add_argument(
        "--profile",
        default="",
        metavar="NAME",
        help='profile whose credentials the command gets (default: "default", or the only profile)',
    )
    _add_timeout(verb)
    verb.add_argument(
        "--env",
        action="store_true",
        help=(
            "also set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, which are never refreshed "
            "without --on-refresh restart"
        ),
    )
    verb.add_argument(
        "--on-refresh",
        type=_parse_on_refresh,
        metavar="ACTION",
        help=(
            "for a command that reads credentials once: after each later refresh, send it a signal (signal:HUP), or "
            "restart it (restart: SIGTERM, SIGKILL after 30 s)"
        ),
    )
    verb.add_argument(
        "command", nargs=argparse.REMAINDER, metavar="COMMAND …", help="command to run, with its arguments"
    )


def add_credentials(verb: argparse.ArgumentParser) -> None:
    """Add the arguments of `sts-broker credentials`."""
    verb.set_defaults(verb=_credentials)
    verb.add_argument(
        "--profile", default="", metavar="NAME", help='profile to print (default: "default", or the only profile)'
    )
    verb.add_argument(
        "--directory",
        default="",
        metavar="DIR",
        help=f"publish directory of the broker (default: BROKER_PUBLISH_DIRECTORY, or {DEFAULT_PUBLISH_DIRECTORY})",
    )


def add_token(verb: argparse.ArgumentParser) -> None:
    """Add the arguments of `sts-broker token`."""
    verb.set_defaults(verb=_token)
    verb.add_argument(
        "file",
        nargs="?",
        default="",
        metavar="FILE",
        help=(
            "file with the token, or - for standard input "
            f"(default: AWS_WEB_IDENTITY_TOKEN_FILE, or {DEFAULT_TOKEN_FILE})"
        ),
    )
    verb.add_argument(
        "--audience",
        default="",
        metavar="TEXT",
        help="audience that the token must have (default: BROKER_AUDIENCE, or sts.amazonaws.com)",
    )
    verb.add_argument("--json", action="store_true", help="print one JSON object")


def add_doctor(verb: argparse.ArgumentParser) -> None:
    """Add the arguments of `sts-broker doctor`."""
    verb.set_defaults(verb=_doctor)
    verb.add_argument(
        "--token",
        default="",
        metavar="FILE",
        help="check a copied token, or - for standard input, instead of the pod's",
    )
    verb.add_argument(
        "--policy",
        default="",
        metavar="FILE",
        help="trust policy to check the token against: a file, - for standard input, or iam to read it from IAM",
    )
    verb.add_argument(
        "--profile", default="", metavar="NAME", help="check only this profile and its source profiles (default: all)"
    )
    verb.add_argument("--json", action="store_true", help="print one JSON object")


def _add_timeout(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--timeout",
        type=parse_seconds,
        default=60.0,
        metavar="SECONDS",
        help="maximum time to wait for the first credentials (default: 60)",
    )


def _parse_on_refresh(text: str) -> str:
    """Return `restart`, or the name of a signal without SIG. Raises ArgumentTypeError."""
    kind, _, name = text.partition(":")
    name = name.removeprefix("SIG")
    if text == "restart":
        return text
    if kind == "signal" and name in SIGNALS:
        return name
    raise argparse.ArgumentTypeError(
        f"expected restart, or signal: and one of {', '.join(SIGNALS)}, such as signal:HUP; found {text!r}"
    )


def _run(_: argparse.Namespace) -> int:
    environ = take_environment()
    from broker.runtime.signals import SIGNALS  # noqa: PLC0415
    from broker.runtime.start import resident_process  # noqa: PLC0415

    with resident_process(environ, blocked=SIGNALS) as process:
        from broker.runtime import daemon  # noqa: PLC0415 - while the workers check the settings and load botocore

        return daemon.run(process)


def _once(options: argparse.Namespace) -> int:
    environ = take_environment()
    from broker.runtime.signals import SIGNALS  # noqa: PLC0415
    from broker.runtime.start import resident_process  # noqa: PLC0415

    with resident_process(environ, blocked=SIGNALS) as process:
        from broker.runtime import daemon  # noqa: PLC0415 - likewise

        return daemon.once(process, timeout=timedelta(seconds=options.timeout))


def _exec(options: argparse.Namespace) -> int:
    environ = take_environment()
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not command:
        options.refuse("there is no command to run; write it after --, for example: sts-broker exec -- aws s3 ls")
    timeout = timedelta(seconds=options.timeout)
    from broker.runtime.process_supervisor import HANDLED  # noqa: PLC0415
    from broker.runtime.start import resident_process  # noqa: PLC0415

    with resident_process(environ, blocked=HANDLED) as process:
        from broker.runtime.exec_command import CommandSpec, execute  # noqa: PLC0415 - likewise

        spec = CommandSpec(
            command=command,
            profile=options.profile,
            timeout=timeout,
            with_keys=options.env,
            on_refresh=options.on_refresh or "",
        )
        return execute(process, spec)


def _credentials(options: argparse.Namespace) -> int:
    from broker.publish import reader  # noqa: PLC0415

    try:
        reader.show(directory=options.directory, profile=options.profile, environ=os.environ, output=sys.stdout.buffer)
    except PublishError as error:  # without its reason, because the SDK shows this text to the user of the app
        complain(str(error))
        return error.exit_code
    return os.EX_OK


def _token(options: argparse.Namespace) -> int:
    from broker.tokens import token_report  # noqa: PLC0415

    return token_report.show(
        path=options.file, audience=options.audience, as_json=options.json, environ=os.environ, output=sys.stdout
    )


def _doctor(options: argparse.Namespace) -> int:
    environ = take_environment()
    from broker.doctor import command  # noqa: PLC0415

    if code := operator_tools.check_doctor_policy(options.policy):
        return code
    chosen = command.Options(token=options.token, policy=options.policy, profile=options.profile, as_json=options.json)
    return command.run(chosen, environ)
