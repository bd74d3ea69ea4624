"""`sts-broker trust`: lint, explain, render. Judges trust policies before deployment, and a token against one."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from broker.core.clock import SystemClock
from broker.core.errors import ConfigurationError, TokenMalformed
from broker.core.model import DEFAULT_TOKEN_FILE, printable, redacted, session_name_for
from broker.discovery.issuer_url import examine
from broker.policy.document import PolicyMalformedError
from broker.tokens.token_file import find_unfitness
from broker.tokens.token_report import read_token
from broker.trust.explain import Asker, explain
from broker.trust.explanation import Answer, as_json, as_text
from broker.trust.linter.lint import Expected, lint
from broker.trust.linter.report import Reported, write_report
from broker.trust.linter.rules import RULES
from broker.trust.render import render
from broker.trust.render_request import Wanted, trusted_for
from broker.trust.sources import STANDARD_INPUT, find_sources

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from broker.core.model import BoundToken
    from broker.trust.sources import Source

_FOUND, _REFUSED, _UNREADABLE = 1, 1, 2
_ACCOUNT = re.compile(r"\d{12}", re.ASCII)
_SESSION_NAME = re.compile(r"[A-Za-z0-9_+=,.@-]{2,64}")
_ROLE = re.compile(r"arn:(aws[a-z-]*):iam::(\d{12}):role/.+")


def lint_files(files: Sequence[str], *, issuer: str, account: str, ignored: Collection[str], form: str) -> int:
    """Print what is wrong with the policies in these files. Return 0 clean, 1 findings, 2 something is unreadable.

    `issuer` and `account` "" stand for any; ConfigurationError: one of the options can mean nothing.
    """
    options = [f"--ignore {name}: there is no such rule" for name in sorted(set(ignored) - RULES.keys())]
    if account and not _ACCOUNT.fullmatch(account):
        options.append(f"--account {account}: expected 12 digits")
    if issuer:
        options += [f"--issuer: {one.found} {one.remedy}" for one in examine(issuer)]
    if options:
        raise ConfigurationError(tuple(options))
    sources = find_sources(files)
    faults, reported = list(sources.faults), list[Reported]()
    for source in sources.policies:
        expected = Expected(issuer=issuer.removeprefix("https://"), account=account or source.account)
        try:
            findings = lint(source.text, expected)
        except PolicyMalformedError as error:
            faults.append(f"{source.place}: {error}")
        else:
            reported += [Reported(source=source, finding=one) for one in findings if one.rule.id not in ignored]
    write_report(reported, policies=len(sources.policies), form=form)
    for line in (*sources.notes, *faults):
        _complain(line)
    if faults:
        return _UNREADABLE
    return _FOUND if reported else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What `explain` was asked; "" stands for what the environment says. `token` and `policy` are files, or -."""

    policy: str
    token: str = ""
    role_arn: str = ""
    session_name: str = ""
    as_json: bool = False


def explain_token(question: Question, environ: Mapping[str, str]) -> int:
    """Print what a policy says to a token. Return 0 let in, 1 not, 2 the policy is unreadable, 3 the token unusable.

    Raises TokenError where there are no claims to ask with, ConfigurationError where the question makes no sense.
    """
    if question.policy == question.token == STANDARD_INPUT:
        raise ConfigurationError(("--policy and --token are both -: standard input holds one of them",))
    role = _role(question.role_arn or environ.get("AWS_ROLE_ARN", ""))
    source = _only_policy(question.policy)
    if source is None:
        return _UNREADABLE
    session_name = question.session_name or environ.get("AWS_ROLE_SESSION_NAME", "")
    if session_name and not _SESSION_NAME.fullmatch(session_name):
        told = f"--session-name, or AWS_ROLE_SESSION_NAME, {printable(session_name)}"
        raise ConfigurationError((f"{told}: expected 2 to 64 letters, digits and any of +=,.@_-",))
    bound, origin = token_in(question.token, environ)
    asker = Asker(
        issuer=bound.claims.issuer,
        subject=bound.claims.subject,
        audiences=bound.claims.audiences,
        session_name=session_name or session_name_for(bound.claims),
        role=role,
    )
    try:
        explanation = explain(source.text, asker)
    except PolicyMalformedError as error:
        _complain(f"{source.place}: {error}")
        return _UNREADABLE
    now = SystemClock().read().now
    unfit = find_unfitness(bound, audience=explanation.audience, now=now, origin=origin)
    answer = Answer(source=source, token=bound, origin=origin, asker=asker, explanation=explanation, unfit=unfit)
    sys.stdout.write(json.dumps(as_json(answer), indent=2) + "\n" if question.as_json else as_text(answer))
    if unfit is not None:
        return unfit.exit_code
    return 0 if explanation.allowed else _REFUSED


def render_policy(wanted: Wanted, environ: Mapping[str, str]) -> int:
    """Print the trust policy for a token, or for what the options say of one. Return 0.

    Raises ConfigurationError where no good policy comes of it, TokenError where the token is needed and unreadable.
    """
    role = _role(environ.get("AWS_ROLE_ARN", "")) if not (wanted.account and wanted.partition) else None
    trusted = trusted_for(wanted, role=role, claims_of=lambda path: token_in(path, environ)[0].claims)
    sys.stdout.write(render(trusted))
    return 0


def token_in(path: str, environ: Mapping[str, str]) -> tuple[BoundToken, str]:
    """Return the token in a file, or where the broker looks for it; and where that is. Raises TokenError."""
    path = path or environ.get("AWS_WEB_IDENTITY_TOKEN_FILE", "") or DEFAULT_TOKEN_FILE
    origin = "standard input" if path == STANDARD_INPUT else path
    token = read_token(path)
    if not token.claims.audiences:
        raise TokenMalformed(f"The token in {origin} has no audience; expected one.", "STS refuses such a token.")
    return token, origin


def _role(arn: str) -> tuple[str, str] | None:
    """Return partition and account of a role. Raises ConfigurationError."""
    if not arn:
        return None
    found = _ROLE.fullmatch(arn)
    if found is None:
        raise ConfigurationError((f"--role-arn, or AWS_ROLE_ARN, {arn}: expected arn:aws:iam::ACCOUNT:role/NAME",))
    return found[1], found[2]


def _only_policy(path: str) -> Source | None:
    """Return the one policy in a file; None, and why on standard error, where there is none or several."""
    sources = find_sources([path])
    for fault in sources.faults:
        _complain(fault)
    if len(sources.policies) == 1:
        return sources.policies[0]
    if not sources.faults:
        found = ", ".join(source.address for source in sources.policies) or "none"
        _complain(f"{path}: one trust policy was expected, found {found}")
    return None


def _complain(line: str) -> None:
    sys.stderr.write(f"sts-broker: {redacted(printable(line))}\n")
