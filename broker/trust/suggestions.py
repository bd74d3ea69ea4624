"""The smallest change to a statement that lets a token in: one for each condition that is in its way.

Rules: a change never lets in more than the token at hand (nothing becomes a wildcard); what others have is taken away
only where nobody can have it. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from broker.policy.conditions import Failure, failures, matches_wildcard, parse_operator

if TYPE_CHECKING:
    from broker.policy.conditions import Context
    from broker.trust.linter.statement import Condition

_CLAIMS = ("sub", "aud")


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What to do to one condition. `action` is a stable word; `key`, `old` and `new` what it is done with, or "".

    add-value: `new` to the key's values; replace-value: `old` by `new`; remove-values: those that match what was found;
    rename-key: to `key`, with the value `new` unless that is ""; remove-condition: operator and key.
    """

    action: str
    sentence: str
    key: str = ""
    old: str = ""
    new: str = ""


def change_for(failure: Failure, context: Context) -> Change | None:
    """Return how to mend a condition of an Allow statement; None where only STS knows the key."""
    if failure.found is None:
        return _for_absent(failure, context)
    parsed, (found, *_) = parse_operator(failure.operator), failure.found
    if parsed.bare == "Null":
        return _remove(f"the token has {failure.key}")
    if parsed.is_negated:
        return _remove_matching(failure.operator, failure.expected, found)
    for value in failure.expected:
        if parsed.bare.startswith("StringEquals") and value != found and matches_wildcard(value, found):
            why = f"{failure.operator} compares * and ? literally"
            return _replace(value, found, f"{why}; StringLike would let in all that {value} stands for")
        if value.strip().lower() == found.lower():
            return _replace(value, found, "case and spaces count")
    is_audience = failure.key.lower().endswith(":aud")
    return _let_audience_in(failure.expected, found) if is_audience else _add(found)


def change_against(condition: Condition, context: Context) -> Change | None:
    """Return how to keep a Deny statement's condition from holding; None where it is not what makes the Deny apply.

    Raises NotUnderstood where that cannot be told.
    """
    if failures({condition.operator: {condition.key: list(condition.values)}}, context):
        return None
    values = {key.lower(): tuple(values) for key, values in context.items()}.get(condition.key.lower())
    if not values or condition.parsed.bare in ("Null", "Bool"):
        return None
    if condition.parsed.is_negated:
        return _add(values[0])
    return _remove_matching(condition.operator, condition.values, values[0])


def _for_absent(failure: Failure, context: Context) -> Change | None:
    prefix, _, claim = failure.key.lower().rpartition(":")
    if prefix == "aws" or failure.key.lower().startswith("aws:"):
        return None
    right = next((key for key in context if key.rpartition(":")[2] == claim and claim in _CLAIMS), "")
    if not right:
        return _remove(f"AWS gives no {failure.key} of a cluster's token")
    if not failures({failure.operator: {right: list(failure.expected)}}, context):
        return Change(action="rename-key", key=right, sentence=f"write {right} in place of {failure.key}")
    found = context[right][0]
    told = f'write {right} in place of {failure.key}, with the value "{found}"'
    return Change(action="rename-key", key=right, new=found, sentence=told)


def _remove_matching(operator: str, expected: tuple[str, ...], found: str) -> Change:
    positive = operator.replace("Not", "", 1)
    matching = [one for one in expected if not failures({positive: {"key": one}}, {"key": [found]})]
    told = " and ".join(f'"{one}"' for one in matching)
    if len(matching) == len(expected):
        return _remove(f"all of its values match {found}")
    return Change(action="remove-values", sentence=f"take {told} out of its values")


def _add(value: str) -> Change:
    return Change(action="add-value", new=value, sentence=f'add "{value}" to its values')


def _let_audience_in(expected: tuple[str, ...], found: str) -> Change:
    """Add an audience, with the warning that whoever else such tokens are made for has them too."""
    better = f"project a token for {' or '.join(expected)}; or, " if expected else ""
    told = f'{better}where tokens made for {found} may have the role, add "{found}" to its values'
    return Change(action="add-value", new=found, sentence=told)


def _replace(old: str, new: str, why: str) -> Change:
    return Change(action="replace-value", old=old, new=new, sentence=f'write "{new}" in place of "{old}": {why}')


def _remove(why: str) -> Change:
    return Change(action="remove-condition", sentence=f"take the condition out: {why}")
