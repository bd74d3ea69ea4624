"""`python -m sandbox`: runs the simulator until Ctrl-C or SIGTERM and prints the environment for a broker.

A shell can evaluate standard output. Everything else goes to standard error.
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
# A local AWS and Kubernetes simulator. Paste these lines into another shell, or start it with
#   python -m sandbox > sandbox.env &     and then     . ./sandbox.env; sts-broker once
# Temporary credentials work with moto's services: AWS_ENDPOINT_URL=$SANDBOX_MOTO_URL aws s3 ls"""


def _parse_seconds(text: str) -> timedelta:
    seconds = float(text)
    if seconds <= 0:
        raise argparse.ArgumentTypeError("must be more than 0")
    return timedelta(seconds=seconds)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m sandbox",
        description="Simulates AWS (moto, and an STS that verifies tokens and trust policies) and a kubelet on "
        "loopback. Prints the environment for a broker, and runs until Ctrl-C.",
    )
    parser.add_argument("--directory", type=Path, help="directory of the token volume (default: a temporary one)")
    parser.add_argument(
        "--token-lifetime",
        type=_parse_seconds,
        default=timedelta(hours=1),
        metavar="SECONDS",
        help="lifetime of bound tokens, which rotate at 80%% of it (default: 3600)",
    )
    parser.add_argument(
        "--session-lifetime",
        type=_parse_seconds,
        metavar="SECONDS",
        help="maximum lifetime of sessions; may be below the 900 s of the real STS (default: as requested)",
    )
    for name, what in (("sts", "STS"), ("moto", "the other AWS services"), ("issuer", "the issuer's documents")):
        parser.add_argument(
            f"--port-{name}", type=int, default=0, metavar="PORT", help=f"port of {what} (default: any free port)"
        )
    return parser.parse_args(argv)


def _format_exports(simulator: Sandbox, environment: dict[str, str]) -> str:
    names = {**environment, "SANDBOX_MOTO_URL": simulator.moto_url, "SANDBOX_ISSUER_URL": simulator.issuer.url}
    return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in names.items())


def _report_rotation(rotation: Rotation) -> None:
    sys.stderr.write(f"# token {rotation.number} written, expires {rotation.expires_at:%H:%M:%S}Z\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run until a signal. Return the exit code."""
    arguments = _arguments(argv)
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    with (
        host_environment.hide_host_settings(),
        tempfile.TemporaryDirectory(prefix="sandbox-") as temporary,
        Sandbox(
            session_lifetime=arguments.session_lifetime,
            sts_port=arguments.port_sts,
            moto_port=arguments.port_moto,
            issuer_port=arguments.port_issuer,
        ) as simulator,
        simulator.projected_token(
            arguments.directory or Path(temporary) / "token",
            lifetime=arguments.token_lifetime,
            on_rotation=_report_rotation,
        ) as token,
    ):
        token.start()
        sys.stdout.write(f"{_HINT}\n{_format_exports(simulator, simulator.environment(token))}\n")
        sys.stdout.flush()
        stopping.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
