"""The commands `sts-broker trust lint`, `explain` and `render`: check options, read inputs, print results."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from broker.core.clock import SystemClock
from broker.core.errors import ConfigurationError, TokenMalformed
from broker.core.model import DEFAULT_TOKEN_FILE, printable, redacted
from broker.core.spelling import suggest
from broker.discovery.issuer_url import examine
from broker.policy.document import PolicyMalformedError
from broker.tokens.token_file import find_unfitness
from broker.tokens.token_report import read_token
from broker.trust.explain import explain
from broker.trust.explanation_report import ExplanationReport, as_json, as_text
from broker.trust.linter.lint import Expected, lint
from broker.trust.linter.report import LintReport, LocatedFinding, write_report
from broker.trust.linter.rules import RULES
from broker.trust.linter.unjudged import find_unjudged
from broker.trust.render import render
from broker.trust.render_request import RenderOptions, resolve_identities
from broker.trust.sources import STANDARD_INPUT, find_sources
from broker.trust.web_identities import find_issuer_fault, identify

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from broker.core.errors import TokenError
    from broker.core.model import BoundToken
    from broker.trust.sources import Source

_EXIT_FINDINGS, _EXIT_NOT_ALLOWED, _EXIT_UNREADABLE, _EXIT_NOT_JUDGED = 1, 1, 2, 3
_ACCOUNT = re.compile(r"\d{12}", re.ASCII)
_SESSION_NAME = re.compile(r"[A-Za-z0-9_+=,.@-]{2,64}")
_ROLE = re.compile(r"arn:(aws[a-z-]*):iam::(\d{12}):role/.+")


@dataclass(frozen=True, slots=True, kw_only=True)
class LintOptions:
    """The options of `lint`.

    `issuer` is the only issuer that the policies may trust, "" for any. `account` is the roles' account, "" where it is
    unknown. `ignored` has the IDs of rules to skip, and `form` is the output format: text, json or sarif. Where
    `allows_unjudged` is true, what cannot be judged does not change the exit code.
    """

    issuer: str = ""
    account: str = ""
    ignored: Collection[str] = ()
    form: str = "text"
    allows_unjudged: bool = False


def lint_files(files: Sequence[str], options: LintOptions) -> int:
    """Print the findings on the policies in these files; `-` is standard input.

    Returns:
        The exit code: 0 without findings, 1 with findings, 2 where an input cannot be read, and 3 without findings
        where a policy or a part of one cannot be judged.

    Raises:
        ConfigurationError: An option has a value that cannot match anything.
    """
    _check_lint_options(options)
    sources = find_sources(files)
    report = LintReport(faults=list(sources.faults), unjudged=list(sources.unknown), notes=list(sources.notes))
    for source in sources.policies:
        _lint_source(source, options, report)
    write_report(report, form=options.form)
    for line in (*report.notes, *(f"not judged: {one}" for one in report.unjudged), *report.faults):
        _print_error(line)
    if report.faults:
        return _EXIT_UNREADABLE
    if report.findings:
        return _EXIT_FINDINGS
    if not report.unjudged or options.allows_unjudged:
        return 0
    _print_error("no findings, but not everything could be judged; to exit with 0 all the same, pass --allow-unjudged")
    return _EXIT_NOT_JUDGED


def _lint_source(source: Source, options: LintOptions, report: LintReport) -> None:
    """Add the result of one policy to the report."""
    issuer, account = options.issuer.removeprefix("https://"), options.account or source.account
    try:
        found = lint(source.text, Expected(issuer=issuer, account=account))
        unjudged = find_unjudged(source.text)
    except PolicyMalformedError as error:
        report.faults.append(f"{source.place}: {error}")
        return
    report.policies += 1
    report.findings += [
        LocatedFinding(source=source, finding=one) for one in found if one.rule.id not in options.ignored
    ]
    for one in unjudged:
        listed = report.notes if one.is_by_design else report.unjudged
        listed.append(f"{source.place}: {one.statement}: {one.reason}")


def _check_lint_options(options: LintOptions) -> None:
    issuer, account, ignored = options.issuer, options.account, options.ignored
    faults = [
        f"--ignore {name}: unknown rule{suggest(name, RULES)}. docs/trust.md lists the rules."
        for name in sorted(set(ignored) - RULES.keys())
    ]
    if account and not _ACCOUNT.fullmatch(account):
        faults.append(f"--account is {account}; expected 12 digits.")
    if issuer:
        faults += [f"--issuer: {one.found} {one.remedy}" for one in examine(issuer)]
    if faults:
        raise ConfigurationError(tuple(faults))


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainOptions:
    """The options of `explain`. `token` and `policy` are files, or -.

    Where another value is empty, the environment has it.
    """

    policy: str
    token: str = ""
    role_arn: str = ""
    session_name: str = ""
    as_json: bool = False


def explain_token(options: ExplainOptions, environ: Mapping[str, str]) -> int:
    """Print how a policy treats a token.

    Returns:
        The exit code: 0 allowed, 1 not allowed, 2 where the policy cannot be read, 3 where STS would reject the token.

    Raises:
        ConfigurationError: The options contradict each other or are invalid.
        TokenError: The token's claims cannot be read.
    """
    if options.policy == options.token == STANDARD_INPUT:
        raise ConfigurationError(("--policy and --token are both -. Pass a file for one of them.",))
    role = _parse_role(options.role_arn or environ.get("AWS_ROLE_ARN", ""))
    source = _find_only_policy(options.policy)
    if source is None:
        return _EXIT_UNREADABLE
    session_name = _choose_session_name(options, environ)
    bound, origin = read_token_in(options.token, environ)
    identity = identify(bound, role=role, session_name=session_name)
    try:
        explanation = explain(source.text, identity)
    except PolicyMalformedError as error:
        _print_error(f"{source.place}: {error}")
        return _EXIT_UNREADABLE
    token_fault: TokenError | None = find_issuer_fault(bound, origin=origin)
    if token_fault is not None:
        explanation = replace(explanation, allowed=False, reason="IAM accepts no provider for this token's issuer")
    else:
        now = SystemClock().read().now
        token_fault = find_unfitness(bound, audience=explanation.audience, now=now, origin=origin)
    report = ExplanationReport(
        source=source, token=bound, origin=origin, identity=identity, explanation=explanation, token_fault=token_fault
    )
    sys.stdout.write(json.dumps(as_json(report), indent=2) + "\n" if options.as_json else as_text(report))
    if token_fault is not None:
        return token_fault.exit_code
    return 0 if explanation.allowed else _EXIT_NOT_ALLOWED


def _choose_session_name(options: ExplainOptions, environ: Mapping[str, str]) -> str:
    """Return the session name of the options or the environment, or "" where neither has one."""
    session_name = options.session_name or environ.get("AWS_ROLE_SESSION_NAME", "")
    if session_name and not _SESSION_NAME.fullmatch(session_name):
        found = f"The session name (--session-name, AWS_ROLE_SESSION_NAME) is {printable(session_name)}"
        raise ConfigurationError((f"{found}; expected 2 to 64 letters, digits and any of +=,.@_-.",))
    return session_name


def render_policy(options: RenderOptions, environ: Mapping[str, str]) -> int:
    """Print the trust policy for a token or for the identities in the options. Return 0.

    Raises:
        ConfigurationError: The input makes no policy that `trust lint` accepts.
        TokenError: The token is needed and cannot be read.
    """
    role = _parse_role(environ.get("AWS_ROLE_ARN", "")) if not (options.account and options.partition) else None
    trusted = resolve_identities(options, role=role, read_claims=lambda path: read_token_in(path, environ)[0].claims)
    sys.stdout.write(render(trusted))
    return 0


def read_token_in(path: str, environ: Mapping[str, str]) -> tuple[BoundToken, str]:
    """Return the token in a file (`path` "": in the broker's token file), and its origin. Raises TokenError."""
    is_given = bool(path)
    path = path or environ.get("AWS_WEB_IDENTITY_TOKEN_FILE", "") or DEFAULT_TOKEN_FILE
    origin = "standard input" if path == STANDARD_INPUT else path
    token = read_token(path, is_given=is_given)
    if not token.claims.audiences:
        raise TokenMalformed(f"The token in {origin} has no audience; expected one.", "STS rejects such a token.")
    return token, origin


def _parse_role(arn: str) -> tuple[str, str] | None:
    """Return partition and account of a role's ARN, or None for "". Raises ConfigurationError."""
    if not arn:
        return None
    found = _ROLE.fullmatch(arn)
    if found is None:
        raise ConfigurationError(
            (f"The role ARN (--role-arn, AWS_ROLE_ARN) is {arn}; expected arn:aws:iam::ACCOUNT:role/NAME.",)
        )
    return found[1], found[2]


def _find_only_policy(path: str) -> Source | None:
    """Return the only policy in a file. Where it has none or several, print why and return None."""
    sources = find_sources([path])
    for line in (*sources.faults, *sources.unknown):
        _print_error(line)
    if len(sources.policies) == 1 and not sources.policies[0].is_partial:
        return sources.policies[0]
    if any(source.is_partial for source in sources.policies):
        _print_error(f"{path}: the plan knows its trust policy only in parts; apply it, and pass the role's policy")
    elif not sources.faults:
        found = ", ".join(source.address for source in sources.policies) or "none"
        _print_error(f"{path}: expected one trust policy, found {found}")
    return None


def _print_error(line: str) -> None:
    sys.stderr.write(f"sts-broker: {redacted(printable(line))}\n")
