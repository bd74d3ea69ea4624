"""List what `sts-broker trust lint` passes over in a policy, so that it is never mistaken for what it judged.

Statements for AWS services and SAML providers are accepted by design: their form is checked, and that is all. What the
linter would judge but cannot, because nobody knows it, is unjudged. The code is pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from broker.policy.document import read_json
from broker.policy.provider_claims import AS_OF, COMMON_KEYS, find_known_provider
from broker.trust.linter.statement import read_statements
from broker.trust.planned_document import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broker.trust.linter.statement import Statement


@dataclass(frozen=True, slots=True, kw_only=True)
class Unjudged:
    """A part of a policy that was not judged. `is_by_design` is true where lint never judges such a part."""

    statement: str
    reason: str
    is_by_design: bool = False


def find_unjudged(text: str) -> tuple[Unjudged, ...]:
    """Return what the linter passes over in a policy, in the order of the text. Raises PolicyMalformedError."""
    return tuple(one for statement in read_statements(read_json(text)) for one in _find_parts(statement))


def _find_parts(statement: Statement) -> Iterator[Unjudged]:
    unknown = tuple(dict.fromkeys(_list_unknown_parts(statement)))
    if unknown:
        reason = f"{' and '.join(unknown)} unknown until the plan is applied"
        yield Unjudged(statement=statement.name, reason=reason)
    if not statement.is_allow:
        return
    kinds = set(statement.principals) - {"AWS"}
    if statement.is_for_saml:
        reason = "it is for a SAML provider; only its form was checked"
        yield Unjudged(statement=statement.name, reason=reason, is_by_design=True)
    elif statement.is_for_web_identities:
        yield from _find_claims(statement)
    elif kinds:
        reason = "it is for an AWS service; only its form was checked"
        yield Unjudged(statement=statement.name, reason=reason, is_by_design=True)


def _find_claims(statement: Statement) -> Iterator[Unjudged]:
    """Yield the claims of issuers that are neither known nor a cluster's: AWS may provide them."""
    if statement.is_for_service_accounts:
        return
    for condition in statement.conditions:
        issuer, claim = statement.split_key(condition.key)
        if issuer in statement.issuers and find_known_provider(issuer) is None and claim not in COMMON_KEYS:
            reason = f"{condition.operator} {condition.key}: AWS's list of {AS_OF} has no claims of this issuer"
            yield Unjudged(statement=statement.name, reason=reason)


def _list_unknown_parts(statement: Statement) -> Iterator[str]:
    """Yield the names of the elements with a value that is unknown."""
    if any(UNKNOWN in names for names in statement.principals.values()) or UNKNOWN in statement.principals:
        yield "Principal"
    if UNKNOWN in statement.actions:
        yield "Action"
    if any(UNKNOWN in (one.operator, one.key, *one.values) for one in statement.conditions):
        yield "Condition"
