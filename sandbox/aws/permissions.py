"""Evaluates a caller's own policies: those of its identity, its permissions boundary and its session.

An explicit Deny in any of them takes precedence. Identity policies grant permissions; the boundary and session policies
only limit them (docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html).
This module does not know where policies are stored, or the policies of resources.
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
    """What the caller's own policies must allow. It depends on whom the resource's policy names."""

    NO_DENY = 0  # the policy names the session: no Deny may match
    NO_BOUND = 1  # the policy names the role or user: the boundary and session policies must also allow
    ALLOW = 2  # the policy names the account, or is in another account: the identity policies must also allow


@dataclass(frozen=True, slots=True, kw_only=True)
class Permissions:
    """JSON texts of policies. `boundary` and `session` are None if there are no such policies."""

    identity: tuple[str, ...] = ()
    boundary: tuple[str, ...] | None = None
    session: tuple[str, ...] | None = None

    def refusal(self, needed: Needed, *, action: str, resource: str, context: Context) -> str | None:
        """Return why these policies do not allow `action` on `resource`, or None if they do."""
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
