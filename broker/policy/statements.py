"""The part of the policy language that trust policies and permissions share: statements, effects, actions, conditions.

Rules: an explicit Deny wins, in whichever policy it stands; without an Allow nothing is allowed; what this module does
not understand never allows (in an Allow it does not match, in a Deny it does).
It refuses to know whom or what a statement is about: the caller of this module says whether that part matches.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from broker.policy.conditions import Context, Failure, NotUnderstood, failures, matches_wildcard
from broker.policy.document import PolicyMalformedError, read_json

Mismatch: TypeAlias = Callable[[Mapping[str, Any]], str | None]

_ELEMENTS = frozenset(
    {"Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementResult:
    """How one statement fared. `name` is its Sid, or its place counted from 1; `reason` is one sentence."""

    name: str
    effect: str
    applies: bool
    reason: str
    failures: tuple[Failure, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The outcome: `reason` is one line for a person; `statements` tell each statement's part, in order."""

    allowed: bool
    reason: str
    statements: tuple[StatementResult, ...]

    @property
    def denied_explicitly(self) -> bool:
        """Whether a Deny decided, and not the lack of an Allow."""
        return any(result.applies and result.effect != "Allow" for result in self.statements)


def decide(
    policies: Sequence[Mapping[str, Any] | str], *, mismatch: Mismatch, action: str, context: Context
) -> Decision:
    """Decide whether these policies together allow `action`.

    `mismatch` says why a statement is about somebody or something else, or None, and may raise NotUnderstood;
    `context` maps condition keys (any case) to their values; a key that is missing, or has no values, is absent.
    PolicyMalformedError: a document cannot be read at all.
    """
    results = tuple(
        _evaluate(statement, name=name_of(statement, place), mismatch=mismatch, action=action, context=context)
        for policy in policies
        for place, statement in enumerate(statements_of(policy), start=1)
    )
    for result in results:
        if result.applies and result.effect != "Allow":
            return Decision(allowed=False, reason=f"{result.name} denies: {result.reason}", statements=results)
    for result in results:
        if result.applies:
            return Decision(allowed=True, reason=f"{result.name} allows", statements=results)
    reasons = "; ".join(f"{result.name}: {result.reason}" for result in results)
    return Decision(allowed=False, reason=reasons or "the policy has no statements", statements=results)


def statements_of(policy: Mapping[str, Any] | str) -> list[Mapping[str, Any]]:
    """Read the statements of a document, or raise PolicyMalformedError; a key that stands twice is malformed too."""
    if isinstance(policy, str):
        read = read_json(policy)
        if read.duplicates:
            raise PolicyMalformedError(f"The policy has the key {read.duplicates[0].key} twice in one object")
        document = read.root.value
    else:
        document = policy
    if not isinstance(document, Mapping) or "Statement" not in document:
        raise PolicyMalformedError("The policy is not an object with a Statement")
    found = document["Statement"]
    statements = [found] if isinstance(found, Mapping) else found
    if not isinstance(statements, list) or not all(isinstance(one, Mapping) for one in statements):
        raise PolicyMalformedError("Statement is neither an object nor a list of objects")
    return statements


def texts(value: object, element: str) -> Sequence[str]:
    """Read an element that holds one text or a list of them."""
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(one, str) for one in values):
        raise NotUnderstood(f"{element} holds something that is no text")
    return [str(one) for one in values]


def name_of(statement: Mapping[str, Any], place: int) -> str:
    """Name a statement: its Sid, or its place counted from 1."""
    return str(statement.get("Sid") or f"statement {place}")


def unknown_elements(statement: Mapping[str, Any]) -> list[str]:
    """Return what stands in a statement and is no element of the policy language; their names are case-sensitive."""
    return sorted(statement.keys() - _ELEMENTS)


def action_mismatch(statement: Mapping[str, Any], action: str) -> str | None:
    """Say why a statement is not about this action, or None; NotUnderstood where that cannot be told."""
    if "NotAction" in statement:
        excluded = texts(statement["NotAction"], "NotAction")
        matched = not any(matches_wildcard(pattern.lower(), action.lower()) for pattern in excluded)
    else:
        included = texts(statement.get("Action", []), "Action")
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
        if unknown := unknown_elements(statement):
            raise NotUnderstood(f"{unknown[0]} is no element of a statement")  # noqa: TRY301 - told as the others are
        other = mismatch(statement) or action_mismatch(statement, action)
        failed = () if other else failures(statement.get("Condition", {}), context)
    except NotUnderstood as error:
        # In an Allow, what is not understood grants nothing; in a Deny it has to be feared.
        return StatementResult(name=name, effect=effect, applies=effect == "Deny", reason=str(error))
    if failed:
        reason = "; ".join(failure.sentence() for failure in failed)
        return StatementResult(name=name, effect=effect, applies=False, reason=reason, failures=failed)
    if other:
        return StatementResult(name=name, effect=effect, applies=False, reason=other)
    return StatementResult(name=name, effect=effect, applies=True, reason="everything in it matches")
