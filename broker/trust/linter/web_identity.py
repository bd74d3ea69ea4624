"""Check a statement that admits the tokens of a cluster, or of another OIDC provider.

Such a statement names one OIDC provider, and restricts both of its condition keys, `:sub` and `:aud`, to full values.
A policy without findings therefore admits only what it names. Of the providers in `provider_claims`, subjects have
another form, and a claim that identifies the customer can take the place of the subject.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from broker.policy.provider_claims import AS_OF, COMMON_KEYS, find_known_provider
from broker.trust.issuer_spelling import find_issuer_faults
from broker.trust.linter import conditions
from broker.trust.linter.conditions import has_wildcard
from broker.trust.linter.statement import WEB_IDENTITY, find_issuer, parse_provider_arn
from broker.trust.planned_document import UNKNOWN
from broker.trust.subject_forms import KUBERNETES, SPIFFE, describe_breadth, find_form, is_for_pull_requests

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broker.trust.linter.statement import Condition, Statement

_ISSUER = re.compile(r"[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*(?:/[A-Za-z0-9._~%!$&'()+,;=@-]*)*")
_AUDIENCE = re.compile(r"[!-~]+")
_ONE_NAMESPACE = re.compile(rf"(?:{KUBERNETES.owner.pattern})[^:]*")
_NO_ISSUER = re.compile(
    r"(?:www\.|api\.)?github\.com|(?:vstoken\.actions\.)?githubusercontent\.com"
    r"|(?:api\.)?[^./]+\.ghe\.com|www\.gitlab\.com|gitlab\.com/.+"
)
"""Names of GitHub and GitLab that people take for their issuers (aws-actions/configure-aws-credentials#280)."""
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
_MAXIMUM_AUDIENCE_LENGTH = 255
"""Of a client ID in IAM's API model (CreateOpenIDConnectProvider)."""


def find_weaknesses(statement: Statement, *, issuer: str, account: str) -> Iterator[tuple[str, str]]:
    """Yield the rule and the detail of each fault of an Allow statement for web identities.

    `issuer` is the expected one and `account` that of the role, "" for any.
    """
    yield from _check_principals(statement, issuer, account)
    yield from _check_actions(statement)
    for condition in statement.conditions:
        yield from conditions.find_mistakes(condition)
        yield from conditions.find_loopholes(condition)
        yield from _check_key(condition, statement)
        yield from _check_values(condition, statement)
    yield from conditions.find_needless_like(statement.conditions)
    if not statement.conditions:
        yield "no-condition", "the statement has no condition"
    elif not any(UNKNOWN in (one.operator, one.key) for one in statement.conditions):
        yield from _check_restrictions(statement)


def _check_restrictions(statement: Statement) -> Iterator[tuple[str, str]]:
    for claim, rule in (("sub", "missing-subject"), ("aud", "missing-audience")):
        for one in statement.issuers or ("",):
            is_restricted = any(_is_restriction(condition, one, claim) for condition in statement.conditions)
            if not is_restricted and not (claim == "sub" and _is_identified(statement, one)):
                yield rule, f"{one or 'ISSUER'}:{claim}"


def find_mistakes(statement: Statement) -> Iterator[tuple[str, str]]:
    """Yield the rule and the detail of each mistake that keeps a Deny statement from denying as intended."""
    for condition in statement.conditions:
        yield from conditions.find_mistakes(condition)
        issuer, claim = statement.split_key(condition.key)
        if claim in ("sub", "aud") and issuer != "saml":
            yield from _check_issuer_spelling(condition, issuer)
            yield from (found for found in _check_values(condition, statement) if found[0] in _VALUE_RULES)


def _check_principals(statement: Statement, issuer: str, account: str) -> Iterator[tuple[str, str]]:
    named = [(kind, name) for kind, names in statement.principals.items() for name in names]
    if len(named) > 1:
        yield "several-providers", ", ".join(name for _, name in named)
    for kind, name in named:
        found = find_issuer(name) if kind == "Federated" else None
        if name in ("*", UNKNOWN):
            continue
        if found is None:
            yield "other-principal", f"{kind} {name}"
        elif not _is_spelled_as_issuer(found):
            yield "provider-spelling", name
        elif _NO_ISSUER.fullmatch(found.lower()) and find_known_provider(found) is None:
            yield "no-such-issuer", name
        elif issuer and found != issuer:
            yield "other-issuer", f"{found}; expected {issuer}"
        provider = parse_provider_arn(name)
        if account and provider is not None and provider[0] != account:
            yield "other-account", f"{name} is in account {provider[0]}; the role is in {account}"


def _check_actions(statement: Statement) -> Iterator[tuple[str, str]]:
    others = [one for one in statement.actions if not has_wildcard(one) and one.lower() != WEB_IDENTITY.lower()]
    if not statement.has_action(WEB_IDENTITY) and others:
        yield "action-mismatch", f"{', '.join(others)} without {WEB_IDENTITY}"
    elif others:
        yield "needless-action", ", ".join(others)


def _check_key(condition: Condition, statement: Statement) -> Iterator[tuple[str, str]]:
    key, place = condition.key.lower(), f"{condition.operator} {condition.key}"
    if (
        condition.key == UNKNOWN
        or key == _SESSION_NAME
        or (key.startswith("aws:") and not key.startswith(_ABSENT_GLOBAL_KEYS))
    ):
        return
    prefix, claim = statement.split_key(key)
    if prefix in ("", "aws", "sts") or key.startswith("aws:"):
        yield "unknown-key", f"{place}: AWS doesn't provide it for the tokens of an OIDC provider"
        return
    misspellings = list(_check_issuer_spelling(condition, prefix))
    yield from misspellings
    if not misspellings and statement.issuers and prefix not in statement.issuers:
        yield "issuer-mismatch", f"{place}: the provider is {', '.join(statement.issuers)}"
    if claim not in ("sub", "aud"):
        yield from _check_claim(place, prefix, claim, statement)
    elif not _compares_strings(condition):
        yield "unknown-operator", f"{place}: doesn't compare strings"
    elif condition.parsed.bare == "Null" and "true" in map(str.lower, condition.values):
        yield "negated-operator", f"{place}: true matches tokens without this key, and every token has it"
    elif "IgnoreCase" in condition.parsed.bare:
        yield "ignores-case", place


def _compares_strings(condition: Condition) -> bool:
    is_string_operator = condition.parsed.bare in (*_STRING_OPERATORS, "Null") or condition.parsed.is_negated
    return is_string_operator or condition.operator == UNKNOWN


def _check_claim(place: str, issuer: str, claim: str, statement: Statement) -> Iterator[tuple[str, str]]:
    """Check a claim other than sub and aud. Of issuers that are neither a cluster nor known, no claim is judged."""
    provider = find_known_provider(issuer)
    if provider is not None and claim not in (*provider.keys, *COMMON_KEYS):
        yield "unknown-key", f"{place}: AWS's list of {AS_OF} has no {claim} for {provider.name}"
    elif provider is None and statement.is_for_service_accounts:
        yield "unknown-key", f"{place}: AWS provides only sub and aud of a cluster's tokens"


def _check_issuer_spelling(condition: Condition, issuer: str) -> Iterator[tuple[str, str]]:
    if not _is_spelled_as_issuer(issuer):
        yield "provider-spelling", condition.key


def _is_spelled_as_issuer(issuer: str) -> bool:
    """Return whether IAM accepts an issuer, which is without https:// here."""
    return _ISSUER.fullmatch(issuer) is not None and not find_issuer_faults(f"https://{issuer}")


def _check_values(condition: Condition, statement: Statement) -> Iterator[tuple[str, str]]:
    (issuer, claim), bare = statement.split_key(condition.key), condition.parsed.bare
    if claim not in ("sub", "aud") or not bare.startswith("String"):
        return
    for value in condition.values:
        place = f"{condition.operator} {condition.key}: {value}"
        escaped = f"{condition.operator} {condition.key}: {value!a}"  # shows spaces and look-alike characters
        if value == UNKNOWN:
            continue
        if "${" in value:
            yield "policy-variable", place
        elif has_wildcard(value):
            if bare == "StringLike":
                rule, breadth = _check_wildcard(claim, value, issuer, statement)
                yield rule, f"{place} ({breadth})" if breadth else place
        elif claim == "sub":
            yield from _check_subject(condition, value, issuer, statement)
        elif claim == "aud" and not _AUDIENCE.fullmatch(value):
            yield "audience-form", escaped
        elif claim == "aud" and len(value) > _MAXIMUM_AUDIENCE_LENGTH:
            yield "audience-form", f"{escaped}: {len(value)} characters; IAM accepts {_MAXIMUM_AUDIENCE_LENGTH}"


def _check_subject(condition: Condition, value: str, issuer: str, statement: Statement) -> Iterator[tuple[str, str]]:
    """Check a subject without a wildcard."""
    place = f"{condition.operator} {condition.key}: {value!a}"
    form = find_form(issuer, value)
    if form is None:
        return
    if not form.whole.fullmatch(value):
        yield "subject-form", f"{place}: subjects of {form.name} look like {form.example}"
    elif not form.owner.match(value) and not _is_identified(statement, issuer):
        yield "unowned-subject", place
    elif is_for_pull_requests(value):
        yield "pull-request-subject", place


def _check_wildcard(claim: str, value: str, issuer: str, statement: Statement) -> tuple[str, str]:
    """Return the rule on a pattern, and what the pattern covers: "" where nobody can tell."""
    if claim == "aud":
        return "wildcard-audience", ""
    form, provider = find_form(issuer, value), find_known_provider(issuer)
    if form is KUBERNETES:
        return "namespace-subject" if _ONE_NAMESPACE.fullmatch(value) else "wildcard-subject", ""
    if form is SPIFFE:
        return "broad-subject" if SPIFFE.owner.match(value) else "trust-domain-subject", ""
    owner = provider.owner if provider is not None else form.owner if form is not None else None
    names_owner = (owner is not None and owner.match(value)) or _is_identified(statement, issuer)
    return ("broad-subject", describe_breadth(value)) if names_owner else ("wildcard-subject", "")


def _is_identified(statement: Statement, issuer: str) -> bool:
    """Return whether a condition pins a claim that says whose token it is, of a known provider."""
    provider = find_known_provider(issuer)
    if provider is None:
        return False
    keys = {f"{issuer}:{key}" for key in provider.identifying}
    return any(
        one.key.lower() in keys
        and one.is_strict
        and one.parsed.bare in (*_STRING_OPERATORS, "NumericEquals")
        and not any(map(has_wildcard, one.values))
        for one in statement.conditions
    )


def _is_restriction(condition: Condition, issuer: str, claim: str) -> bool:
    """Return whether a condition admits only the values that it names. Wildcards are reported separately."""
    key = condition.key.lower()
    is_own_key = key == f"{issuer}:{claim}" if issuer else key.endswith(f":{claim}")
    return is_own_key and condition.is_strict and condition.parsed.bare in _STRING_OPERATORS
