"""The verb `sts-broker issuer`: its arguments, and what `render` and `check` print.

Each finding is one line that begins with its verdict. Text from a server is made printable before it is shown. Exit
code 1 means that STS would refuse the issuer, 2 that the command line or a file cannot be used.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from typing import TYPE_CHECKING

from broker.core.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.core.model import BoundToken
    from broker.issuer.check import Report

EXIT_REFUSED = 1
_LONGEST_TIMEOUT_SECONDS = 60
_HIGHEST_PORT = 65_535
_CONNECT_TO = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]*):(\d{0,5}):(\[[^\[\]]*\]|[^:\[\]]*):(\d{0,5})")
_RENDER = (
    "Writes OUTPUT/keys.json and OUTPUT/.well-known/openid-configuration, to be served at the issuer's URL.\n"
    "Keys come from a cluster's key document, from PEM files (PUBLIC KEY; RSA, P-256, P-384, P-521), or both: several\n"
    "for a rotation, the new one before the old one goes. The same key given twice is written once.\n\n"
    "  kubectl get --raw /openid/v1/jwks > jwks.json\n"
    "  sts-broker issuer render --issuer https://oidc.example.com --output site --jwks jwks.json"
)
_CHECK = (
    "Fetches the discovery document and the keys as STS does, and says for each thing: ok, warning or failed, what\n"
    "was found, and what to do. Certificates are verified by the system's CAs or --ca-bundle. HTTPS_PROXY is used,\n"
    "and told. Exit code 1 where STS would refuse.\n\n"
    "  sts-broker issuer check https://oidc.example.com --token /var/run/secrets/sts.amazonaws.com/token"
)


def add_verbs(verb: argparse.ArgumentParser) -> None:
    """Give `sts-broker issuer` its two parts."""
    parts = verb.add_subparsers(title="verbs", metavar="VERB", required=True)
    render = _add(parts, "render", "write the documents of a self-hosted issuer", _RENDER, _render)
    render.add_argument("--issuer", required=True, metavar="URL", help="the issuer, as tokens name it in iss")
    render.add_argument("--output", required=True, metavar="DIR", help="where to write; made if it is not there")
    render.add_argument(
        "--jwks", action="append", default=[], metavar="FILE", help="a key document; - for standard input; repeatable"
    )
    render.add_argument(
        "--public-key", action="append", default=[], metavar="FILE", help="a PEM file of public keys; repeatable"
    )
    render.set_defaults(refuse=render.error)
    check = _add(parts, "check", "say what STS would refuse of an issuer", _CHECK, _check)
    check.add_argument("url", metavar="URL", help="the issuer, as tokens name it in iss")
    check.add_argument("--token", default="", metavar="FILE", help="a token of this issuer; - for standard input")
    check.add_argument(
        "--timeout", type=_seconds, default=5.0, metavar="SECONDS", help="for each document (default: 5, as STS)"
    )
    check.add_argument("--json", action="store_true", help="print one JSON object")
    check.add_argument("--ca-bundle", default="", metavar="FILE", help="trust these CAs instead of the system's")
    check.add_argument(
        "--connect-to",
        action="append",
        type=_redirection,
        default=[],
        metavar="HOST1:PORT1:HOST2:PORT2",
        help="go to HOST2:PORT2 for HOST1:PORT1, an empty one being any or the same, as curl does; repeatable",
    )


def _add(
    parts: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    summary: str,
    more: str,
    call: Callable[[argparse.Namespace], int],
) -> argparse.ArgumentParser:
    part = parts.add_parser(
        name,
        help=summary,
        description=f"{summary}\n\n{more}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    part.set_defaults(verb=call)
    return part


def _seconds(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0
    if not 0 < number <= _LONGEST_TIMEOUT_SECONDS:
        raise argparse.ArgumentTypeError(
            f"{text}: write a number of seconds from above 0 to {_LONGEST_TIMEOUT_SECONDS}"
        )
    return number


def _redirection(text: str) -> tuple[tuple[str, int], tuple[str, int]]:
    match = _CONNECT_TO.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text}: write HOST1:PORT1:HOST2:PORT2, for example ::127.0.0.1:8443")
    host, other_host = match[1].strip("[]").lower(), match[3].strip("[]")
    port, other_port = int(match[2] or 0), int(match[4] or 0)
    if max(port, other_port) > _HIGHEST_PORT:
        raise argparse.ArgumentTypeError(f"{text}: write ports up to {_HIGHEST_PORT}")
    return (host, port), (other_host, other_port)


def _render(options: argparse.Namespace) -> int:
    """Write the documents, and print which keys they hold. Return the exit code."""
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


def _check(options: argparse.Namespace) -> int:
    """Check the issuer and print the findings. Return the exit code."""
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

    return token_report.read_token(path)


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
