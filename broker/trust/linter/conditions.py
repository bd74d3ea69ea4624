"""Check a single condition, regardless of the statement's subject.

Conditions that match where a key is absent are reported in Allow statements only. Mistakes that keep a condition from
ever matching are reported in Deny statements too, since such a Deny denies nobody.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.policy.conditions import is_arn
from broker.trust.planned_document import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from broker.trust.linter.statement import Condition

MULTIVALUED_KEYS = frozenset({"aws:tagkeys", "sts:transitivetagkeys"})
"""Keys that are absent where there are no tags. ForAllValues, which matches then, is correct for them."""
_OTHER_MULTIVALUED_KEYS = frozenset({"aws:principalorgpaths", "aws:calledvia", "aws:principalservicenameslist"})
_OTHER_OPERATORS = frozenset(
    f"{kind}{comparison}"
    for kind in ("Numeric", "Date")
    for comparison in ("Equals", "NotEquals", "LessThan", "LessThanEquals", "GreaterThan", "GreaterThanEquals")
) | {"IpAddress", "NotIpAddress", "BinaryEquals"}
"""IAM operators that compare neither strings nor ARNs."""
_LITERAL = ("StringEquals", "StringNotEquals", "StringEqualsIgnoreCase", "StringNotEqualsIgnoreCase")


def has_wildcard(text: str) -> bool:
    """Return whether a text has a character that is a wildcard under some operators."""
    return "*" in text or "?" in text


def find_mistakes(condition: Condition) -> Iterator[tuple[str, str]]:
    """Yield the rule and the detail of each mistake that keeps a condition from matching as intended."""
    place = f"{condition.operator} {condition.key}"
    parsed = condition.parsed
    if condition.operator == UNKNOWN:
        return
    if not parsed.is_known and parsed.bare not in _OTHER_OPERATORS:
        yield "unknown-operator", f"{place}: IAM has no operator of this name"
    if parsed.bare in _LITERAL:
        for value in filter(has_wildcard, condition.values):
            yield "literal-wildcard", f"{place}: {value}"
    if parsed.compares_arns:
        for value in condition.values:
            if value != UNKNOWN and "${" not in value and not is_arn(value):
                yield "arn-form", f"{place}: {value!a}"
    if (
        parsed.bare in ("Bool", "Null")
        and UNKNOWN not in condition.values
        and not {value.lower() for value in condition.values} <= {"true", "false"}
    ):
        yield "malformed", f"{place}: expected true or false, found {' | '.join(condition.values)}"


def find_duplicate_keys(conditions: Sequence[Condition]) -> Iterator[tuple[str, str]]:
    """Yield the rule and the detail of each key that an operator has twice with different case."""
    first: dict[tuple[str, str], str] = {}
    for one in conditions:
        before = first.setdefault((one.operator, one.key.lower()), one.key)
        if before != one.key:
            yield "duplicate-key", f"{one.operator} has {before} and {one.key}: condition keys ignore case"


def find_loopholes(condition: Condition) -> Iterator[tuple[str, str]]:
    """Yield the rule and the detail where a condition of an Allow statement admits what it does not name."""
    place = f"{condition.operator} {condition.key}"
    parsed, key = condition.parsed, condition.key.lower()
    if parsed.if_exists:
        yield "if-exists", place
    if parsed.is_negated or parsed.bare in ("NotIpAddress", "NumericNotEquals", "DateNotEquals"):
        yield "negated-operator", place
    if parsed.set_prefix == "ForAllValues:" and key not in MULTIVALUED_KEYS:
        yield "for-all-values", place
    if parsed.set_prefix == "ForAnyValue:" and key not in MULTIVALUED_KEYS | _OTHER_MULTIVALUED_KEYS:
        yield "for-any-value", place


def find_needless_like(conditions: Sequence[Condition]) -> Iterator[tuple[str, str]]:
    """Yield each StringLike operator without a wildcard in any value.

    Keys may share an operator: one wildcard value justifies StringLike for all keys.
    """
    for operator in dict.fromkeys(one.operator for one in conditions if one.parsed.bare == "StringLike"):
        values = [value for one in conditions if one.operator == operator for value in one.values]
        if values and not any(map(has_wildcard, values)):
            yield "needless-like", f"{operator}: {' | '.join(values)}"
