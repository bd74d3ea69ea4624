"""Suggest the smallest change to a statement that admits a token: one for each condition that does not match.

A suggested change never admits more than the token at hand: nothing becomes a wildcard. It removes a value or condition
only where no token can match it. The code is pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from broker.policy.conditions import Failure, find_failures, is_arn, matches_wildcard, parse_operator
from broker.policy.provider_claims import SERVICE_ACCOUNT_PREFIX

if TYPE_CHECKING:
    from broker.policy.conditions import Context
    from broker.trust.linter.statement import Condition

_CLAIMS = ("sub", "aud")


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A change to a statement.

    `action` is a stable word. `key`, `old` and `new` are its parameters, "" where the action does not use them:

    - add-value: add `new` to the values of the key
    - replace-value: replace `old` with `new`
    - remove-values: remove the values that match the token
    - rename-key: rename the key to `key`, and replace its values with `new` unless that is ""
    - remove-condition: remove the key from under its operator
    - add-statement: add a statement to the policy
    """

    action: str
    sentence: str
    key: str = ""
    old: str = ""
    new: str = ""


def suggest_change(failure: Failure, context: Context) -> Change | None:
    """Return the change that makes an Allow statement's condition match.

    None where only STS knows the key, where AWS may provide a claim that is absent here, and where the operator cannot
    match the key's value.
    """
    if failure.found is None:
        return _suggest_for_absent_key(failure, context)
    parsed, (found, *_) = parse_operator(failure.operator), failure.found
    if parsed.bare == "Null":
        return _remove_condition(f"the token has {failure.key}")
    if parsed.is_negated:
        return _remove_matching_values(failure.operator, failure.expected, found)
    return None if parsed.compares_arns and not is_arn(found) else _suggest_value(failure, found)


def _suggest_value(failure: Failure, found: str) -> Change:
    """Return the change of a value that admits the token, under an operator that names what is admitted."""
    is_literal = parse_operator(failure.operator).bare.startswith("StringEquals")
    for value in failure.expected:
        if is_literal and value != found and matches_wildcard(value, found):
            reason = f"{failure.operator} compares * and ? literally"
            return _replace_value(value, found, f"{reason}; StringLike would admit everything that matches {value}")
        if value.strip().lower() == found.lower():
            return _replace_value(value, found, "values are compared with case and spaces")
    is_audience = failure.key.lower().endswith(":aud")
    return _add_audience(failure.expected, found) if is_audience else _add_value(found)


def suggest_exception(condition: Condition, context: Context) -> Change | None:
    """Return the change that keeps a Deny statement's condition from matching.

    None where the condition does not match, or no change of its values helps. Raises NotUnderstood.
    """
    if find_failures({condition.operator: {condition.key: list(condition.values)}}, context):
        return None
    values = {key.lower(): tuple(values) for key, values in context.items()}.get(condition.key.lower())
    if not values or condition.parsed.bare in ("Null", "Bool"):
        return None
    if condition.parsed.is_negated:
        return _add_value(values[0])
    return _remove_matching_values(condition.operator, condition.values, values[0])


def _suggest_for_absent_key(failure: Failure, context: Context) -> Change | None:
    prefix, _, claim = failure.key.lower().rpartition(":")
    if prefix == "aws" or failure.key.lower().startswith("aws:"):
        return None
    key = next((key for key in context if key.rpartition(":")[2] == claim and claim in _CLAIMS), "")
    if not key:
        if prefix != "sts" and not _is_for_service_account(context):
            return None  # without the condition, the role would admit more tokens than its author wants
        return _remove_condition(f"AWS doesn't provide {failure.key} of a cluster's token")
    sentence = f"replace {failure.key} with {key}"
    if not find_failures({failure.operator: {key: list(failure.expected)}}, context):
        return Change(action="rename-key", key=key, sentence=sentence)
    if parse_operator(failure.operator).is_negated:
        return _remove_condition(f"with {key} it would exclude this token")
    found = context[key][0]
    return Change(action="rename-key", key=key, new=found, sentence=f'{sentence}, and its values with "{found}"')


def _is_for_service_account(context: Context) -> bool:
    """Return whether the token is a cluster's, whose claims AWS does not provide."""
    subjects = (values for key, values in context.items() if key.endswith(":sub"))
    return any(value.startswith(SERVICE_ACCOUNT_PREFIX) for values in subjects for value in values)


def _remove_matching_values(operator: str, expected: tuple[str, ...], found: str) -> Change:
    positive = operator.replace("Not", "", 1)
    matching = [one for one in expected if not find_failures({positive: {"key": one}}, {"key": [found]})]
    if len(matching) == len(expected):
        return _remove_condition(f"all of its values match {found}")
    listed = " and ".join(f'"{one}"' for one in matching)
    return Change(action="remove-values", sentence=f"remove {listed} from its values")


def _add_value(value: str) -> Change:
    return Change(action="add-value", new=value, sentence=f'add "{value}" to its values')


def _add_audience(expected: tuple[str, ...], found: str) -> Change:
    """Return how to add an audience, with the warning that it admits all tokens for that audience."""
    alternative = f"request a token for {' or '.join(expected)}; or, " if expected else ""
    sentence = f'{alternative}if every token for {found} may use the role, add "{found}" to its values'
    return Change(action="add-value", new=found, sentence=sentence)


def _replace_value(old: str, new: str, reason: str) -> Change:
    return Change(action="replace-value", old=old, new=new, sentence=f'replace "{old}" with "{new}": {reason}')


def _remove_condition(reason: str) -> Change:
    return Change(action="remove-condition", sentence=f"remove the condition: {reason}")
