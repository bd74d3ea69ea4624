"""Evaluate the Condition block of a policy statement: string, number, ARN, Bool and Null operators, and absent keys.

All operators and keys must match. Of the values of one key, one must match; under a negated operator, none may match.
Key names are not case-sensitive. `*` and `?` are wildcards for StringLike, StringNotLike and the ARN operators only. An
operator, value or policy variable that this module does not support raises `NotUnderstood`; it never counts as a match.
So does an ARN operator whose pattern isn't an ARN, or a negated one on a value that isn't an ARN: AWS does not document
what they match. This module does not look at principals, actions or effects.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeAlias

Context: TypeAlias = Mapping[str, Sequence[str]]

_SET_PREFIXES = ("ForAnyValue:", "ForAllValues:")
_IF_EXISTS = "IfExists"
_TRUTHS = {"true", "false"}
_COLONS_OF_AN_ARN = 5
_NUMBER = re.compile(r"[+-]?\d{1,40}(?:\.\d{1,40})?", re.ASCII)
_VARIABLE = "${"
"""The start of a policy variable. Its value depends on the request; a wrong guess could allow too much."""


class NotUnderstood(Exception):
    """The condition uses an operator, value or variable that this module does not support."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One condition that does not match. `found` is None where the key is absent from the request context."""

    operator: str
    key: str
    expected: tuple[str, ...]
    found: tuple[str, ...] | None

    def describe(self) -> str:
        """Return the failure in one line."""
        found = "absent" if self.found is None else " | ".join(self.found)
        return f"{self.operator} {self.key}: expected {' | '.join(self.expected)}, found {found}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Operator:
    compare: Callable[[str, str], bool]  # (policy value, context value)
    is_negated: bool = False


def matches_wildcard(pattern: str, text: str) -> bool:
    """Match a text against a pattern: `*` is any run of characters, `?` is exactly one. The match is case-sensitive.

    Only the last `*` is retried, so the run time is at most the product of the two lengths.
    """
    text_at = pattern_at = 0
    retry: tuple[int, int] | None = None  # the pattern position after the last star, and the end of the text it spans
    while text_at < len(text):
        character = pattern[pattern_at : pattern_at + 1]
        if character == "*":
            pattern_at += 1
            retry = (pattern_at, text_at)
        elif character in ("?", text[text_at]):
            pattern_at, text_at = pattern_at + 1, text_at + 1
        elif retry is not None:
            pattern_at, text_at = retry[0], retry[1] + 1
            retry = (pattern_at, text_at)
        else:
            return False
    return not pattern[pattern_at:].strip("*")


def _equals(expected: str, found: str) -> bool:
    return expected == found


def _equals_ignoring_case(expected: str, found: str) -> bool:
    return expected.lower() == found.lower()


def is_arn(text: str) -> bool:
    """Return whether a text has the form of an ARN, or of a pattern for ARNs: `arn:` and five further parts."""
    return text.startswith("arn:") and text.count(":") >= _COLONS_OF_AN_ARN


def _matches_arn(pattern: str, arn: str) -> bool:
    """Match each of the six parts of an ARN separately: a `*` can span colons in the last part only."""
    patterns, parts = pattern.split(":", _COLONS_OF_AN_ARN), arn.split(":", _COLONS_OF_AN_ARN)
    return is_arn(arn) and all(map(matches_wildcard, patterns, parts))


def _parse_number(text: str) -> Decimal:
    if not _NUMBER.fullmatch(text):
        raise NotUnderstood(f"{text} isn't a decimal number, which numeric operators compare")
    return Decimal(text)


def _compare_numbers(comparison: Callable[[Decimal, Decimal], bool]) -> Callable[[str, str], bool]:
    """Return a comparison of texts as numbers, in which the context's number is on the left side."""

    def compare(expected: str, found: str) -> bool:
        return comparison(_parse_number(found), _parse_number(expected))

    return compare


_OPERATORS = {
    "StringEquals": _Operator(compare=_equals),
    "StringNotEquals": _Operator(compare=_equals, is_negated=True),
    "StringEqualsIgnoreCase": _Operator(compare=_equals_ignoring_case),
    "StringNotEqualsIgnoreCase": _Operator(compare=_equals_ignoring_case, is_negated=True),
    "StringLike": _Operator(compare=matches_wildcard),
    "StringNotLike": _Operator(compare=matches_wildcard, is_negated=True),
    # ArnEquals and ArnLike behave identically (IAM User Guide, reference_policies_elements_condition_operators).
    "ArnEquals": _Operator(compare=_matches_arn),
    "ArnLike": _Operator(compare=_matches_arn),
    "ArnNotEquals": _Operator(compare=_matches_arn, is_negated=True),
    "ArnNotLike": _Operator(compare=_matches_arn, is_negated=True),
    "NumericEquals": _Operator(compare=_compare_numbers(operator.eq)),
    "NumericNotEquals": _Operator(compare=_compare_numbers(operator.eq), is_negated=True),
    "NumericLessThan": _Operator(compare=_compare_numbers(operator.lt)),
    "NumericLessThanEquals": _Operator(compare=_compare_numbers(operator.le)),
    "NumericGreaterThan": _Operator(compare=_compare_numbers(operator.gt)),
    "NumericGreaterThanEquals": _Operator(compare=_compare_numbers(operator.ge)),
    "Bool": _Operator(compare=_equals_ignoring_case),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorName:
    """The parts of an operator's name. `set_prefix` is `ForAnyValue:`, `ForAllValues:` or empty."""

    set_prefix: str
    bare: str
    if_exists: bool

    @property
    def is_known(self) -> bool:
        """Whether this module supports the operator."""
        return self.bare in _OPERATORS or (self.bare == "Null" and not self.set_prefix and not self.if_exists)

    @property
    def is_negated(self) -> bool:
        """Whether the operator matches where no value matches."""
        return self.bare in _OPERATORS and _OPERATORS[self.bare].is_negated

    @property
    def compares_arns(self) -> bool:
        """Whether the operator is for ARNs: its values are patterns of six parts."""
        return self.bare.startswith("Arn") and self.bare in _OPERATORS


def parse_operator(name: str) -> OperatorName:
    """Split an operator's name into its parts, also where the operator is unknown."""
    prefix = next((prefix for prefix in _SET_PREFIXES if name.startswith(prefix)), "")
    bare = name.removeprefix(prefix)
    return OperatorName(set_prefix=prefix, bare=bare.removesuffix(_IF_EXISTS), if_exists=bare.endswith(_IF_EXISTS))


def find_failures(condition: object, context: Context) -> tuple[Failure, ...]:
    """Return every condition that does not match. The block matches where the result is empty.

    Args:
        condition: The value of the statement's Condition element.
        context: Condition keys, in any case, and their values. A key without values counts as absent.

    Raises:
        NotUnderstood: The block uses something that this module does not support.
    """
    if not isinstance(condition, Mapping):
        raise NotUnderstood("Condition isn't an object")
    found_by_key = {key.lower(): tuple(values) for key, values in context.items() if values}
    failed = []
    for name, block in condition.items():
        if not isinstance(block, Mapping):
            raise NotUnderstood(f"{name} isn't an object of condition keys")
        for key, value in block.items():
            expected = _read_values(name, key, value)
            found = found_by_key.get(str(key).lower())
            if not _matches(str(name), expected, found):
                failed.append(Failure(operator=name, key=key, expected=expected, found=found))
    return tuple(failed)


def _read_values(name: str, key: str, value: object) -> tuple[str, ...]:
    values: list[object] = value if isinstance(value, list) else [value]
    kinds = str | bool | int if "Numeric" in name else str | bool
    if not all(isinstance(one, kinds) for one in values):
        raise NotUnderstood(f"{name} {key} has a value that isn't a string")
    strings = tuple(str(one).lower() if isinstance(one, bool) else str(one) for one in values)
    if any(_VARIABLE in one for one in strings):
        raise NotUnderstood(f"{name} {key} uses a policy variable, which is not supported")
    malformed = next((one for one in strings if not is_arn(one)), None) if parse_operator(name).compares_arns else None
    if malformed is not None:
        raise NotUnderstood(f"{name} {key} compares ARNs, and {malformed} isn't an ARN of six parts")
    return strings


def _matches(name: str, expected: tuple[str, ...], found: tuple[str, ...] | None) -> bool:
    parsed = parse_operator(name)
    if not parsed.is_known:
        raise NotUnderstood(f"the condition operator {name} is not supported")
    if parsed.bare == "Null":
        return _matches_null(expected, is_absent=found is None)
    known, prefix = _OPERATORS[parsed.bare], parsed.set_prefix
    if parsed.bare == "Bool" and not {one.lower() for one in expected} <= _TRUTHS:
        raise NotUnderstood("Bool accepts only true and false")
    if found is None:
        return parsed.if_exists or prefix == "ForAllValues:" or (known.is_negated and not prefix)
    if parsed.compares_arns and known.is_negated and not all(map(is_arn, found)):
        raise NotUnderstood(f"{name} compares ARNs, and the key's value {' | '.join(found)} isn't one")
    matched = [any(known.compare(one, value) for one in expected) for value in found]
    accepted = [not match for match in matched] if known.is_negated else matched
    # Where the context has several values: without a prefix, a negated operator must match all of them, others any.
    if prefix == "ForAllValues:" or (known.is_negated and not prefix):
        return all(accepted)
    return any(accepted)


def _matches_null(expected: tuple[str, ...], *, is_absent: bool) -> bool:
    wanted = {one.lower() for one in expected}
    if not wanted <= _TRUTHS:
        raise NotUnderstood("Null accepts only true and false")
    return str(is_absent).lower() in wanted
