"""Subjects in trust policies: those that a policy names, what a pattern admits, and both in words. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from broker.policy.provider_claims import SERVICE_ACCOUNT_PREFIX, find_known_provider
from broker.trust.linter.conditions import has_wildcard

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from broker.trust.linter.statement import Condition, Statement

ANY_SUBJECT: Final = "*"
"""The pattern of a policy that does not restrict the subject."""
_WITNESS: Final = "sts-broker-audit"
"""Takes the place of a wildcard where a policy is asked about a pattern. No policy names it."""
_REPOSITORY = re.compile(r"repo:([^/*?]+)/([^:*?]+):\*")
_OWNER = re.compile(r"repo:([^/*?]+)/\*")
_PROJECT = re.compile(r"project_path:([^*?:]+):\*")
_GROUP = re.compile(r"project_path:([^*?:]+)/\*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A subject that a policy may admit. `text` is as in the policy, and `subject` one that it matches."""

    text: str
    subject: str

    @property
    def is_pattern(self) -> bool:
        """Whether it is a pattern for many subjects."""
        return self.text != self.subject


def list_candidates(statements: Iterable[Statement], issuer: str) -> tuple[Candidate, ...]:
    """Return the subjects that a policy names for an issuer, and last any subject.

    A value with a wildcard that is compared literally is left out: no token has such a subject.
    """
    texts = [
        (value, is_like(condition))
        for statement in statements
        if statement.is_allow
        for condition in find_subject_conditions(statement, issuer)
        for value in condition.values
        if value != ANY_SUBJECT and (is_like(condition) or not has_wildcard(value))
    ]
    return (*map(_make_candidate, dict.fromkeys(texts)), Candidate(text=ANY_SUBJECT, subject=_WITNESS))


def _make_candidate(value: tuple[str, bool]) -> Candidate:
    text, is_pattern = value
    witness = text.replace("*", _WITNESS).replace("?", "x") if is_pattern else text
    return Candidate(text=text, subject=witness)


def find_subject_conditions(statement: Statement, issuer: str) -> Iterator[Condition]:
    """Yield the conditions of a statement on the subject of this issuer's tokens."""
    key = f"{issuer}:sub".lower()
    return (one for one in statement.conditions if one.key.lower() == key)


def is_like(condition: Condition) -> bool:
    """Return whether the wildcards in a condition's values are wildcards."""
    return condition.parsed.bare in ("StringLike", "StringNotLike")


def name_kind(subject: str, issuer: str) -> str:
    """Return whose subject it is, for people."""
    provider = find_known_provider(issuer)
    if provider is not None:
        return provider.name
    return "service account" if subject.startswith(SERVICE_ACCOUNT_PREFIX) else "OIDC subject"


def describe(text: str) -> str:
    """Return what a subject or a pattern of a policy admits, in words."""
    if text == ANY_SUBJECT:
        return "every subject of the provider"
    if text.startswith(SERVICE_ACCOUNT_PREFIX):
        return _describe_service_accounts(text)
    for form, words in (
        (_REPOSITORY, "every branch, tag, pull request and environment of repository {}"),
        (_OWNER, "every repository of {}, with every branch and pull request"),
        (_PROJECT, "every branch and tag of project {}"),
        (_GROUP, "every project of group {}"),
    ):
        if found := form.fullmatch(text):
            return words.format("/".join(found.groups()))
    return f"every subject that matches {text}" if has_wildcard(text) else text


def _describe_service_accounts(text: str) -> str:
    namespace, colon, name = text.removeprefix(SERVICE_ACCOUNT_PREFIX).partition(":")
    if not has_wildcard(text):
        return f"service account {namespace}/{name}"
    if not colon:
        return "every service account" if namespace == "*" else f"every subject that matches {text}"
    owners = "every service account" if name == "*" else f"service account {name}"
    if has_wildcard(name) and name != "*":
        owners = f"every service account named like {name}"
    if namespace == "*":
        return owners if name == "*" else f"{owners} of every namespace"
    return f"{owners} of {'every namespace like' if has_wildcard(namespace) else 'namespace'} {namespace}"
