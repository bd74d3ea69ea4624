"""Decide what statements allow. Trust policies and permission policies share this part of the policy language.

An explicit Deny in any policy takes precedence. Without an Allow, nothing is allowed. A statement that this module does
not support never allows: as an Allow it does not apply, as a Deny it does.
This module does not match principals or resources: the caller passes a function for that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from broker.policy.conditions import Context, Failure, NotUnderstood, find_failures, matches_wildcard
from broker.policy.document import PolicyMalformedError, read_json

Mismatch: TypeAlias = Callable[[Mapping[str, Any]], str | None]

_ELEMENTS = frozenset(
    {"Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementResult:
    """The result of one statement. `name` is its Sid or its position, counted from 1; `reason` is one sentence."""

    name: str
    effect: str
    applies: bool
    reason: str
    failures: tuple[Failure, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The decision on a request. `reason` is one line for people; `statements` has the results in order."""

    allowed: bool
    reason: str
    statements: tuple[StatementResult, ...]

    @property
    def denied_explicitly(self) -> bool:
        """Whether a Deny statement decided, as opposed to a missing Allow."""
        return any(result.applies and result.effect != "Allow" for result in self.statements)


def decide(
    policies: Sequence[Mapping[str, Any] | str], *, mismatch: Mismatch, action: str, context: Context
) -> Decision:
    """Decide whether these policies together allow an action.

    Args:
        policies: Policy documents, as mappings or JSON texts.
        mismatch: Returns why a statement is not about this request, or None where it is. It may raise NotUnderstood.
        action: The action's name, such as `sts:AssumeRole`.
        context: Condition keys, in any case, and their values. A key without values counts as absent.

    Raises:
        PolicyMalformedError: A document cannot be read.
    """
    results = tuple(
        _evaluate(statement, name=name_statement(statement, place), mismatch=mismatch, action=action, context=context)
        for policy in policies
        for place, statement in enumerate(list_statements(policy), start=1)
    )
    for result in results:
        if result.applies and result.effect != "Allow":
            return Decision(allowed=False, reason=f"{result.name} denies: {result.reason}", statements=results)
    for result in results:
        if result.applies:
            return Decision(allowed=True, reason=f"{result.name} allows", statements=results)
    reasons = "; ".join(f"{result.name}: {result.reason}" for result in results)
    return Decision(allowed=False, reason=reasons or "the policy has no statements", statements=results)


def list_statements(policy: Mapping[str, Any] | str) -> list[Mapping[str, Any]]:
    """Return the statements of a document.

    Raises PolicyMalformedError where the document is not a policy, or an object in it has a key twice.
    """
    if isinstance(policy, str):
        read = read_json(policy)
        if read.duplicates:
            raise PolicyMalformedError(
                f"the key {read.duplicates[0].key} appears twice in one object; keep one of them"
            )
        document = read.root.value
    else:
        document = policy
    if not isinstance(document, Mapping) or "Statement" not in document:
        raise PolicyMalformedError("not a policy: expected a JSON object with a Statement element")
    found = document["Statement"]
    statements = [found] if isinstance(found, Mapping) else found
    if not isinstance(statements, list) or not all(isinstance(one, Mapping) for one in statements):
        raise PolicyMalformedError("Statement is neither an object nor a list of objects")
    return statements


def read_strings(value: object, element: str) -> Sequence[str]:
    """Return the strings of an element that has one string or a list of them. Raises NotUnderstood."""
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(one, str) for one in values):
        raise NotUnderstood(f"{element} has a value that isn't a string")
    return [str(one) for one in values]


def name_statement(statement: Mapping[str, Any], place: int) -> str:
    """Return a statement's Sid, or its position, counted from 1."""
    return str(statement.get("Sid") or f"statement {place}")


def find_unknown_elements(statement: Mapping[str, Any]) -> list[str]:
    """Return the keys of a statement that are not elements of the policy language. Element names are case-sensitive."""
    return sorted(statement.keys() - _ELEMENTS)


def explain_action_mismatch(statement: Mapping[str, Any], action: str) -> str | None:
    """Return why a statement does not cover this action, or None where it does. Raises NotUnderstood."""
    if "NotAction" in statement:
        excluded = read_strings(statement["NotAction"], "NotAction")
        matched = not any(matches_wildcard(pattern.lower(), action.lower()) for pattern in excluded)
    else:
        included = read_strings(statement.get("Action", []), "Action")
        matched = any(matches_wildcard(pattern.lower(), action.lower()) for pattern in included)
    return None if matched else f"Action does not cover {action}"


def _evaluate(
    statement: Mapping[str, Any], *, name: str, mismatch: Mismatch, action: str, context: Context
) -> StatementResult:
    effect = str(statement.get("Effect", ""))
    if effect not in ("Allow", "Deny"):
        reason = f"Effect is {effect!r}, neither Allow nor Deny"
        return StatementResult(name=name, effect=effect, applies=True, reason=reason)
    try:
        if unknown := find_unknown_elements(statement):
            raise NotUnderstood(f"{unknown[0]} isn't an element of a statement")  # noqa: TRY301 - handled like the others
        other = mismatch(statement) or explain_action_mismatch(statement, action)
        failed = () if other else find_failures(statement.get("Condition", {}), context)
    except NotUnderstood as error:
        # AWS may match what is not supported here: an Allow must not rely on it, and a Deny must assume it.
        return StatementResult(name=name, effect=effect, applies=effect == "Deny", reason=str(error))
    if failed:
        reason = "; ".join(failure.describe() for failure in failed)
        return StatementResult(name=name, effect=effect, applies=False, reason=reason, failures=failed)
    if other:
        return StatementResult(name=name, effect=effect, applies=False, reason=other)
    return StatementResult(name=name, effect=effect, applies=True, reason="all of its elements match")
