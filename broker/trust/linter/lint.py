"""Lints a trust policy: every rule of `trust_rules` that it breaks, by statement and line.

Rules: pure; a policy that has no finding lets in no subject and no audience but those that it names (a property test
holds that against the evaluator). Statements for AWS services are looked at as JSON only: they are not our subject.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from broker.policy.document import length_without_space, read_json
from broker.policy.statements import unknown_elements
from broker.trust.linter import chained, conditions, web_identity
from broker.trust.linter.rules import RULES, Finding
from broker.trust.linter.statement import provider_of, read_statements

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from broker.policy.document import Document
    from broker.trust.linter.statement import Statement

Found: TypeAlias = tuple[str, str]
"""The id of a rule, and what was found."""
_VERSION = "2012-10-17"
_MAXIMUM_LENGTH = 2048
"""IAM's default quota for a role's trust policy, in characters that are no white space (it can be raised to 8,192)."""
_FORBIDDEN = re.compile(r"[^\t\n\r\x20-\xff]")
"""IAM's name requirements (reference_iam-quotas) leave policies these characters only."""
_SID = re.compile(r"[A-Za-z0-9]+")
_ACTIONS = frozenset(
    {
        "sts:assumerole",
        "sts:assumerolewithsaml",
        "sts:assumerolewithwebidentity",
        "sts:setcontext",
        "sts:setsourceidentity",
        "sts:tagsession",
    }
)
_DOCUMENT_ELEMENTS = {"Version", "Id", "Statement"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What the policy is held against: the one issuer, without https://, and the role's account; "" where unknown."""

    issuer: str = ""
    account: str = ""


def lint(text: str, expected: Expected) -> tuple[Finding, ...]:
    """Return what is wrong with a policy, in the order of the text. PolicyMalformedError: it cannot be read."""
    document = read_json(text)
    statements = read_statements(document)
    account = expected.account or _account_of(statements)
    findings = [
        Finding(rule=RULES[rule], statement="", line=document.root.line, detail=detail)
        for rule, detail in _of_document(document, text, statements)
    ]
    findings += [
        Finding(rule=RULES["duplicate-key"], statement="", line=duplicate.line, detail=f"{duplicate.key} stands twice")
        for duplicate in document.duplicates
    ]
    findings += [
        Finding(rule=RULES[rule], statement=statement.name, line=statement.line, detail=detail)
        for statement in statements
        for rule, detail in dict.fromkeys(_of_statement(statement, statements, expected.issuer, account))
    ]
    return tuple(findings)


def _account_of(statements: Sequence[Statement]) -> str:
    """Tell the role's account: an OIDC provider is in the same one."""
    names = (name for statement in statements for name in statement.principals.get("Federated", ()))
    accounts = {provider[0] for provider in map(provider_of, names) if provider}
    return accounts.pop() if len(accounts) == 1 else ""


def _of_document(document: Document, text: str, statements: Sequence[Statement]) -> Iterator[Found]:
    policy = document.root.value
    if policy.get("Version") != _VERSION:
        yield "version", f"Version is {policy['Version']!r}" if "Version" in policy else "there is no Version"
    length = length_without_space(text)
    if length > _MAXIMUM_LENGTH:
        yield "too-long", f"{length:,} characters without white space"
    strange = sorted(set(_FORBIDDEN.findall(text)))
    if strange:
        yield (
            "malformed",
            f"characters that IAM takes in no policy: {', '.join(f'U+{ord(one):04X}' for one in strange)}",
        )
    for element in sorted(policy.keys() - _DOCUMENT_ELEMENTS):
        yield "unknown-element", f"{element} beside Version and Statement"
    yield from _of_allows(statements)


def _of_allows(statements: Sequence[Statement]) -> Iterator[Found]:
    undoing = [[deny.name for deny in statements if _undoes(deny, one)] for one in statements if one.allows]
    if not undoing:
        yield "no-allow", "there is no statement with Effect Allow"
    elif all(undoing):
        names = " and ".join(sorted(set(itertools.chain(*undoing))))
        yield "no-allow", f"{names} denies, without a condition, all that is allowed"


def _undoes(deny: Statement, allow: Statement) -> bool:
    """Say whether a Deny without conditions keeps out everybody whom an Allow lets in."""
    if deny.raw.get("Effect") != "Deny" or deny.raw.get("Condition", {}) != {} or not allow.principals:
        return False
    named = ((kind, name) for kind, names in allow.principals.items() for name in names)
    is_for_all = "*" in deny.principals.get("AWS", ())
    keeps_out = all(is_for_all or {name, "*"} & set(deny.principals.get(kind, ())) for kind, name in named)
    return keeps_out and bool(allow.actions) and all(map(deny.covers, allow.actions))


def _of_statement(statement: Statement, statements: Sequence[Statement], issuer: str, account: str) -> Iterator[Found]:
    yield from _of_elements(statement)
    if [other.name for other in statements].count(statement.name) > 1:
        yield "sid", f"several statements are called {statement.name}"
    if statement.raw.get("Sid") and not _SID.fullmatch(statement.name):
        yield "sid", f"{statement.name} has other characters than letters and digits"
    for fault in statement.faults:
        yield "malformed", fault
    yield from conditions.find_doubles(statement.conditions)
    if not statement.allows:
        yield from web_identity.find_slips(statement)
        return
    yield from _of_actions(statement)
    if any("*" in names for names in statement.principals.values()):
        yield "any-principal", "Principal is *"
    if statement.is_for_web_identities:
        yield from web_identity.find_weaknesses(statement, issuer=issuer)
    elif "AWS" in statement.principals:
        yield from chained.find_weaknesses(statement, account=account)


def _of_elements(statement: Statement) -> Iterator[Found]:
    for element in ("NotAction", "NotPrincipal", "NotResource"):
        if element in statement.raw:
            yield "negated-element", f"{element} {statement.raw[element]!r}"
    for element in unknown_elements(statement.raw):
        yield "unknown-element", f"{element} is no element of a statement"
    if "Resource" in statement.raw:
        yield "unknown-element", "Resource: the role that has a trust policy is the only resource"


def _of_actions(statement: Statement) -> Iterator[Found]:
    for action in statement.actions:
        if "*" in action or "?" in action:
            yield "wide-action", f"Action is {action}"
        elif action.lower() not in _ACTIONS:
            yield "action-mismatch", f"{action} is no action of a trust policy"
    if not statement.actions and "Action" in statement.raw:
        yield "action-mismatch", "Action names nothing"
