"""The command `sts-broker issuer`: its commands, their options and help texts."""

from __future__ import annotations

import argparse
import re
from functools import partial
from typing import TYPE_CHECKING

from broker.cli.durations import parse_seconds
from broker.cli.parser import HelpText

if TYPE_CHECKING:
    from broker.cli.parser import Parser

_MAXIMUM_TIMEOUT_SECONDS = 60
_MAXIMUM_PORT = 65_535
_CONNECT_TO = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]*):(\d{0,5}):(\[[^\[\]]*\]|[^:\[\]]*):(\d{0,5})")
_VERBS = {
    "render": HelpText(
        summary="write the documents of a self-hosted issuer",
        description=(
            "Writes OUTPUT/keys.json and OUTPUT/.well-known/openid-configuration. Serve both at the issuer's URL.\n"
            "The keys come from the cluster's key document, from PEM files (PUBLIC KEY: RSA, P-256, P-384 or\n"
            "P-521), or from both. For a key rotation, publish the new key before you remove the old one. A key\n"
            "that is given twice is written once."
        ),
        examples=(
            "  kubectl get --raw /openid/v1/jwks > jwks.json\n"
            "  sts-broker issuer render --issuer https://oidc.example.com \\\n"
            "    --output site --jwks jwks.json"
        ),
    ),
    "check": HelpText(
        summary="report what STS would reject about an issuer",
        description=(
            "Fetches the discovery document and the keys as STS does. Each check reports ok, warning or failed,\n"
            "what it found, and what to change. Certificates are verified with the system's CAs, or with\n"
            "--ca-bundle. If HTTPS_PROXY is set, it is used and reported. Exits with 1 if STS would reject the\n"
            "issuer."
        ),
        examples=(
            "  sts-broker issuer check https://oidc.example.com \\\n"
            "    --token /var/run/secrets/sts.amazonaws.com/token\n"
            "  sts-broker issuer check https://oidc.example.com --json"
        ),
    ),
}


def add_verbs(verb: Parser) -> None:
    """Add the commands of `sts-broker issuer`."""
    parsers = verb.add_commands({"Commands": _VERBS})
    _add_render(parsers["render"])
    _add_check(parsers["check"])


def _add_render(verb: Parser) -> None:
    verb.set_defaults(verb=_render, refuse=verb.error)
    verb.add_argument("--issuer", required=True, metavar="URL", help="URL of the issuer, as in the iss claim of tokens")
    verb.add_argument(
        "--output", required=True, metavar="DIR", help="directory to write to; created if it does not exist"
    )
    verb.add_argument(
        "--jwks",
        action="append",
        default=[],
        metavar="FILE",
        help="key document (JWKS), or - for standard input; repeatable",
    )
    verb.add_argument(
        "--public-key", action="append", default=[], metavar="FILE", help="PEM file with public keys; repeatable"
    )


def _add_check(verb: Parser) -> None:
    verb.set_defaults(verb=_check)
    verb.add_argument("url", metavar="URL", help="URL of the issuer, as in the iss claim of tokens")
    verb.add_argument(
        "--token", default="", metavar="FILE", help="also check a token of this issuer; - for standard input"
    )
    verb.add_argument(
        "--timeout",
        type=partial(parse_seconds, maximum=_MAXIMUM_TIMEOUT_SECONDS),
        default=5.0,
        metavar="SECONDS",
        help="timeout for each document (default: 5, as in STS)",
    )
    verb.add_argument("--json", action="store_true", help="print one JSON object")
    verb.add_argument("--ca-bundle", default="", metavar="FILE", help="trust these CAs instead of the system's")
    verb.add_argument(
        "--connect-to",
        action="append",
        type=_parse_redirection,
        default=[],
        metavar="HOST1:PORT1:HOST2:PORT2",
        help="connect to HOST2:PORT2 instead of HOST1:PORT1, as in curl; empty parts match any, or stay; repeatable",
    )


def _parse_redirection(text: str) -> tuple[tuple[str, int], tuple[str, int]]:
    """Return the address to replace and its replacement. Raises ArgumentTypeError."""
    match = _CONNECT_TO.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError(f"expected HOST1:PORT1:HOST2:PORT2, such as ::127.0.0.1:8443; found {text!r}")
    host, other_host = match[1].strip("[]").lower(), match[3].strip("[]")
    port, other_port = int(match[2] or 0), int(match[4] or 0)
    if max(port, other_port) > _MAXIMUM_PORT:
        raise argparse.ArgumentTypeError(f"expected ports up to {_MAXIMUM_PORT}; found {text!r}")
    return (host, port), (other_host, other_port)


def _render(options: argparse.Namespace) -> int:
    from broker.issuer import commands  # noqa: PLC0415

    return commands.render_documents(options)


def _check(options: argparse.Namespace) -> int:
    from broker.issuer import commands  # noqa: PLC0415

    return commands.check_issuer(options)
