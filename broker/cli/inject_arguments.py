"""The command line of `sts-broker inject`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from broker.core.images import SIDECAR_IMAGE

if TYPE_CHECKING:
    import argparse


def add_arguments(verb: argparse.ArgumentParser) -> None:
    """Add the options of `sts-broker inject` to its parser."""
    verb.set_defaults(verb=_inject)
    verb.add_argument(
        "-f",
        "--filename",
        action="append",
        required=True,
        metavar="FILE",
        help="file with manifests in YAML or JSON, or - for standard input; repeatable",
    )
    verb.add_argument(
        "--role-arn",
        metavar="ARN",
        help="IAM role for every workload; without it, only annotated workloads get the sidecar",
    )
    verb.add_argument("--region", metavar="REGION", help="Region of the STS endpoint, and AWS_REGION of the app")
    verb.add_argument("--config-map", metavar="NAME", help="ConfigMap with the settings file under key broker.yaml")
    verb.add_argument("--profile", metavar="NAME", help="profile that the app gets from that file (default: default)")
    verb.add_argument("--audience", metavar="TEXT", help="audience of the token (default: sts.amazonaws.com)")
    verb.add_argument("--duration-seconds", metavar="N", help="lifetime of the credentials (default: 3600)")
    for name, default in (
        ("cpu-request", "10m"),
        ("cpu-limit", "none"),
        ("memory-request", "24Mi"),
        ("memory-limit", "64Mi"),
    ):
        kind, _, bound = name.partition("-")
        kind = {"cpu": "CPU"}.get(kind, kind)
        verb.add_argument(f"--{name}", metavar="QUANTITY", help=f"{kind} {bound} of the sidecar (default: {default})")
    verb.add_argument("--image", metavar="IMAGE", help=f"image of the broker (default: {SIDECAR_IMAGE})")
    verb.add_argument(
        "--container",
        action="append",
        default=[],
        metavar="NAME",
        help="container or init container that gets the endpoint; repeatable (default: all except init containers)",
    )
    verb.add_argument(
        "--pass-over",
        action="append",
        default=[],
        metavar="KIND",
        help="kind that gets no sidecar unless its pods are annotated; repeatable",
    )
    verb.add_argument("--no-fs-group", action="store_true", help="set no fsGroup: OpenShift chooses one itself")
    verb.add_argument(
        "--check",
        action="store_true",
        help="print no manifests; exit with 1 if a workload lacks the sidecar, has a different one or was passed over",
    )


def _inject(options: argparse.Namespace) -> int:
    from broker.inject import injection, sidecar_request  # noqa: PLC0415 - loads PyYAML and pydantic

    values = {key: getattr(options, key) for key in sidecar_request.KEYS}
    request = sidecar_request.Request(
        options={key: value for key, value in values.items() if value is not None},
        image=options.image or SIDECAR_IMAGE,
        containers=tuple(options.container),
        sets_group=not options.no_fs_group,
        passed_over_kinds=tuple(options.pass_over),
    )
    return injection.run(
        options.filename, request, check=options.check, stdin=sys.stdin.buffer, output=sys.stdout.buffer
    )
