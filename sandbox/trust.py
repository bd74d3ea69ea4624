"""Evaluates a role's trust policy as IAM does, and says which statement or condition decided.

Rules: an explicit Deny wins; without an Allow nothing is allowed; what this module does not understand never allows
(in an Allow it does not match, in a Deny it does).
It refuses to know tokens, HTTP and where policies are stored: a document and a context go in, a decision comes out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sandbox.conditions import Context, Failure, NotUnderstood, failures, matches_wildcard

_UNSUPPORTED_ELEMENTS = frozenset({"NotPrincipal", "Resource", "NotResource"})


class PolicyMalformedError(ValueError):
    """The document is no JSON object with statements."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks: `kind` is the Principal element's key (Federated, AWS), `names` every spelling that means this caller.

    For a federated caller the one name is the provider's ARN; for an assumed role, the session's ARN, the role's ARN,
    the account's root ARN, its number, and `*`.
    """

    kind: str
    names: tuple[str, ...]


def federated(provider_arn: str) -> Caller:
    """Describe a caller who comes with a token of this OIDC provider."""
    return Caller(kind="Federated", names=(provider_arn,))


def evaluate(policy: Mapping[str, Any] | str, *, caller: Caller, action: str, context: Context) -> Decision:
    """Decide whether `policy` lets `caller` do `action`.

    `context` maps condition keys (any case) to their values; a key that is missing, or has no values, is absent.
    PolicyMalformedError: the document cannot be read at all.
    """
    statements = _statements(policy)
    results = tuple(
        _evaluate_statement(statement, name=_name(statement, place), caller=caller, action=action, context=context)
        for place, statement in enumerate(statements, start=1)
    )
    for result in results:
        if result.applies and result.effect != "Allow":
            return Decision(allowed=False, reason=f"{result.name} denies: {result.reason}", statements=results)
    for result in results:
        if result.applies:
            return Decision(allowed=True, reason=f"{result.name} allows", statements=results)
    reasons = "; ".join(f"{result.name}: {result.reason}" for result in results)
    return Decision(allowed=False, reason=reasons or "the policy has no statements", statements=results)


def _statements(policy: Mapping[str, Any] | str) -> list[Mapping[str, Any]]:
    try:
        document = json.loads(policy) if isinstance(policy, str) else policy
    except ValueError as error:
        raise PolicyMalformedError(f"The policy is not JSON: {error}") from error
    if not isinstance(document, Mapping) or "Statement" not in document:
        raise PolicyMalformedError("The policy is not an object with a Statement")
    found = document["Statement"]
    statements = [found] if isinstance(found, Mapping) else found
    if not isinstance(statements, list) or not all(isinstance(one, Mapping) for one in statements):
        raise PolicyMalformedError("Statement is neither an object nor a list of objects")
    return statements


def _name(statement: Mapping[str, Any], place: int) -> str:
    return str(statement.get("Sid") or f"statement {place}")


def _evaluate_statement(
    statement: Mapping[str, Any], *, name: str, caller: Caller, action: str, context: Context
) -> StatementResult:
    effect = str(statement.get("Effect", ""))
    if effect not in ("Allow", "Deny"):
        reason = f"Effect is {effect!r}, neither Allow nor Deny"
        return StatementResult(name=name, effect=effect, applies=True, reason=reason)
    try:
        mismatch = _mismatch(statement, caller, action)
        failed = () if mismatch else failures(statement.get("Condition", {}), context)
    except NotUnderstood as error:
        # In an Allow, what is not understood grants nothing; in a Deny it has to be feared.
        return StatementResult(name=name, effect=effect, applies=effect == "Deny", reason=str(error))
    if failed:
        reason = "; ".join(failure.sentence() for failure in failed)
        return StatementResult(name=name, effect=effect, applies=False, reason=reason, failures=failed)
    if mismatch:
        return StatementResult(name=name, effect=effect, applies=False, reason=mismatch)
    return StatementResult(name=name, effect=effect, applies=True, reason="principal, action and conditions match")


def _mismatch(statement: Mapping[str, Any], caller: Caller, action: str) -> str | None:
    """Say why principal or action do not match, or None if both do."""
    unknown = sorted(_UNSUPPORTED_ELEMENTS & statement.keys())
    if unknown:
        raise NotUnderstood(f"{unknown[0]} is not supported in a trust policy here")
    if not _names_caller(statement.get("Principal"), caller):
        return f"Principal does not name {caller.kind} {caller.names[0]}"
    if "NotAction" in statement:
        excluded = _texts(statement["NotAction"], "NotAction")
        matched = not any(matches_wildcard(pattern.lower(), action.lower()) for pattern in excluded)
    else:
        included = _texts(statement.get("Action", []), "Action")
        matched = any(matches_wildcard(pattern.lower(), action.lower()) for pattern in included)
    return None if matched else f"Action does not cover {action}"


def _names_caller(principal: object, caller: Caller) -> bool:
    if principal == "*":  # IAM reads a bare star as {"AWS": "*"}: it never stands for a federated caller
        return caller.kind == "AWS" and "*" in caller.names
    if not isinstance(principal, Mapping):
        return False
    return any(name in caller.names for name in _texts(principal.get(caller.kind, []), "Principal"))


def _texts(value: object, element: str) -> Sequence[str]:
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(one, str) for one in values):
        raise NotUnderstood(f"{element} holds something that is no text")
    return [str(one) for one in values]
