"""The commands `sts-broker trust lint`, `explain` and `render`: check options, read inputs, print results."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from broker.core.clock import SystemClock
from broker.core.errors import ConfigurationError, TokenMalformed
from broker.core.model import DEFAULT_TOKEN_FILE, printable, redacted, session_name_for
from broker.core.spelling import suggest
from broker.discovery.issuer_url import examine
from broker.policy.document import PolicyMalformedError
from broker.tokens.token_file import find_unfitness
from broker.tokens.token_report import read_token
from broker.trust.explain import WebIdentity, explain
from broker.trust.explanation_report import ExplanationReport, as_json, as_text
from broker.trust.linter.lint import Expected, lint
from broker.trust.linter.report import LocatedFinding, write_report
from broker.trust.linter.rules import RULES
from broker.trust.render import render
from broker.trust.render_request import RenderOptions, resolve_identities
from broker.trust.sources import STANDARD_INPUT, find_sources

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from broker.core.model import BoundToken
    from broker.trust.sources import Source

_EXIT_FINDINGS, _EXIT_NOT_ALLOWED, _EXIT_UNREADABLE = 1, 1, 2
_ACCOUNT = re.compile(r"\d{12}", re.ASCII)
_SESSION_NAME = re.compile(r"[A-Za-z0-9_+=,.@-]{2,64}")
_ROLE = re.compile(r"arn:(aws[a-z-]*):iam::(\d{12}):role/.+")


def lint_files(files: Sequence[str], *, issuer: str, account: str, ignored: Collection[str], form: str) -> int:
    """Print the findings on the policies in these files.

    Args:
        files: Policies or Terraform plans; `-` is standard input.
        issuer: The only issuer that the policies may trust, "" for any.
        account: The roles' account, "" where it is unknown.
        ignored: IDs of rules to skip.
        form: The output format: text, json or sarif.

    Returns:
        The exit code: 0 without findings, 1 with findings, 2 where an input cannot be read.

    Raises:
        ConfigurationError: An option has a value that cannot match anything.
    """
    _check_lint_options(issuer, account, ignored)
    sources = find_sources(files)
    faults, findings = list(sources.faults), list[LocatedFinding]()
    for source in sources.policies:
        expected = Expected(issuer=issuer.removeprefix("https://"), account=account or source.account)
        try:
            found = lint(source.text, expected)
        except PolicyMalformedError as error:
            faults.append(f"{source.place}: {error}")
        else:
            findings += [LocatedFinding(source=source, finding=one) for one in found if one.rule.id not in ignored]
    write_report(findings, policies=len(sources.policies), form=form)
    for line in (*sources.notes, *faults):
        _print_error(line)
    if faults:
        return _EXIT_UNREADABLE
    return _EXIT_FINDINGS if findings else 0


def _check_lint_options(issuer: str, account: str, ignored: Collection[str]) -> None:
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
    identity = WebIdentity(
        issuer=bound.claims.issuer,
        subject=bound.claims.subject,
        audiences=bound.claims.audiences,
        session_name=session_name or session_name_for(bound.claims),
        role=role,
    )
    try:
        explanation = explain(source.text, identity)
    except PolicyMalformedError as error:
        _print_error(f"{source.place}: {error}")
        return _EXIT_UNREADABLE
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
    for fault in sources.faults:
        _print_error(fault)
    if len(sources.policies) == 1:
        return sources.policies[0]
    if not sources.faults:
        found = ", ".join(source.address for source in sources.policies) or "none"
        _print_error(f"{path}: expected one trust policy, found {found}")
    return None


def _print_error(line: str) -> None:
    sys.stderr.write(f"sts-broker: {redacted(printable(line))}\n")
