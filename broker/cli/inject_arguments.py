"""The command line of `sts-broker inject`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from broker import __version__

if TYPE_CHECKING:
    import argparse


def add_arguments(verb: argparse.ArgumentParser) -> None:
    """Give `sts-broker inject` what it takes."""
    verb.set_defaults(verb=_inject)
    verb.add_argument(
        "-f",
        "--filename",
        action="append",
        required=True,
        metavar="FILE",
        help="a file of manifests, YAML or JSON; - for standard input; repeatable",
    )
    verb.add_argument("--role-arn", metavar="ARN", help="role of every workload here; else of those annotated alone")
    verb.add_argument("--region", metavar="REGION", help="Region of STS and app")
    verb.add_argument("--config-map", metavar="NAME", help="ConfigMap whose broker.yaml has the profiles")
    verb.add_argument("--profile", metavar="NAME", help="profile of that file that the app gets (default: default)")
    verb.add_argument("--audience", metavar="TEXT", help="audience of the token (default: sts.amazonaws.com)")
    verb.add_argument("--duration-seconds", metavar="N", help="how long sessions last (default: 3600)")
    verb.add_argument(
        "--image", metavar="IMAGE", help=f"the broker's image (default: sts-federation-broker:{__version__})"
    )
    verb.add_argument(
        "--container",
        action="append",
        default=[],
        metavar="NAME",
        help="a container that is to find the credentials; repeatable (default: all but init containers)",
    )
    verb.add_argument("--no-fs-group", action="store_true", help="leave the pod's group to the platform: OpenShift")
    verb.add_argument("--check", action="store_true", help="print no manifests; exit code 1 where any would change")


def _inject(options: argparse.Namespace) -> int:
    from broker.inject import injection, sidecar  # noqa: PLC0415

    said = {key: getattr(options, key) for key in injection.ANNOTATED}
    request = injection.Request(
        options={key: text for key, text in said.items() if text is not None},
        image=options.image or sidecar.DEFAULT_IMAGE,
        containers=tuple(options.container),
        sets_group=not options.no_fs_group,
    )
    return injection.run(
        options.filename, request, check=options.check, stdin=sys.stdin.buffer, output=sys.stdout.buffer
    )
