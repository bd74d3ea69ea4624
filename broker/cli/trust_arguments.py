"""The command line of `sts-broker trust`: its verbs, their options and help texts.

What the verbs do is imported when one is called: this much is built at every start.
"""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_VERBS = {
    "lint": (
        "find weaknesses in trust policies",
        (
            "Reads policies as JSON, and Terraform plans as JSON (terraform show -json), where it finds the trust\n"
            "policy of every aws_iam_role, in modules too. Nothing is sent anywhere. The rules are in docs/trust.md."
        ),
        (
            "exit codes:\n"
            "  0 clean    1 findings    2 something could not be read (all of it is told)\n\n"
            "examples:\n"
            "  sts-broker trust lint trust.json\n"
            "  terraform show -json plan.out | sts-broker trust lint --issuer https://oidc.example/cluster -\n"
            "  sts-broker trust lint --format sarif policies/*.json > trust.sarif"
        ),
    ),
    "explain": (
        "say whether a token is let in by a trust policy, and if not, why",
        (
            "For each statement: the conditions that fail, what they expect, what the token has, the smallest change.\n"
            "The token is not sent, verified or printed: STS also checks its signature, its age and the provider."
        ),
        (
            "exit codes:\n"
            "  0 let in    1 not let in    2 the policy could not be read    3 the token cannot be used\n\n"
            "examples:\n"
            "  sts-broker trust explain --policy trust.json\n"
            "  sts-broker trust explain --policy trust.json --token token.jwt --json\n"
            "  aws iam get-role --role-name app --query Role.AssumeRolePolicyDocument | \\\n"
            "    sts-broker trust explain --policy - --role-arn arn:aws:iam::123456789012:role/app"
        ),
    ),
    "render": (
        "print the trust policy for a token, or for service accounts",
        (
            "Issuer, audience and subject come from the options, or from the token. The text is that of\n"
            "iam-policies/, which the Terraform modules use too. What `trust lint` finds fault with is not printed."
        ),
        (
            "exit codes:\n"
            "  0 printed    2 no good policy comes of these options    3 the token is needed and cannot be read\n\n"
            "examples:\n"
            "  sts-broker trust render --account 123456789012                    # for the pod's own token\n"
            "  sts-broker trust render --account 123456789012 --issuer https://oidc.example/cluster \\\n"
            "    --namespace shop --service-account cart --service-account till\n"
            "  sts-broker trust render --account 123456789012 --token token.jwt | sts-broker trust lint -"
        ),
    ),
}


def add_verbs(trust: argparse.ArgumentParser) -> None:
    """Add lint, explain and render to the verb."""
    verbs = trust.add_subparsers(title="verbs", metavar="VERB", required=True)
    _add_lint(_add(verbs, "lint", _lint))
    _add_explain(_add(verbs, "explain", _explain))
    _add_render(_add(verbs, "render", _render))


def _add(
    verbs: argparse._SubParsersAction[argparse.ArgumentParser], name: str, call: Callable[[argparse.Namespace], int]
) -> argparse.ArgumentParser:
    summary, more, epilog = _VERBS[name]
    verb = verbs.add_parser(
        name,
        help=summary,
        description=f"{summary}\n\n{more}",
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    verb.set_defaults(verb=call)
    return verb


def _add_lint(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("files", nargs="+", metavar="FILE", help="a policy or a plan, or - for standard input")
    verb.add_argument("--format", choices=("text", "json", "sarif"), default="text", help="how to tell (default: text)")
    verb.add_argument("--issuer", default="", metavar="URL", help="the one issuer expected (default: any)")
    verb.add_argument(
        "--account", default="", metavar="ID", help="the roles' account (default: the OIDC provider's, or the plan's)"
    )
    verb.add_argument(
        "--ignore", action="append", default=[], metavar="RULE", help="leave out a rule; may be given several times"
    )


def _add_explain(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--policy", required=True, metavar="FILE", help="the trust policy, or - for standard input")
    _add_token(verb)
    verb.add_argument(
        "--role-arn", default="", metavar="ARN", help="whose policy it is (default: AWS_ROLE_ARN, if set)"
    )
    verb.add_argument(
        "--session-name", default="", metavar="NAME", help="(default: as the broker makes it of the token)"
    )
    verb.add_argument("--json", action="store_true", help="print one JSON object")


def _add_render(verb: argparse.ArgumentParser) -> None:
    _add_token(verb)
    verb.add_argument("--account", default="", metavar="ID", help="the role's account (default: that of AWS_ROLE_ARN)")
    verb.add_argument("--partition", default="", metavar="P", help="(default: that of AWS_ROLE_ARN, or aws)")
    verb.add_argument("--issuer", default="", metavar="URL", help="(default: the token's)")
    verb.add_argument(
        "--audience", action="append", default=[], metavar="A", help="(default: sts.amazonaws.com, if the token has it)"
    )
    verb.add_argument(
        "--subject", action="append", default=[], metavar="S", help="in full; may be given several times, as all these:"
    )
    verb.add_argument("--namespace", action="append", default=[], metavar="N", help="one for each, or for all …")
    verb.add_argument("--service-account", action="append", default=[], metavar="NAME", help="… service accounts")


def _add_token(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--token",
        default="",
        metavar="FILE",
        help="the token's file, or - for standard input (default: AWS_WEB_IDENTITY_TOKEN_FILE)",
    )


def _lint(options: argparse.Namespace) -> int:
    from broker.trust import commands  # noqa: PLC0415

    return commands.lint_files(
        options.files, issuer=options.issuer, account=options.account, ignored=options.ignore, form=options.format
    )


def _explain(options: argparse.Namespace) -> int:
    from broker.trust import commands  # noqa: PLC0415

    question = commands.Question(
        policy=options.policy,
        token=options.token,
        role_arn=options.role_arn,
        session_name=options.session_name,
        as_json=options.json,
    )
    return commands.explain_token(question, os.environ)


def _render(options: argparse.Namespace) -> int:
    from broker.trust import commands  # noqa: PLC0415
    from broker.trust.render_request import Wanted  # noqa: PLC0415

    wanted = Wanted(
        token=options.token,
        issuer=options.issuer,
        audiences=tuple(options.audience),
        subjects=tuple(options.subject),
        namespaces=tuple(options.namespace),
        service_accounts=tuple(options.service_account),
        account=options.account,
        partition=options.partition,
    )
    return commands.render_policy(wanted, os.environ)
