"""Evaluates what a caller's own policies permit: those of its identity, its boundary and its session.

Rules: an explicit Deny in any of them wins; the identity's policies grant, boundary and session policies only bound.
(docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html)
It refuses to know where policies are stored, and what a resource's own policy says.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from broker.policy.conditions import NotUnderstood, matches_wildcard
from broker.policy.document import PolicyMalformedError
from broker.policy.statements import Decision, decide, read_strings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from broker.policy.conditions import Context


class Needed(enum.IntEnum):
    """How much the caller's own policies have to say, by whom the resource's policy names."""

    NO_DENY = 0  # it names the very session: nothing may deny
    NO_BOUND = 1  # it names the role or user: boundary and session policies bound that too
    ALLOW = 2  # it names the account, or lies in another one: the identity's policies have to allow


@dataclass(frozen=True, slots=True, kw_only=True)
class Permissions:
    """JSON texts of policies; `boundary` and `session` are None where there is no such bound."""

    identity: tuple[str, ...] = ()
    boundary: tuple[str, ...] | None = None
    session: tuple[str, ...] | None = None

    def refusal(self, needed: Needed, *, action: str, resource: str, context: Context) -> str | None:
        """Say why these policies do not permit `action` on `resource`, or None if they do."""
        by_kind = {"identity policies": self.identity, "boundary": self.boundary, "session policies": self.session}
        decisions = {
            kind: _decide(policies, action=action, resource=resource, context=context)
            for kind, policies in by_kind.items()
            if policies is not None
        }
        for kind, decision in decisions.items():
            if decision.denied_explicitly:
                return f"the caller's {kind}: {decision.reason}"
        for kind, decision in decisions.items():
            necessary = Needed.ALLOW if kind == "identity policies" else Needed.NO_BOUND
            if needed >= necessary and not decision.allowed:
                return f"the caller's {kind} do not allow {action} on {resource}: {decision.reason}"
        return None


def _decide(policies: Sequence[str], *, action: str, resource: str, context: Context) -> Decision:
    def mismatch(statement: Mapping[str, Any]) -> str | None:
        if "Principal" in statement or "NotPrincipal" in statement:
            raise NotUnderstood("Principal has no place in a policy of a caller")
        if "NotResource" in statement:
            excluded = read_strings(statement["NotResource"], "NotResource")
            matched = not any(matches_wildcard(pattern, resource) for pattern in excluded)
        else:
            included = read_strings(statement.get("Resource", []), "Resource")
            matched = any(matches_wildcard(pattern, resource) for pattern in included)
        return None if matched else f"Resource does not cover {resource}"

    try:
        return decide(policies, mismatch=mismatch, action=action, context=context)
    except PolicyMalformedError as error:
        return Decision(allowed=False, reason=str(error), statements=())
