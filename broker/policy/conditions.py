"""Evaluates the Condition block of a policy statement: texts, ARNs, Bool and Null, with IAM's rules for absence.

Rules: operators and keys are AND-ed, the values of one key OR-ed (for a negated operator, none may match); key names
ignore case; `*` and `?` are wildcards for StringLike, StringNotLike and ARNs only; an operator, value or
policy variable that is not understood raises, and never counts as a match.
It refuses to know principals, actions and effects.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

Context: TypeAlias = Mapping[str, Sequence[str]]

_SET_PREFIXES = ("ForAnyValue:", "ForAllValues:")
_IF_EXISTS = "IfExists"
_TRUTHS = {"true", "false"}
# `aws:` and `${*}`-like variables depend on the request; guessing at them could allow too much.
_VARIABLE = "${"


class NotUnderstood(Exception):
    """The condition uses something outside this module's rules."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One condition that did not hold; `found` is None when the key is absent from the context."""

    operator: str
    key: str
    expected: tuple[str, ...]
    found: tuple[str, ...] | None

    def sentence(self) -> str:
        """Say it in one line."""
        found = "absent" if self.found is None else " | ".join(self.found)
        return f"{self.operator} {self.key}: expected {' | '.join(self.expected)}, found {found}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Operator:
    compare: Callable[[str, str], bool]  # (policy value, context value)
    is_negated: bool = False


def matches_wildcard(pattern: str, text: str) -> bool:
    """Match `*` (any run of characters) and `?` (exactly one) and nothing else; case counts.

    Only the last `*` is ever tried again, so that no pattern takes longer than its length times the text's.
    """
    at = place = 0  # in the text, and in the pattern
    retry: tuple[int, int] | None = None  # after the last star: where in the pattern, and the text it spans up to
    while at < len(text):
        sign = pattern[place : place + 1]
        if sign == "*":
            place += 1
            retry = (place, at)
        elif sign in ("?", text[at]):
            place, at = place + 1, at + 1
        elif retry is not None:
            place, at = retry[0], retry[1] + 1
            retry = (place, at)
        else:
            return False
    return not pattern[place:].strip("*")


def _equals(expected: str, found: str) -> bool:
    return expected == found


def _equals_ignoring_case(expected: str, found: str) -> bool:
    return expected.lower() == found.lower()


def _matches_arn(pattern: str, arn: str) -> bool:
    """Match each of the six parts of an ARN by itself: a `*` spans no colon but those of the last part."""
    patterns, parts = pattern.split(":", 5), arn.split(":", 5)
    return len(patterns) == len(parts) and all(map(matches_wildcard, patterns, parts))


_OPERATORS = {
    "StringEquals": _Operator(compare=_equals),
    "StringNotEquals": _Operator(compare=_equals, is_negated=True),
    "StringEqualsIgnoreCase": _Operator(compare=_equals_ignoring_case),
    "StringNotEqualsIgnoreCase": _Operator(compare=_equals_ignoring_case, is_negated=True),
    "StringLike": _Operator(compare=matches_wildcard),
    "StringNotLike": _Operator(compare=matches_wildcard, is_negated=True),
    # ArnEquals and ArnLike behave identically, says IAM's reference of condition operators.
    "ArnEquals": _Operator(compare=_matches_arn),
    "ArnLike": _Operator(compare=_matches_arn),
    "ArnNotEquals": _Operator(compare=_matches_arn, is_negated=True),
    "ArnNotLike": _Operator(compare=_matches_arn, is_negated=True),
    "Bool": _Operator(compare=_equals_ignoring_case),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorName:
    """An operator's name, taken apart: `set_prefix` is ForAnyValue:, ForAllValues: or empty."""

    set_prefix: str
    bare: str
    if_exists: bool

    @property
    def is_known(self) -> bool:
        """Whether this module evaluates it."""
        return self.bare in _OPERATORS or (self.bare == "Null" and not self.set_prefix and not self.if_exists)

    @property
    def is_negated(self) -> bool:
        """Whether it holds where nothing matches."""
        return self.bare in _OPERATORS and _OPERATORS[self.bare].is_negated


def parse_operator(name: str) -> OperatorName:
    """Take an operator's name apart, whether it is known or not."""
    prefix = next((prefix for prefix in _SET_PREFIXES if name.startswith(prefix)), "")
    bare = name.removeprefix(prefix)
    return OperatorName(set_prefix=prefix, bare=bare.removesuffix(_IF_EXISTS), if_exists=bare.endswith(_IF_EXISTS))


def failures(condition: object, context: Context) -> tuple[Failure, ...]:
    """Give every condition that does not hold; none means that the block matches. NotUnderstood: see the class."""
    if not isinstance(condition, Mapping):
        raise NotUnderstood("Condition is not an object")
    found_by_key = {key.lower(): tuple(values) for key, values in context.items() if values}
    failed = []
    for operator, block in condition.items():
        if not isinstance(block, Mapping):
            raise NotUnderstood(f"{operator} does not hold an object of keys")
        for key, value in block.items():
            expected = _policy_values(operator, key, value)
            found = found_by_key.get(str(key).lower())
            if not _holds(str(operator), expected, found):
                failed.append(Failure(operator=operator, key=key, expected=expected, found=found))
    return tuple(failed)


def _policy_values(operator: str, key: str, value: object) -> tuple[str, ...]:
    values: list[object] = value if isinstance(value, list) else [value]
    if not all(isinstance(one, str | bool) for one in values):
        raise NotUnderstood(f"{operator} {key} holds a value that is no text")
    texts = tuple(str(one).lower() if isinstance(one, bool) else str(one) for one in values)
    if any(_VARIABLE in one for one in texts):
        raise NotUnderstood(f"{operator} {key} uses a policy variable, which is not supported here")
    return texts


def _holds(name: str, expected: tuple[str, ...], found: tuple[str, ...] | None) -> bool:
    parsed = parse_operator(name)
    if not parsed.is_known:
        raise NotUnderstood(f"The condition operator {name} is not supported here")
    if parsed.bare == "Null":
        return _null_holds(expected, is_absent=found is None)
    operator, prefix = _OPERATORS[parsed.bare], parsed.set_prefix
    if parsed.bare == "Bool" and not {one.lower() for one in expected} <= _TRUTHS:
        raise NotUnderstood("Bool takes true or false only")
    if found is None:
        return parsed.if_exists or prefix == "ForAllValues:" or (operator.is_negated and not prefix)
    matched = [any(operator.compare(one, value) for one in expected) for value in found]
    accepted = [not match for match in matched] if operator.is_negated else matched
    # Without a prefix, several values in the context: a negated operator must hold for all, a plain one for any.
    if prefix == "ForAllValues:" or (operator.is_negated and not prefix):
        return all(accepted)
    return any(accepted)


def _null_holds(expected: tuple[str, ...], *, is_absent: bool) -> bool:
    wanted = {one.lower() for one in expected}
    if not wanted <= _TRUTHS:
        raise NotUnderstood("Null takes true or false only")
    return str(is_absent).lower() in wanted
