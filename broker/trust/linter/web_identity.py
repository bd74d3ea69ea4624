"""What can be wrong with a statement that lets tokens of a cluster in.

Rules: one OIDC provider, its own two keys, `:sub` and `:aud`, each compared with what is written in full. That is what
makes a policy without findings let in nothing but what it names.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from broker.trust.linter import conditions
from broker.trust.linter.conditions import has_wildcard
from broker.trust.linter.statement import WEB_IDENTITY, provider_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broker.trust.linter.statement import Condition, Statement

_ISSUER = re.compile(r"[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*(?:/[A-Za-z0-9._~%!$&'()+,;=@-]+)*")
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_PREFIX = rf"system:serviceaccount:{_LABEL}:"
_SUBJECT = re.compile(rf"{_PREFIX}(?=.{{1,253}}$){_LABEL}(?:\.{_LABEL})*")
"""Namespaces are DNS labels, service accounts DNS subdomains."""
_AUDIENCE = re.compile(r"[!-~]+")
_OF_ONE_NAMESPACE = re.compile(rf"{_PREFIX}[^:]*")
_ABSENT_GLOBAL_KEYS = (
    "aws:principal",
    "aws:requesttag/",
    "aws:tagkeys",
    "aws:sourceidentity",
    "aws:userid",
    "aws:username",
)
"""Nobody has signed the request, and a cluster's token carries neither tags nor a source identity."""
_FORMS = ("subject-form", "audience-form", "policy-variable")
"""What is wrong with a value in any statement."""
_SESSION_NAME = "sts:rolesessionname"
_TEXT_OPERATORS = ("StringEquals", "StringLike", "StringEqualsIgnoreCase")


def find_weaknesses(statement: Statement, *, issuer: str) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with an Allow statement for web identities; `issuer` is the one expected, "" for any."""
    yield from _of_principals(statement, issuer)
    yield from _of_actions(statement)
    for condition in statement.conditions:
        yield from conditions.find_slips(condition)
        yield from conditions.find_openings(condition)
        yield from _of_key(condition, statement)
        yield from _of_values(condition)
    yield from conditions.find_needless_like(statement.conditions)
    if not statement.conditions:
        yield "no-condition", "there is no condition"
        return
    for claim, rule in (("sub", "missing-subject"), ("aud", "missing-audience")):
        for one in statement.issuers or ("",):
            if not any(_pins(condition, one, claim) for condition in statement.conditions):
                yield rule, f"nothing pins {one or 'the issuer'}:{claim}"


def find_slips(statement: Statement) -> Iterator[tuple[str, str]]:
    """Yield what keeps a Deny statement from denying what it means to."""
    for condition in statement.conditions:
        yield from conditions.find_slips(condition)
        if _claim_of(condition.key) in ("sub", "aud"):
            yield from _of_spelling(condition)
            yield from (found for found in _of_values(condition) if found[0] in _FORMS)


def _of_principals(statement: Statement, issuer: str) -> Iterator[tuple[str, str]]:
    named = [(kind, name) for kind, names in statement.principals.items() for name in names]
    if len(named) > 1:
        yield "several-providers", ", ".join(name for _, name in named)
    for kind, name in named:
        provider = provider_of(name) if kind == "Federated" else None
        if name == "*":
            continue
        if provider is None:
            yield "other-principal", f"{kind} {name}"
        elif not _ISSUER.fullmatch(provider[1]):
            yield "provider-spelling", name
        elif issuer and provider[1] != issuer:
            yield "other-issuer", f"{provider[1]}, not {issuer}"


def _of_actions(statement: Statement) -> Iterator[tuple[str, str]]:
    others = [one for one in statement.actions if not has_wildcard(one) and one.lower() != WEB_IDENTITY.lower()]
    if not statement.covers(WEB_IDENTITY) and others:
        yield "action-mismatch", f"{', '.join(others)} without {WEB_IDENTITY}"
    elif others:
        yield "needless-action", ", ".join(others)


def _claim_of(key: str) -> str:
    return key.lower().rpartition(":")[2]


def _of_key(condition: Condition, statement: Statement) -> Iterator[tuple[str, str]]:
    key, place = condition.key.lower(), f"{condition.operator} {condition.key}"
    if key == _SESSION_NAME or (key.startswith("aws:") and not key.startswith(_ABSENT_GLOBAL_KEYS)):
        return
    prefix, _, claim = key.rpartition(":")
    if prefix in ("", "aws", "sts") or key.startswith("aws:"):
        yield "unknown-key", f"{place}: it is never there for a cluster's token"
        return
    slips = list(_of_spelling(condition))
    yield from slips
    if not slips and statement.issuers and prefix not in statement.issuers:
        yield "issuer-mismatch", f"{place}: the provider is {', '.join(statement.issuers)}"
    if claim not in ("sub", "aud"):
        yield "unknown-key", f"{place}: AWS gives sub and aud of a cluster's tokens, and nothing else"
    elif condition.parsed.bare not in (*_TEXT_OPERATORS, "Null") and not condition.parsed.is_negated:
        yield "unknown-operator", f"{place}: it does not compare texts"
    elif condition.parsed.bare == "Null" and "true" in map(str.lower, condition.values):
        yield "negated-operator", f"{place}: true is for tokens without it, and there are none"
    elif "IgnoreCase" in condition.parsed.bare:
        yield "ignores-case", place


def _of_spelling(condition: Condition) -> Iterator[tuple[str, str]]:
    if not _ISSUER.fullmatch(condition.key.rpartition(":")[0]):
        yield "provider-spelling", condition.key


def _of_values(condition: Condition) -> Iterator[tuple[str, str]]:
    claim, bare = _claim_of(condition.key), condition.parsed.bare
    if claim not in ("sub", "aud") or not bare.startswith("String"):
        return
    for value in condition.values:
        place = f"{condition.operator} {condition.key}: {value}"
        exactly = f"{condition.operator} {condition.key}: {value!a}"  # blanks and look-alikes are to be seen
        if "${" in value:
            yield "policy-variable", place
        elif has_wildcard(value):
            if bare == "StringLike":
                yield _wildcard_rule(claim, value), place
        elif claim == "sub" and not _SUBJECT.fullmatch(value):
            yield "subject-form", exactly
        elif claim == "aud" and not _AUDIENCE.fullmatch(value):
            yield "audience-form", exactly


def _wildcard_rule(claim: str, value: str) -> str:
    if claim == "aud":
        return "wildcard-audience"
    return "namespace-subject" if _OF_ONE_NAMESPACE.fullmatch(value) else "wildcard-subject"


def _pins(condition: Condition, issuer: str, claim: str) -> bool:
    """Say whether a condition lets in nothing but what it names, wildcards aside: those are told by themselves."""
    key = condition.key.lower()
    is_its_own = key == f"{issuer}:{claim}" if issuer else key.endswith(f":{claim}")
    return is_its_own and condition.is_kept and condition.parsed.bare in _TEXT_OPERATORS
