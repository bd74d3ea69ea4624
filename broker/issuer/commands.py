"""The verb `sts-broker issuer`: what its two commands print. Their options are in `broker.cli.issuer_arguments`.

Rules: a line for each finding, the verdict first; nothing that a server wrote reaches the terminal as it is; exit code
1 means that STS would refuse, 2 that the command was not understood.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from broker.core.errors import ConfigurationError

if TYPE_CHECKING:
    import argparse

    from broker.core.model import BoundToken
    from broker.issuer.check import Report

EXIT_REFUSED = 1


def render_documents(options: argparse.Namespace) -> int:
    """Write the documents that the options of `sts-broker issuer render` describe. Return the exit code."""
    from broker.core.findings import quoted  # noqa: PLC0415
    from broker.issuer import documents  # noqa: PLC0415

    if not options.jwks and not options.public_key:
        options.refuse("say which keys to publish: --jwks FILE, --public-key FILE, or both")
    keys, faults = documents.gather(options.jwks, options.public_key, sys.stdin.buffer)
    rendered = documents.render(options.issuer, keys, faults)
    taken_out = documents.taken_out(options.output, rendered)
    keys_path, discovery_path = documents.write(options.output, rendered)
    sys.stdout.write(f"{keys_path}\n")
    sys.stdout.writelines(f"  {quoted(key.kid)} {key.description}\n" for key in rendered.published)
    sys.stdout.writelines(f"  taken out: {quoted(kid)}; STS will refuse tokens that it signed\n" for kid in taken_out)
    sys.stdout.write(f"{discovery_path}\n  {options.issuer}\n")
    sys.stdout.write("Upload both as application/json, the keys first. Then: ")
    sys.stdout.write(f"sts-broker issuer check {options.issuer}\n")
    return 0


def check_issuer(options: argparse.Namespace) -> int:
    """Check the issuer that the options of `sts-broker issuer check` name. Return the exit code."""
    from broker.core.clock import SystemClock  # noqa: PLC0415
    from broker.core.findings import is_accepted  # noqa: PLC0415
    from broker.issuer.check import IssuerCheck  # noqa: PLC0415
    from broker.net.https_client import Route, default_verification, get  # noqa: PLC0415

    try:
        default_verification(options.ca_bundle)
    except ValueError as error:
        raise ConfigurationError((f"--ca-bundle {options.ca_bundle} cannot be used: {error}.",)) from None
    route = Route(
        timeout_seconds=options.timeout,
        ca_bundle=options.ca_bundle,
        redirected=dict(options.connect_to),
        environ=os.environ,
    )
    report = IssuerCheck(
        options.url,
        token=_token(options.token),
        fetch=lambda url: get(url, route),
        trusted_by=options.ca_bundle or "the system's CAs",
        now=SystemClock().read().now,
    ).run()
    if options.json:
        sys.stdout.write(_json(options.url, report))
    else:
        sys.stdout.writelines(_lines(report))
    return 0 if is_accepted(report.findings) else EXIT_REFUSED


def _token(path: str) -> BoundToken | None:
    if not path:
        return None
    from broker.tokens import token_report  # noqa: PLC0415

    return token_report.read_token(path)


def _lines(report: Report) -> list[str]:
    lines = []
    for finding in report.findings:
        lines.append(f"{finding.verdict.value:<8} {finding.check:<12} {finding.found}\n")
        if finding.remedy:
            lines.append(f"{'':<21} -> {finding.remedy}\n")
    return lines


def _json(url: str, report: Report) -> str:
    import json  # noqa: PLC0415 - at every start otherwise

    from broker.core.findings import is_accepted  # noqa: PLC0415
    from broker.core.timestamps import timestamp  # noqa: PLC0415

    document = {
        "issuer": url,
        "accepted": is_accepted(report.findings),
        "findings": [
            {
                "check": finding.check,
                "verdict": finding.verdict.value,
                "found": finding.found,
                "remedy": finding.remedy or None,
            }
            for finding in report.findings
        ],
        "keys": [{"kid": key.kid, "algorithm": key.algorithm} for key in report.keys],
        "certificates": {
            host: [
                {
                    "subject": certificate.subject,
                    "issuer": certificate.issuer,
                    "not_before": timestamp(certificate.not_before),
                    "expires_at": timestamp(certificate.not_after),
                    "sha1": certificate.sha1,
                }
                for certificate in chain
            ]
            for host, chain in report.chains.items()
        },
        "thumbprints": {host: chain[-1].sha1 for host, chain in report.chains.items() if chain},
    }
    return json.dumps(document, indent=2) + "\n"
