"""Lint a trust policy: report every rule that it breaks, with statement and line.

The code is pure. A policy without findings admits only the subjects and audiences that it names; a property test
checks this promise against the evaluator. Of statements for AWS services and SAML providers, only the form is checked;
`unjudged` lists them, and whatever else this module passes over.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from broker.policy.document import count_characters_without_space, read_json
from broker.policy.statements import find_unknown_elements
from broker.trust.linter import chained, conditions, web_identity
from broker.trust.linter.rule import LintFinding
from broker.trust.linter.rules import RULES
from broker.trust.linter.statement import parse_provider_arn, read_statements
from broker.trust.planned_document import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from broker.policy.document import Document
    from broker.trust.linter.statement import Statement

BrokenRule: TypeAlias = tuple[str, str]
"""The ID of a rule, and the detail found."""
_VERSION = "2012-10-17"
_MAXIMUM_LENGTH = 2048
"""IAM's default quota for a trust policy, in characters other than white space. It can be raised to 8,192."""
_FORBIDDEN = re.compile(r"[^\t\n\r\x20-\xff]")
"""Characters that IAM rejects in policies (IAM User Guide, reference_iam-quotas, name requirements)."""
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
    """What the policy must agree with: the issuer, without https://, and the role's account. "" is any."""

    issuer: str = ""
    account: str = ""


def lint(text: str, expected: Expected) -> tuple[LintFinding, ...]:
    """Return the findings on a policy, in the order of the text. Raises PolicyMalformedError."""
    document = read_json(text)
    statements = read_statements(document)
    accounts = _list_accounts(statements)
    account = expected.account or (accounts[0] if len(accounts) == 1 else "")
    findings = [
        LintFinding(rule=RULES[rule], statement="", line=document.root.line, detail=detail)
        for rule, detail in _check_document(document, text, statements)
    ]
    if len(accounts) > 1 and not expected.account:
        detail = f"providers of the accounts {', '.join(accounts)}; pass --account for the role's"
        findings.append(LintFinding(rule=RULES["other-account"], statement="", line=document.root.line, detail=detail))
    findings += [
        LintFinding(
            rule=RULES["duplicate-key"], statement="", line=duplicate.line, detail=f"{duplicate.key} appears twice"
        )
        for duplicate in document.duplicates
    ]
    findings += [
        LintFinding(rule=RULES[rule], statement=statement.name, line=statement.line, detail=detail)
        for statement in statements
        for rule, detail in dict.fromkeys(_check_statement(statement, statements, expected, account))
    ]
    return tuple(findings)


def _list_accounts(statements: Sequence[Statement]) -> list[str]:
    """Return the accounts of the OIDC providers that are allowed. It has to be one: that of the role."""
    names = (name for one in statements if one.is_allow for name in one.principals.get("Federated", ()))
    return sorted({provider[0] for provider in map(parse_provider_arn, names) if provider})


def _check_document(document: Document, text: str, statements: Sequence[Statement]) -> Iterator[BrokenRule]:
    policy = document.root.value
    if policy.get("Version") != _VERSION:
        yield "version", f"Version is {policy['Version']!r}" if "Version" in policy else "Version is missing"
    length = count_characters_without_space(text)
    if length > _MAXIMUM_LENGTH:
        yield "too-long", f"{length:,} characters, not counting white space"
    rejected = sorted(set(_FORBIDDEN.findall(text)))
    if rejected:
        yield (
            "malformed",
            f"characters that IAM rejects: {', '.join(f'U+{ord(one):04X}' for one in rejected)}",
        )
    for element in sorted(policy.keys() - _DOCUMENT_ELEMENTS):
        yield "unknown-element", f"{element} alongside Version and Statement"
    yield from _check_allows(statements)


def _check_allows(statements: Sequence[Statement]) -> Iterator[BrokenRule]:
    overriding = [[deny.name for deny in statements if _is_override(deny, one)] for one in statements if one.is_allow]
    if not overriding:
        yield "no-allow", "no statement has Effect Allow"
    elif all(overriding):
        names = " and ".join(sorted(set(itertools.chain(*overriding))))
        yield "no-allow", f"{names} denies unconditionally everything that is allowed"


def _is_override(deny: Statement, allow: Statement) -> bool:
    """Return whether a Deny without conditions denies everybody whom an Allow admits."""
    if deny.raw.get("Effect") != "Deny" or deny.raw.get("Condition", {}) != {} or not allow.principals:
        return False
    named = ((kind, name) for kind, names in allow.principals.items() for name in names)
    denies_everybody = "*" in deny.principals.get("AWS", ())
    covers_principals = all(
        denies_everybody or {name, "*"} & set(deny.principals.get(kind, ())) for kind, name in named
    )
    return covers_principals and bool(allow.actions) and all(map(deny.has_action, allow.actions))


def _check_statement(
    statement: Statement, statements: Sequence[Statement], expected: Expected, account: str
) -> Iterator[BrokenRule]:
    yield from _check_elements(statement)
    if [other.name for other in statements].count(statement.name) > 1:
        yield "sid", f"several statements have the Sid {statement.name}"
    if statement.raw.get("Sid") and not _SID.fullmatch(statement.name):
        yield "sid", f"{statement.name} has characters other than letters and digits"
    for fault in statement.faults:
        yield "malformed", fault
    yield from conditions.find_duplicate_keys(statement.conditions)
    if not statement.is_allow:
        yield from web_identity.find_mistakes(statement)
        return
    yield from _check_actions(statement)
    if any("*" in names for names in statement.principals.values()):
        yield "any-principal", "Principal is *"
    if statement.is_for_web_identities and not statement.is_for_saml:
        yield from web_identity.find_weaknesses(statement, issuer=expected.issuer, account=expected.account)
    elif "AWS" in statement.principals:
        yield from chained.find_weaknesses(statement, account=account)


def _check_elements(statement: Statement) -> Iterator[BrokenRule]:
    for element in ("NotAction", "NotPrincipal", "NotResource"):
        if element in statement.raw:
            yield "negated-element", f"{element} {statement.raw[element]!r}"
    for element in find_unknown_elements(statement.raw):
        yield "unknown-element", f"{element} isn't an element of a statement"
    if "Resource" in statement.raw:
        yield "unknown-element", "Resource: the only resource of a trust policy is its role"


def _check_actions(statement: Statement) -> Iterator[BrokenRule]:
    for action in statement.actions:
        if action == UNKNOWN:
            continue
        if "*" in action or "?" in action:
            yield "wide-action", f"Action is {action}"
        elif action.lower() not in _ACTIONS:
            yield "action-mismatch", f"{action} isn't an action of a trust policy"
    if not statement.actions and "Action" in statement.raw:
        yield "action-mismatch", "Action is empty"
