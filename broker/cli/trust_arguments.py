"""The command `sts-broker trust`: its commands, their options and help texts.

What the commands do is imported when one is called.
"""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

from broker.cli import audit_arguments
from broker.cli.parser import HelpText
from broker.cli.report_arguments import add_output, parse_choice
from broker.core.token_issuers import IssuerKind

if TYPE_CHECKING:
    import argparse

    from broker.cli.parser import Parser

_ISSUER_KINDS = tuple(kind.value for kind in IssuerKind if kind is not IssuerKind.OTHER)
_VERBS = {
    "lint": HelpText(
        summary="find weaknesses in trust policies",
        description=(
            "Reads trust policies as JSON, Terraform plans as JSON (terraform show -json), and Terraform state files.\n"
            "Of plans and states, it checks the trust policy of every aws_iam_role, in modules too, and what the\n"
            "plan knows of trust policy documents. Of statements for AWS services and SAML providers, it checks\n"
            "the form only, and says so. It sends nothing anywhere. The rules are in docs/trust.md. Exits with\n"
            "  0  if there are no findings,\n"
            "  1  if there are findings,\n"
            "  2  if an input could not be read; every such input is reported,\n"
            "  3  if there are no findings, but a policy or a part of it could not be judged."
        ),
        examples=(
            "  sts-broker trust lint trust.json\n"
            "  terraform show -json plan.out |\n"
            "    sts-broker trust lint --issuer https://oidc.example/cluster -\n"
            "  sts-broker trust lint --format sarif policies/*.json > trust.sarif"
        ),
    ),
    "explain": HelpText(
        summary="report whether a trust policy allows a token, and why not",
        description=(
            "Lists for each statement the conditions that do not match, what they expect, what the token has, and\n"
            "the smallest change that makes them match. The token is not sent, verified or printed. STS also checks\n"
            "its signature, its age and the OIDC provider. Exits with 0 if the token is allowed, with 1 if it is\n"
            "not, with 2 if the policy could not be read, and with 3 if STS would reject it anyway."
        ),
        examples=(
            "  sts-broker trust explain --policy trust.json\n"
            "  sts-broker trust explain --policy trust.json --token token.jwt --json\n"
            "  aws iam get-role --role-name app --query Role.AssumeRolePolicyDocument | \\\n"
            "    sts-broker trust explain --policy - \\\n"
            "      --role-arn arn:aws:iam::123456789012:role/app"
        ),
    ),
    "render": HelpText(
        summary="print the trust policy for a token, or for workloads that you name",
        description=(
            "Issuer, audience and subject come from the options, or from the token. Options whose help begins with\n"
            "the kind of an issuer need that --issuer-kind. The policy is made from the templates in iam-policies/,\n"
            "which the Terraform modules use too. A policy that `trust lint` has findings for is not printed. Exits\n"
            "with 0 if a policy was printed, with 2 if the options do not give a valid policy, and with 3 if the\n"
            "token is needed and cannot be read."
        ),
        examples=(
            "  sts-broker trust render --account 123456789012   # for the pod's own token\n"
            "  sts-broker trust render --account 123456789012 \\\n"
            "    --issuer https://oidc.example/cluster \\\n"
            "    --namespace shop --service-account cart --service-account checkout\n"
            "  sts-broker trust render --account 123456789012 --issuer-kind github \\\n"
            "    --repository octo-org/octo-repo --ref refs/heads/main\n"
            "  sts-broker trust render --account 123456789012 --token token.jwt |\n"
            "    sts-broker trust lint -"
        ),
    ),
    "audit": audit_arguments.HELP,
}


def add_verbs(verb: Parser) -> None:
    """Add the commands of `sts-broker trust`."""
    parsers = verb.add_commands({"Commands": _VERBS})
    _add_lint(parsers["lint"])
    _add_explain(parsers["explain"])
    _add_render(parsers["render"])
    audit_arguments.add_arguments(parsers["audit"])


def _add_lint(verb: Parser) -> None:
    verb.set_defaults(verb=_lint)
    verb.add_argument(
        "files", nargs="+", metavar="FILE", help="trust policy, Terraform plan or state, or - for standard input"
    )
    add_output(verb, "format of the findings")
    verb.add_argument("--issuer", default="", metavar="URL", help="the only issuer to expect (default: any)")
    verb.add_argument(
        "--account",
        default="",
        metavar="ID",
        help="account of the roles (default: that of the OIDC provider, or of the plan)",
    )


def _add_explain(verb: Parser) -> None:
    verb.set_defaults(verb=_explain)
    verb.add_argument("--policy", required=True, metavar="FILE", help="trust policy, or - for standard input")
    _add_token(verb)
    verb.add_argument(
        "--role-arn", default="", metavar="ARN", help="role that has the policy (default: AWS_ROLE_ARN, if set)"
    )
    verb.add_argument(
        "--session-name",
        default="",
        metavar="NAME",
        help="role session name (default: AWS_ROLE_SESSION_NAME, or the one that the broker derives from the token)",
    )
    verb.add_argument("--json", action="store_true", help="print one JSON object")


def _add_render(verb: Parser) -> None:
    verb.set_defaults(verb=_render)
    _add_token(verb)
    verb.add_argument("--account", default="", metavar="ID", help="account of the role (default: that of AWS_ROLE_ARN)")
    verb.add_argument(
        "--partition",
        default="",
        metavar="NAME",
        help="partition of the role, such as aws-cn (default: that of AWS_ROLE_ARN, or aws)",
    )
    verb.add_argument("--issuer", default="", metavar="URL", help="URL of the issuer (default: that of the token)")
    verb.add_argument(
        "--audience",
        action="append",
        default=[],
        metavar="TEXT",
        help="audience to allow; repeatable (default: sts.amazonaws.com, if the token has it)",
    )
    verb.add_argument(
        "--subject",
        action="append",
        default=[],
        metavar="TEXT",
        help="complete subject to allow; repeatable (default: that of the token)",
    )
    verb.add_argument(
        "--issuer-kind",
        type=partial(parse_choice, choices=_ISSUER_KINDS),
        default="kubernetes",
        metavar="KIND",
        help="kind of the issuer: kubernetes, github, gitlab or spiffe (default: kubernetes)",
    )
    verb.add_argument(
        "--namespace",
        action="append",
        default=[],
        metavar="NAME",
        help="namespace of the service accounts: one for all of them, or one for each; repeatable",
    )
    verb.add_argument(
        "--service-account", action="append", default=[], metavar="NAME", help="service account to allow; repeatable"
    )
    _add_workloads(verb)


def _add_workloads(verb: Parser) -> None:
    """Add the options that name workloads of other issuers than clusters."""
    verb.add_argument(
        "--repository",
        action="append",
        default=[],
        metavar="OWNER/NAME",
        help="github: repository to allow, or OWNER@ID/NAME@ID if its subjects have IDs; repeatable",
    )
    verb.add_argument(
        "--ref", default="", metavar="REF", help="github: full ref, such as refs/heads/main; gitlab: branch or tag"
    )
    verb.add_argument("--environment", default="", metavar="NAME", help="github: environment of the job")
    verb.add_argument(
        "--project-path", action="append", default=[], metavar="PATH", help="gitlab: project to allow; repeatable"
    )
    verb.add_argument("--ref-type", default="", metavar="TYPE", help="gitlab: branch or tag (default: branch)")
    verb.add_argument(
        "--spiffe-id", action="append", default=[], metavar="ID", help="spiffe: SPIFFE ID to allow; repeatable"
    )


def _add_token(verb: Parser) -> None:
    verb.add_argument(
        "--token",
        default="",
        metavar="FILE",
        help="file with the token, or - for standard input (default: AWS_WEB_IDENTITY_TOKEN_FILE)",
    )


def _lint(options: argparse.Namespace) -> int:
    from broker.trust import commands  # noqa: PLC0415

    lint_options = commands.LintOptions(
        issuer=options.issuer,
        account=options.account,
        ignored=options.ignore,
        form=options.format,
        allows_unjudged=options.allow_unjudged,
    )
    return commands.lint_files(options.files, lint_options)


def _explain(options: argparse.Namespace) -> int:
    from broker.trust import commands  # noqa: PLC0415

    explain_options = commands.ExplainOptions(
        policy=options.policy,
        token=options.token,
        role_arn=options.role_arn,
        session_name=options.session_name,
        as_json=options.json,
    )
    return commands.explain_token(explain_options, os.environ)


def _render(options: argparse.Namespace) -> int:
    from broker.trust import commands  # noqa: PLC0415
    from broker.trust.render_request import RenderOptions  # noqa: PLC0415
    from broker.trust.render_subjects import WorkloadOptions  # noqa: PLC0415

    render_options = RenderOptions(
        token=options.token,
        issuer=options.issuer,
        audiences=tuple(options.audience),
        subjects=tuple(options.subject),
        workloads=WorkloadOptions(
            kind=options.issuer_kind,
            namespaces=tuple(options.namespace),
            service_accounts=tuple(options.service_account),
            repositories=tuple(options.repository),
            environment=options.environment,
            project_paths=tuple(options.project_path),
            ref_type=options.ref_type,
            ref=options.ref,
            spiffe_ids=tuple(options.spiffe_id),
        ),
        account=options.account,
        partition=options.partition,
    )
    return commands.render_policy(render_options, os.environ)
