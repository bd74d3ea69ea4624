"""What can be wrong with a condition by itself, whatever the statement is about.

Rules: only conditions of Allow statements are held to what an absent key would let in; slips that keep a condition from
ever matching are looked for in Deny statements too, where they deny nobody.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from broker.trust.linter.statement import Condition

MULTIVALUED_KEYS = frozenset({"aws:tagkeys", "sts:transitivetagkeys"})
"""Absent means that there are no tags, so ForAllValues, which then holds, is right for them."""
_MORE_MULTIVALUED_KEYS = frozenset({"aws:principalorgpaths", "aws:calledvia", "aws:principalservicenameslist"})
_OTHER_OPERATORS = frozenset(
    f"{kind}{comparison}"
    for kind in ("Numeric", "Date")
    for comparison in (
        "Equals",
        "NotEquals",
        "LessThan",
        "LessThanEquals",
        "GreaterThan",
        "GreaterThanEquals",
    )
) | {"IpAddress", "NotIpAddress", "BinaryEquals"}
"""What IAM knows, and no text is compared with."""
_LITERAL = ("StringEquals", "StringNotEquals", "StringEqualsIgnoreCase", "StringNotEqualsIgnoreCase")


def has_wildcard(text: str) -> bool:
    """Say whether a text has a character that is a wildcard under some operators."""
    return "*" in text or "?" in text


def find_slips(condition: Condition) -> Iterator[tuple[str, str]]:
    """Yield what keeps this condition from ever matching as it was meant."""
    place = f"{condition.operator} {condition.key}"
    parsed = condition.parsed
    if not parsed.is_known and parsed.bare not in _OTHER_OPERATORS:
        yield "unknown-operator", f"{place}: IAM has no operator of this name"
    if parsed.bare in _LITERAL:
        for value in filter(has_wildcard, condition.values):
            yield "literal-wildcard", f"{place}: {value}"
    if parsed.bare in ("Bool", "Null") and not {value.lower() for value in condition.values} <= {"true", "false"}:
        yield "malformed", f"{place}: {' | '.join(condition.values)} is neither true nor false"


def find_doubles(conditions: Sequence[Condition]) -> Iterator[tuple[str, str]]:
    """Yield the keys that an operator has a second time, in other letters."""
    first: dict[tuple[str, str], str] = {}
    for one in conditions:
        before = first.setdefault((one.operator, one.key.lower()), one.key)
        if before != one.key:
            yield "duplicate-key", f"{one.operator} has {before} and {one.key}: the case of keys does not count"


def find_openings(condition: Condition) -> Iterator[tuple[str, str]]:
    """Yield what this condition of an Allow statement lets in without naming it."""
    place = f"{condition.operator} {condition.key}"
    parsed, key = condition.parsed, condition.key.lower()
    if parsed.if_exists:
        yield "if-exists", place
    if parsed.is_negated or parsed.bare in ("NotIpAddress", "NumericNotEquals", "DateNotEquals"):
        yield "negated-operator", place
    if parsed.set_prefix == "ForAllValues:" and key not in MULTIVALUED_KEYS:
        yield "for-all-values", place
    if parsed.set_prefix == "ForAnyValue:" and key not in MULTIVALUED_KEYS | _MORE_MULTIVALUED_KEYS:
        yield "for-any-value", place


def find_needless_like(conditions: Sequence[Condition]) -> Iterator[tuple[str, str]]:
    """Yield StringLike operators of which no value has a wildcard; keys may share one operator with one that has."""
    for operator in dict.fromkeys(one.operator for one in conditions if one.parsed.bare == "StringLike"):
        values = [value for one in conditions if one.operator == operator for value in one.values]
        if values and not any(map(has_wildcard, values)):
            yield "needless-like", f"{operator}: {' | '.join(values)}"
