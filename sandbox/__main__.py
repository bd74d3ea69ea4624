"""`python -m sandbox`: runs the whole box until Ctrl-C or SIGTERM and prints the environment for a broker.

Rules: what goes to standard output can be `eval`uated by a shell; everything else goes to standard error.
It refuses to know the broker's verbs beyond naming one in the hint.
"""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
import tempfile
import threading
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from sandbox import host_environment
from sandbox.simulator import Sandbox

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sandbox.cluster.kubelet import Rotation

_HINT = """\
# An AWS account and a kubelet in a box. In another shell, paste these lines, or start with
#   python -m sandbox > box.env &     and then     . ./box.env; sts-broker once
# Temporary credentials work against moto: AWS_ENDPOINT_URL=$SANDBOX_MOTO_URL aws s3 ls"""


def _seconds(text: str) -> timedelta:
    seconds = float(text)
    if seconds <= 0:
        raise argparse.ArgumentTypeError("must be more than 0")
    return timedelta(seconds=seconds)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m sandbox",
        description="An AWS account (moto, and an STS that verifies tokens and trust) and a kubelet, on loopback. "
        "Prints the environment for a broker and runs until Ctrl-C.",
    )
    parser.add_argument("--directory", type=Path, help="where the token volume goes (default: a temporary directory)")
    parser.add_argument(
        "--token-lifetime",
        type=_seconds,
        default=timedelta(hours=1),
        metavar="SECONDS",
        help="lifetime of bound tokens; they rotate at 80%% of it (default: 3600)",
    )
    parser.add_argument(
        "--session-lifetime",
        type=_seconds,
        metavar="SECONDS",
        help="issue sessions that live this long at most, below STS's own 900 too (default: as the broker asks)",
    )
    for name, what in (("sts", "the STS"), ("moto", "the other AWS services"), ("issuer", "the issuer's documents")):
        parser.add_argument(
            f"--port-{name}", type=int, default=0, metavar="PORT", help=f"port for {what} (default: any free one)"
        )
    return parser.parse_args(argv)


def _exports(box: Sandbox, environment: dict[str, str]) -> str:
    names = {**environment, "SANDBOX_MOTO_URL": box.moto_url, "SANDBOX_ISSUER_URL": box.issuer.url}
    return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in names.items())


def _report(rotation: Rotation) -> None:
    sys.stderr.write(f"# token {rotation.number} is in place, expires {rotation.expires_at:%H:%M:%S}Z\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run until a signal; returns the exit code."""
    arguments = _arguments(argv)
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    with (
        host_environment.hidden(),
        tempfile.TemporaryDirectory(prefix="sandbox-") as temporary,
        Sandbox(
            session_lifetime=arguments.session_lifetime,
            sts_port=arguments.port_sts,
            moto_port=arguments.port_moto,
            issuer_port=arguments.port_issuer,
        ) as box,
        box.projected_token(
            arguments.directory or Path(temporary) / "token", lifetime=arguments.token_lifetime, on_rotation=_report
        ) as token,
    ):
        token.start()
        sys.stdout.write(f"{_HINT}\n{_exports(box, box.environment(token))}\n")
        sys.stdout.flush()
        stopping.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
