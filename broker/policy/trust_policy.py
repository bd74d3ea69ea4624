"""Evaluates a role's trust policy as IAM does, and says which statement or condition decided.

Rules: those of `broker.statements`, and a statement is for whom its Principal names.
It refuses to know tokens, HTTP and where policies are stored: a document and a context go in, a decision comes out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from broker.policy.conditions import NotUnderstood
from broker.policy.document import PolicyMalformedError
from broker.policy.statements import Decision, decide, texts

if TYPE_CHECKING:
    from broker.policy.conditions import Context

__all__ = ["Caller", "Decision", "PolicyMalformedError", "evaluate", "federated", "principal_mismatch"]

_UNSUPPORTED_ELEMENTS = frozenset({"NotPrincipal", "Resource", "NotResource"})


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
    """Decide whether `policy` lets `caller` do `action`; `context` and PolicyMalformedError are those of `decide`."""

    def mismatch(statement: Mapping[str, Any]) -> str | None:
        return principal_mismatch(statement, caller)

    return decide([policy], mismatch=mismatch, action=action, context=context)


def principal_mismatch(statement: Mapping[str, Any], caller: Caller) -> str | None:
    """Say why a statement is not about this caller, or None; NotUnderstood where that cannot be told."""
    unknown = sorted(_UNSUPPORTED_ELEMENTS & statement.keys())
    if unknown:
        raise NotUnderstood(f"{unknown[0]} is not supported in a trust policy here")
    principal = statement.get("Principal")
    if statement.get("Effect") == "Deny" and _names_everybody(principal, caller):
        return None
    if not _names_caller(principal, caller):
        return f"Principal does not name {caller.kind} {caller.names[0]}"
    return None


def _names_caller(principal: object, caller: Caller) -> bool:
    if principal == "*":  # in an Allow it stands for no provider's tokens here: AWS might refuse them
        return caller.kind == "AWS" and "*" in caller.names
    if not isinstance(principal, Mapping):
        return False
    return any(name in caller.names for name in texts(principal.get(caller.kind, []), "Principal"))


def _names_everybody(principal: object, caller: Caller) -> bool:
    """Say whether a Deny is for all, however that is written: it may mean this caller, and so has to be feared."""
    if isinstance(principal, Mapping):
        return any("*" in texts(principal.get(kind, []), "Principal") for kind in ("AWS", caller.kind))
    return principal == "*"
