"""The verb `sts-broker issuer`: what its two commands print. Their options are in `broker.cli.issuer_arguments`.

Each finding is one line that begins with its verdict. Text from a server is made printable before it is shown. Exit
code 1 means that STS would refuse the issuer, 2 that the command line or a file cannot be used.
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
        options.refuse("give the keys to publish: --jwks FILE, --public-key FILE, or both")
    gathered = documents.gather(options.jwks, options.public_key, sys.stdin.buffer)
    rendered = documents.render(options.issuer, gathered.keys, gathered.faults)
    withdrawn = documents.find_withdrawn(options.output, rendered)
    keys_path, discovery_path = documents.write(options.output, rendered)
    lines = [keys_path]
    lines += [f"  {quoted(key.kid)} {key.description}" for key in rendered.published]
    lines += [f"  left out: {quoted(kid) or '(no kid)'} {reason}" for kid, reason in gathered.left_out]
    lines += [f"  withdrawn: {quoted(kid)}; STS will refuse tokens signed with it" for kid in withdrawn]
    lines += [discovery_path, f"  {options.issuer}"]
    lines += [f"Upload both as application/json, the keys first. Then run: sts-broker issuer check {options.issuer}"]
    sys.stdout.writelines(f"{line}\n" for line in lines)
    return 0


def check_issuer(options: argparse.Namespace) -> int:
    """Check the issuer that the options of `sts-broker issuer check` name. Return the exit code."""
    from broker.core.clock import SystemClock  # noqa: PLC0415
    from broker.core.findings import is_accepted  # noqa: PLC0415
    from broker.discovery.fetching import document_fetcher  # noqa: PLC0415
    from broker.issuer.check import IssuerCheck  # noqa: PLC0415
    from broker.net.https_client import fetch  # noqa: PLC0415
    from broker.net.routes import Route  # noqa: PLC0415
    from broker.net.tls import verification_context  # noqa: PLC0415

    try:
        verification_context(options.ca_bundle)
    except ValueError as error:
        raise ConfigurationError((f"--ca-bundle {options.ca_bundle} cannot be used: {error}.",)) from None
    route = Route(
        timeout_seconds=options.timeout,
        ca_bundle=options.ca_bundle,
        connect_to=dict(options.connect_to),
        environ=os.environ,
        reads_unverified=True,
        tries_tls_12_first=True,
    )
    report = IssuerCheck(
        options.url,
        token=_read_token(options.token),
        fetch=document_fetcher(fetch, route),
        trusted_by=options.ca_bundle or "the system's CAs",
        now=SystemClock().read().now,
    ).run()
    if options.json:
        sys.stdout.write(_format_json(options.url, report))
    else:
        sys.stdout.writelines(_format_lines(report))
    return 0 if is_accepted(report.findings) else EXIT_REFUSED


def _read_token(path: str) -> BoundToken | None:
    if not path:
        return None
    from broker.tokens import token_report  # noqa: PLC0415

    return token_report.read_token(path, is_given=True)


def _format_lines(report: Report) -> list[str]:
    lines = []
    for finding in report.findings:
        lines.append(f"{finding.verdict.value:<8} {finding.check:<12} {finding.found}\n")
        if finding.remedy:
            lines.append(f"{'':<21} -> {finding.remedy}\n")
    return lines


def _format_json(url: str, report: Report) -> str:
    import json  # noqa: PLC0415 - only for --json

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
