"""Evaluate a role's trust policy as IAM does, and report which statement or condition decided.

The rules are those of `broker.policy.statements`; this module adds how Principal is matched. It does not know about
tokens, HTTP or where policies are stored: it takes a document and a request context, and returns a decision.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from broker.policy.conditions import NotUnderstood
from broker.policy.document import PolicyMalformedError
from broker.policy.statements import Decision, decide, read_strings

if TYPE_CHECKING:
    from broker.policy.conditions import Context

__all__ = ["Caller", "Decision", "PolicyMalformedError", "evaluate", "explain_principal_mismatch", "federated"]

_UNSUPPORTED_ELEMENTS = frozenset({"NotPrincipal", "Resource", "NotResource"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """The principal of a request.

    `kind` is the key in the Principal element (Federated, AWS). `names` has every value that names this caller: for a
    federated caller the provider's ARN; for an assumed role the session's ARN, the role's ARN, the account's root ARN,
    the account ID, and `*`.
    """

    kind: str
    names: tuple[str, ...]


def federated(provider_arn: str) -> Caller:
    """Return the caller that presents a token of this OIDC provider."""
    return Caller(kind="Federated", names=(provider_arn,))


def evaluate(policy: Mapping[str, Any] | str, *, caller: Caller, action: str, context: Context) -> Decision:
    """Decide whether a trust policy allows a caller an action. `context` and errors: see `statements.decide`."""

    def mismatch(statement: Mapping[str, Any]) -> str | None:
        return explain_principal_mismatch(statement, caller)

    return decide([policy], mismatch=mismatch, action=action, context=context)


def explain_principal_mismatch(statement: Mapping[str, Any], caller: Caller) -> str | None:
    """Return why a statement does not name this caller, or None where it does. Raises NotUnderstood."""
    unknown = sorted(_UNSUPPORTED_ELEMENTS & statement.keys())
    if unknown:
        raise NotUnderstood(f"{unknown[0]} is not supported in a trust policy")
    principal = statement.get("Principal")
    if statement.get("Effect") == "Deny" and _names_everybody(principal, caller):
        return None
    if not _names_caller(principal, caller):
        return f"Principal does not name {caller.kind} {caller.names[0]}"
    return None


def _names_caller(principal: object, caller: Caller) -> bool:
    if principal == "*":  # does not include the tokens of OIDC providers here, since AWS might refuse them
        return caller.kind == "AWS" and "*" in caller.names
    if not isinstance(principal, Mapping):
        return False
    return any(name in caller.names for name in read_strings(principal.get(caller.kind, []), "Principal"))


def _names_everybody(principal: object, caller: Caller) -> bool:
    """Return whether a Deny names everybody, in any notation, and so may include this caller."""
    if isinstance(principal, Mapping):
        return any("*" in read_strings(principal.get(kind, []), "Principal") for kind in ("AWS", caller.kind))
    return principal == "*"
