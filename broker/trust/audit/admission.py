"""Judge what a trust policy does with a caller of whom only a part is known.

`sts-broker trust explain` knows the whole request. An audit knows who the caller is, but neither its address nor the
session name and external ID that it will choose. Such condition keys are *open*. Principals, actions and conditions are
matched by `broker.policy`; this module adds what open keys mean: a statement with one applies under a condition. Where
no key is open, the verdict is that of `broker.policy.trust_policy.evaluate`. A property test compares the two. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, unique
from typing import TYPE_CHECKING, Any

from broker.policy.conditions import NotUnderstood, find_failures
from broker.policy.statements import explain_action_mismatch, find_unknown_elements
from broker.policy.trust_policy import explain_principal_mismatch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from broker.policy.conditions import Context
    from broker.policy.trust_policy import Caller
    from broker.trust.linter.statement import Statement


@unique
class Verdict(Enum):
    """Whether a policy admits a caller."""

    YES = "yes"
    CONDITIONAL = "conditional"
    """It does, if the request also meets conditions on keys that are open."""
    UNJUDGED = "not judged"
    """The policy uses what the evaluator does not support."""
    NO = "no"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request of which a part is known: its caller, its action, and the condition keys in `context`.

    `is_open` returns whether a key that is not in `context` may have a value all the same. The key is in lower case.
    """

    caller: Caller
    action: str
    context: Context
    is_open: Callable[[str], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """A verdict. `conditions` are those that the request must also meet; `reason` explains NO and UNJUDGED."""

    verdict: Verdict
    conditions: tuple[str, ...] = ()
    reason: str = ""

    @property
    def is_possible(self) -> bool:
        """Whether the caller is admitted, perhaps under conditions."""
        return self.verdict in (Verdict.YES, Verdict.CONDITIONAL)


_RANKS = list(Verdict)


def find_best(admissions: Sequence[Admission]) -> Admission:
    """Return the most generous of several verdicts: the caller chooses among the requests. NO where there are none."""
    return min(admissions, key=lambda one: _RANKS.index(one.verdict), default=Admission(verdict=Verdict.NO))


def admit(statements: Sequence[Statement], request: Request) -> Admission:
    """Return whether these statements of one trust policy admit a request."""
    judged = [(one, _judge_statement(one, request)) for one in statements]
    denies = [found for one, found in judged if not one.is_allow]
    allows = [found for one, found in judged if one.is_allow]
    if denied := next((one for one in denies if one.verdict is Verdict.YES), None):
        return Admission(verdict=Verdict.NO, reason=f"{denied.reason} denies")
    best = find_best(allows)
    unjudged = next((one for one in denies if one.verdict is Verdict.UNJUDGED), None)
    if best.verdict is Verdict.NO:
        reasons = dict.fromkeys(one.reason for one in allows)
        return Admission(verdict=Verdict.NO, reason="; ".join(reasons) or "no statement allows anything")
    if unjudged or best.verdict is Verdict.UNJUDGED:
        return unjudged or best
    exceptions = [f"not where {' and '.join(one.conditions)}" for one in denies if one.verdict is Verdict.CONDITIONAL]
    conditions = (*best.conditions, *exceptions)
    return Admission(verdict=Verdict.CONDITIONAL if conditions else Verdict.YES, conditions=conditions)


def _judge_statement(statement: Statement, request: Request) -> Admission:
    """Return whether a statement applies. `reason` has its name, or why it does not apply."""
    raw, name = statement.raw, statement.name
    try:
        if raw.get("Effect") not in ("Allow", "Deny"):
            raise NotUnderstood("Effect is neither Allow nor Deny")  # noqa: TRY301 - handled like the others
        if unknown := find_unknown_elements(raw):
            raise NotUnderstood(f"{unknown[0]} isn't an element of a statement")  # noqa: TRY301 - likewise
        other = explain_principal_mismatch(raw, request.caller) or explain_action_mismatch(raw, request.action)
        if other:
            return Admission(verdict=Verdict.NO, reason=f"{name}: {other}")
        closed, opened = _split_conditions(raw.get("Condition", {}), request)
        failures = find_failures(closed, request.context)
    except NotUnderstood as error:
        return Admission(verdict=Verdict.UNJUDGED, reason=f"{name}: {error}")
    if failures:
        reasons = "; ".join(one.describe() for one in failures)
        return Admission(verdict=Verdict.NO, reason=f"{name}: {reasons}")
    verdict = Verdict.CONDITIONAL if opened else Verdict.YES
    return Admission(verdict=verdict, conditions=opened, reason=name)


def _split_conditions(condition: object, request: Request) -> tuple[object, tuple[str, ...]]:
    """Return the conditions whose outcome is certain, and a text for each of the others."""
    if not isinstance(condition, Mapping) or not all(isinstance(block, Mapping) for block in condition.values()):
        return condition, ()
    known = {key.lower() for key, values in request.context.items() if values}
    opened = {
        (operator, key)
        for operator, block in condition.items()
        for key in block
        if str(key).lower() not in known and request.is_open(str(key).lower())
    }
    closed = {
        operator: {key: value for key, value in block.items() if (operator, key) not in opened}
        for operator, block in condition.items()
    }
    texts = tuple(
        f"{operator} {key} {_list_values(value)}"
        for operator, block in condition.items()
        for key, value in block.items()
        if (operator, key) in opened
    )
    return {operator: block for operator, block in closed.items() if block}, texts


def _list_values(value: Any) -> str:  # noqa: ANN401 - a JSON value
    return " | ".join(map(str, value)) if isinstance(value, list) else str(value)
