"""Check a statement that admits the tokens of a cluster.

Such a statement names one OIDC provider, and restricts both of its condition keys, `:sub` and `:aud`, to full values.
A policy without findings therefore admits only what it names.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from broker.trust.linter import conditions
from broker.trust.linter.conditions import has_wildcard
from broker.trust.linter.statement import WEB_IDENTITY, parse_provider_arn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broker.trust.linter.statement import Condition, Statement

_ISSUER = re.compile(r"[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*(?:/[A-Za-z0-9._~%!$&'()+,;=@-]+)*")
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_PREFIX = rf"system:serviceaccount:{_LABEL}:"
_SUBJECT = re.compile(rf"{_PREFIX}(?=.{{1,253}}$){_LABEL}(?:\.{_LABEL})*")
"""Namespaces are DNS labels; service accounts are DNS subdomains."""
_AUDIENCE = re.compile(r"[!-~]+")
_ONE_NAMESPACE = re.compile(rf"{_PREFIX}[^:]*")
_ABSENT_GLOBAL_KEYS = (
    "aws:principal",
    "aws:requesttag/",
    "aws:tagkeys",
    "aws:sourceidentity",
    "aws:userid",
    "aws:username",
)
"""Absent because the request is unsigned, and a cluster's token carries no tags or source identity."""
_VALUE_RULES = ("subject-form", "audience-form", "policy-variable")
"""The rules on values that apply to Deny statements too."""
_SESSION_NAME = "sts:rolesessionname"
_STRING_OPERATORS = ("StringEquals", "StringLike", "StringEqualsIgnoreCase")


def find_weaknesses(statement: Statement, *, issuer: str) -> Iterator[tuple[str, str]]:
    """Yield the rule and the detail of each fault of an Allow statement for web identities.

    `issuer` is the expected one, "" for any.
    """
    yield from _check_principals(statement, issuer)
    yield from _check_actions(statement)
    for condition in statement.conditions:
        yield from conditions.find_mistakes(condition)
        yield from conditions.find_loopholes(condition)
        yield from _check_key(condition, statement)
        yield from _check_values(condition)
    yield from conditions.find_needless_like(statement.conditions)
    if not statement.conditions:
        yield "no-condition", "the statement has no condition"
        return
    for claim, rule in (("sub", "missing-subject"), ("aud", "missing-audience")):
        for one in statement.issuers or ("",):
            if not any(_is_restriction(condition, one, claim) for condition in statement.conditions):
                yield rule, f"{one or 'ISSUER'}:{claim}"


def find_mistakes(statement: Statement) -> Iterator[tuple[str, str]]:
    """Yield the rule and the detail of each mistake that keeps a Deny statement from denying as intended."""
    for condition in statement.conditions:
        yield from conditions.find_mistakes(condition)
        if _claim_in(condition.key) in ("sub", "aud"):
            yield from _check_issuer_spelling(condition)
            yield from (found for found in _check_values(condition) if found[0] in _VALUE_RULES)


def _check_principals(statement: Statement, issuer: str) -> Iterator[tuple[str, str]]:
    named = [(kind, name) for kind, names in statement.principals.items() for name in names]
    if len(named) > 1:
        yield "several-providers", ", ".join(name for _, name in named)
    for kind, name in named:
        provider = parse_provider_arn(name) if kind == "Federated" else None
        if name == "*":
            continue
        if provider is None:
            yield "other-principal", f"{kind} {name}"
        elif not _ISSUER.fullmatch(provider[1]):
            yield "provider-spelling", name
        elif issuer and provider[1] != issuer:
            yield "other-issuer", f"{provider[1]}; expected {issuer}"


def _check_actions(statement: Statement) -> Iterator[tuple[str, str]]:
    others = [one for one in statement.actions if not has_wildcard(one) and one.lower() != WEB_IDENTITY.lower()]
    if not statement.has_action(WEB_IDENTITY) and others:
        yield "action-mismatch", f"{', '.join(others)} without {WEB_IDENTITY}"
    elif others:
        yield "needless-action", ", ".join(others)


def _claim_in(key: str) -> str:
    return key.lower().rpartition(":")[2]


def _check_key(condition: Condition, statement: Statement) -> Iterator[tuple[str, str]]:
    key, place = condition.key.lower(), f"{condition.operator} {condition.key}"
    if key == _SESSION_NAME or (key.startswith("aws:") and not key.startswith(_ABSENT_GLOBAL_KEYS)):
        return
    prefix, _, claim = key.rpartition(":")
    if prefix in ("", "aws", "sts") or key.startswith("aws:"):
        yield "unknown-key", f"{place}: never present for a cluster's token"
        return
    misspellings = list(_check_issuer_spelling(condition))
    yield from misspellings
    if not misspellings and statement.issuers and prefix not in statement.issuers:
        yield "issuer-mismatch", f"{place}: the provider is {', '.join(statement.issuers)}"
    if claim not in ("sub", "aud"):
        yield "unknown-key", f"{place}: AWS provides only sub and aud of a cluster's tokens"
    elif condition.parsed.bare not in (*_STRING_OPERATORS, "Null") and not condition.parsed.is_negated:
        yield "unknown-operator", f"{place}: doesn't compare strings"
    elif condition.parsed.bare == "Null" and "true" in map(str.lower, condition.values):
        yield "negated-operator", f"{place}: true matches tokens without this key, and every token has it"
    elif "IgnoreCase" in condition.parsed.bare:
        yield "ignores-case", place


def _check_issuer_spelling(condition: Condition) -> Iterator[tuple[str, str]]:
    if not _ISSUER.fullmatch(condition.key.rpartition(":")[0]):
        yield "provider-spelling", condition.key


def _check_values(condition: Condition) -> Iterator[tuple[str, str]]:
    claim, bare = _claim_in(condition.key), condition.parsed.bare
    if claim not in ("sub", "aud") or not bare.startswith("String"):
        return
    for value in condition.values:
        place = f"{condition.operator} {condition.key}: {value}"
        escaped = f"{condition.operator} {condition.key}: {value!a}"  # shows spaces and look-alike characters
        if "${" in value:
            yield "policy-variable", place
        elif has_wildcard(value):
            if bare == "StringLike":
                yield _choose_wildcard_rule(claim, value), place
        elif claim == "sub" and not _SUBJECT.fullmatch(value):
            yield "subject-form", escaped
        elif claim == "aud" and not _AUDIENCE.fullmatch(value):
            yield "audience-form", escaped


def _choose_wildcard_rule(claim: str, value: str) -> str:
    if claim == "aud":
        return "wildcard-audience"
    return "namespace-subject" if _ONE_NAMESPACE.fullmatch(value) else "wildcard-subject"


def _is_restriction(condition: Condition, issuer: str, claim: str) -> bool:
    """Return whether a condition admits only the values that it names. Wildcards are reported separately."""
    key = condition.key.lower()
    is_own_key = key == f"{issuer}:{claim}" if issuer else key.endswith(f":{claim}")
    return is_own_key and condition.is_strict and condition.parsed.bare in _STRING_OPERATORS
