"""The command `sts-broker trust audit`: its options and help text.

What the command does is imported when it is called.
"""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

from broker.cli.parser import HelpText
from broker.cli.report_arguments import add_output, parse_choice

if TYPE_CHECKING:
    import argparse

    from broker.cli.parser import Parser

_SEVERITIES = ("error", "warning", "never")
HELP = HelpText(
    summary="report who can become what in a whole account",
    description=(
        "Reads all roles and OIDC providers of the account from IAM, with the credentials of the shell.\n"
        "Reports every role that trusts web identities, or that such a role leads to by role chaining; who\n"
        "can assume it; what `trust lint` finds in it; and providers that are missing or unused. With\n"
        "--manifests, it also reports which service accounts exist, roles that nobody can use, and pods that\n"
        "request a role which refuses them. It changes nothing. See docs/audit.md.\n\n"
        "With FILE, it reads no account, but what the AWS CLI has saved, or Terraform plans and states.\n\n"
        "Exits with 0 if there are no findings, with 1 if there are findings, with 2 if an input could not be\n"
        "read, and with 3 if there are no findings, but a call was refused or a policy could not be judged."
    ),
    examples=(
        "  sts-broker trust audit --profile security --html audit.html\n"
        "  kubectl get serviceaccounts,pods,deployments -A -o json |\n"
        "    sts-broker trust audit --manifests - \\\n"
        "      --issuer https://oidc.example/cluster\n"
        "  aws iam get-account-authorization-details > details.json\n"
        "  sts-broker trust audit details.json --fail-on error"
    ),
)


def add_arguments(verb: Parser) -> None:
    """Add the options of `audit`."""
    verb.set_defaults(verb=_audit)
    verb.add_argument(
        "files",
        nargs="*",
        metavar="FILE",
        help="saved answer of IAM, Terraform plan or state, or - for standard input (default: read IAM)",
    )
    verb.add_argument("--profile", default="", metavar="NAME", help="AWS profile to use (default: AWS_PROFILE)")
    verb.add_argument("--role-arn", default="", metavar="ARN", help="role to assume first, such as one for auditors")
    verb.add_argument(
        "--manifests",
        default="",
        metavar="FILE",
        help="service accounts and workloads of a cluster as kubectl prints them, or - for standard input",
    )
    verb.add_argument(
        "--issuer",
        default="",
        metavar="URL",
        help="issuer of that cluster (default: the only one whose service accounts the roles name)",
    )
    verb.add_argument("--html", default="", metavar="FILE", help="also write the report as one HTML page")
    verb.add_argument(
        "--fail-on",
        type=partial(parse_choice, choices=_SEVERITIES),
        default="warning",
        metavar="SEVERITY",
        help="least severe finding that makes it exit with 1: error, warning, or never (default: warning)",
    )
    add_output(verb, "format of the report")


def _audit(options: argparse.Namespace) -> int:
    from broker.cli import operator_tools  # noqa: PLC0415

    if code := operator_tools.report_missing_module("trust audit"):
        return code
    from broker.trust.audit import command  # noqa: PLC0415

    audit_options = command.AuditOptions(
        files=options.files,
        profile=options.profile,
        role_arn=options.role_arn,
        manifests=options.manifests,
        issuer=options.issuer,
        form=options.format,
        html=options.html,
        fail_on=options.fail_on,
        ignored=options.ignore,
        allows_unjudged=options.allow_unjudged,
    )
    return command.run(audit_options, os.environ)
