"""The command line of `sts-broker trust`: its verbs, their options and help texts.

`sts-broker --help` builds this parser too, so the modules that do the work are imported only when a verb runs.
"""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from broker.core.spelling import suggest

if TYPE_CHECKING:
    from collections.abc import Callable

_FORMATS = ("text", "json", "sarif")
_VERBS = {
    "lint": (
        "find weaknesses in trust policies",
        (
            "Reads policies as JSON, and Terraform plans as JSON (terraform show -json), where it checks the trust\n"
            "policy of every aws_iam_role, in modules too. Nothing is sent anywhere. docs/trust.md lists the rules."
        ),
        (
            "exit codes:\n"
            "  0 no findings    1 findings    2 an input can't be read (every such input is reported)\n\n"
            "examples:\n"
            "  sts-broker trust lint trust.json\n"
            "  terraform show -json plan.out | sts-broker trust lint --issuer https://oidc.example/cluster -\n"
            "  sts-broker trust lint --format sarif policies/*.json > trust.sarif"
        ),
    ),
    "explain": (
        "explain why a trust policy allows a token or not",
        (
            "Shows for each statement: the conditions that fail, what they expect, what the token has, and the\n"
            "smallest change that fixes them. The token is not sent, verified or printed. STS also checks its\n"
            "signature, its age and the OIDC provider."
        ),
        (
            "exit codes:\n"
            "  0 allowed    1 not allowed    2 the policy can't be read    3 STS would reject the token\n\n"
            "examples:\n"
            "  sts-broker trust explain --policy trust.json\n"
            "  sts-broker trust explain --policy trust.json --token token.jwt --json\n"
            "  aws iam get-role --role-name app --query Role.AssumeRolePolicyDocument | \\\n"
            "    sts-broker trust explain --policy - --role-arn arn:aws:iam::123456789012:role/app"
        ),
    ),
    "render": (
        "print the trust policy for a token or for service accounts",
        (
            "Takes issuer, audience and subject from the options, or from the token. The text is the template in\n"
            "iam-policies/, which the Terraform modules use too. A policy with findings in `trust lint` is not printed."
        ),
        (
            "exit codes:\n"
            "  0 printed    2 these options make no valid policy    3 the token is needed and can't be read\n\n"
            "examples:\n"
            "  sts-broker trust render --account 123456789012                    # for the pod's own token\n"
            "  sts-broker trust render --account 123456789012 --issuer https://oidc.example/cluster \\\n"
            "    --namespace shop --service-account cart --service-account till\n"
            "  sts-broker trust render --account 123456789012 --token token.jwt | sts-broker trust lint -"
        ),
    ),
}
"""The summary, the description and the epilog of each verb's help."""


def add_verbs(trust: argparse.ArgumentParser) -> None:
    """Add the verbs lint, explain and render to the parser of `sts-broker trust`."""
    verbs = trust.add_subparsers(title="verbs", metavar="VERB", required=True)
    _add_lint_options(_add_verb(verbs, "lint", _run_lint))
    _add_explain_options(_add_verb(verbs, "explain", _run_explain))
    _add_render_options(_add_verb(verbs, "render", _run_render))


def _add_verb(
    verbs: argparse._SubParsersAction[argparse.ArgumentParser], name: str, run: Callable[[argparse.Namespace], int]
) -> argparse.ArgumentParser:
    summary, description, epilog = _VERBS[name]
    verb = verbs.add_parser(
        name,
        help=summary,
        description=f"{summary}\n\n{description}",
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    verb.set_defaults(verb=run)
    return verb


def _add_lint_options(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("files", nargs="+", metavar="FILE", help="a policy or a Terraform plan, or - for standard input")
    verb.add_argument(
        "--format",
        type=_parse_format,
        default="text",
        metavar="FORMAT",
        help="output format: text, json or sarif (default: text)",
    )
    verb.add_argument("--issuer", default="", metavar="URL", help="the only issuer to trust (default: any)")
    verb.add_argument(
        "--account",
        default="",
        metavar="ID",
        help="account of the roles (default: that of the OIDC provider, or of the plan)",
    )
    verb.add_argument("--ignore", action="append", default=[], metavar="RULE", help="skip a rule; repeatable")


def _parse_format(text: str) -> str:
    if text not in _FORMATS:
        raise argparse.ArgumentTypeError(f"{text}: expected {', '.join(_FORMATS)}{suggest(text, _FORMATS)}")
    return text


def _add_explain_options(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--policy", required=True, metavar="FILE", help="the trust policy, or - for standard input")
    _add_token_option(verb)
    verb.add_argument(
        "--role-arn", default="", metavar="ARN", help="role that has the policy (default: AWS_ROLE_ARN, if set)"
    )
    verb.add_argument(
        "--session-name",
        default="",
        metavar="NAME",
        help="session name (default: AWS_ROLE_SESSION_NAME, or the one that the broker makes from the token)",
    )
    verb.add_argument("--json", action="store_true", help="print one JSON object")


def _add_render_options(verb: argparse.ArgumentParser) -> None:
    _add_token_option(verb)
    verb.add_argument("--account", default="", metavar="ID", help="account of the role (default: that of AWS_ROLE_ARN)")
    verb.add_argument(
        "--partition", default="", metavar="NAME", help="AWS partition (default: that of AWS_ROLE_ARN, or aws)"
    )
    verb.add_argument("--issuer", default="", metavar="URL", help="issuer of the cluster (default: the token's)")
    verb.add_argument(
        "--audience",
        action="append",
        default=[],
        metavar="TEXT",
        help="audience of the tokens; repeatable (default: sts.amazonaws.com, or the token's if it lacks that)",
    )
    verb.add_argument(
        "--subject",
        action="append",
        default=[],
        metavar="TEXT",
        help="a subject in full; repeatable (default: the token's)",
    )
    verb.add_argument(
        "--namespace",
        action="append",
        default=[],
        metavar="NAME",
        help="namespace of the service accounts: one for all of them, or one for each; repeatable",
    )
    verb.add_argument(
        "--service-account", action="append", default=[], metavar="NAME", help="a service account; repeatable"
    )


def _add_token_option(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--token",
        default="",
        metavar="FILE",
        help="the token's file, or - for standard input (default: AWS_WEB_IDENTITY_TOKEN_FILE)",
    )


def _run_lint(options: argparse.Namespace) -> int:
    from broker.trust import commands  # noqa: PLC0415

    return commands.lint_files(
        options.files, issuer=options.issuer, account=options.account, ignored=options.ignore, form=options.format
    )


def _run_explain(options: argparse.Namespace) -> int:
    from broker.trust import commands  # noqa: PLC0415

    explain_options = commands.ExplainOptions(
        policy=options.policy,
        token=options.token,
        role_arn=options.role_arn,
        session_name=options.session_name,
        as_json=options.json,
    )
    return commands.explain_token(explain_options, os.environ)


def _run_render(options: argparse.Namespace) -> int:
    from broker.trust import commands  # noqa: PLC0415
    from broker.trust.render_request import RenderOptions  # noqa: PLC0415

    render_options = RenderOptions(
        token=options.token,
        issuer=options.issuer,
        audiences=tuple(options.audience),
        subjects=tuple(options.subject),
        namespaces=tuple(options.namespace),
        service_accounts=tuple(options.service_account),
        account=options.account,
        partition=options.partition,
    )
    return commands.render_policy(render_options, os.environ)
