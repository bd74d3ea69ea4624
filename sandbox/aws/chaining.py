"""Decides AssumeRole: whether a principal may get a session of a role, with its tags and source identity.

Each action is evaluated separately, first in the role's trust policy and then in the caller's own policies:
sts:AssumeRole; sts:TagSession, if tags are passed or inherited; sts:SetSourceIdentity, if one is passed or already set.
Conditions see only the keys of the action. This module does not know HTTP, signatures or durations.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.policy.trust_policy import PolicyMalformedError, evaluate
from sandbox.aws.permissions import Needed
from sandbox.aws.refusal import Refusal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broker.policy.conditions import Context
    from broker.policy.trust_policy import Caller
    from sandbox.aws.account import Role
    from sandbox.aws.exchange_request import ExchangeRequest
    from sandbox.aws.principals import Principal

_ASSUME, _TAG, _SET_SOURCE_IDENTITY = "sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"
_TAG_KEYS = ("aws:RequestTag/", "aws:TagKeys", "sts:TransitiveTagKeys")
# Source: docs.aws.amazon.com/service-authorization/latest/reference/list_awssecuritytokenservice.html. For example, a
# statement that allows sts:TagSession with a condition on sts:ExternalId never applies.
_KEYS = {
    _ASSUME: ("sts:ExternalId", "sts:RoleSessionName", "sts:SourceIdentity", *_TAG_KEYS),
    _TAG: _TAG_KEYS,
    _SET_SOURCE_IDENTITY: ("sts:SourceIdentity",),
}
_GLOBAL_KEYS = ("aws:Principal", "aws:SourceIdentity")


def check_source_identity(principal: Principal, request: ExchangeRequest) -> str | None:
    """Return the source identity of the new session. Raises Refusal if the request would change it.

    AWS's message is from github.com/mahitotsu/gekko_08 `experiments/multi-hop-propagation/RESULTS.md`.
    """
    if principal.source_identity is None:
        return request.source_identity
    if request.source_identity not in (None, principal.source_identity):
        raise Refusal("ValidationError", "The source identity is already set for this assume role session")
    return principal.source_identity


def check_authorized(principal: Principal, request: ExchangeRequest, role: Role | None) -> None:
    """Raise Refusal if the trust policy or the caller's own policies do not allow one of the actions."""
    for action in _needed_actions(principal, request):
        reason = _explain_denial(principal, request, role, action)
        if reason is not None:
            message = f"User: {principal.arn} is not authorized to perform: {action} on resource: {request.role_arn}"
            raise Refusal("AccessDenied", message, 403, reason=reason)


def _needed_actions(principal: Principal, request: ExchangeRequest) -> Iterator[str]:
    yield _ASSUME
    if request.tags.pairs or principal.session_tags.transitive.pairs:
        yield _TAG
    if request.source_identity or principal.source_identity:
        yield _SET_SOURCE_IDENTITY


def _explain_denial(principal: Principal, request: ExchangeRequest, role: Role | None, action: str) -> str | None:
    """Return why an action is denied, or None if it is allowed."""
    if role is None:
        return "the role does not exist"
    if principal.partition != request.partition:
        return f"the role is in the partition {request.partition}, the caller in {principal.partition}"
    context = _collect_context(principal, request, action)
    try:
        trust = evaluate(role.trust_policy, caller=principal.with_every_name(), action=action, context=context)
    except PolicyMalformedError as error:
        return f"the trust policy: {error}"
    if not trust.allowed:
        return f"the trust policy does not allow {action}: {trust.reason}"
    needed = _find_needed(principal, role, action, context)
    return principal.permissions.refusal(needed, action=action, resource=role.arn, context=context)


def _find_needed(principal: Principal, role: Role, action: str, context: Context) -> Needed:
    """Return what the caller's own policies must allow. It depends on how the trust policy names the caller.

    Source: docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic_policy-eval-denyallow.html. A
    chain needs sts:SetSourceIdentity on both sides: id_credentials_temp_control-access_monitor.html in the same guide.
    """
    if role.account_id != principal.account_id or (action == _SET_SOURCE_IDENTITY and principal.is_session):
        return Needed.ALLOW

    def trusts(caller: Caller) -> bool:
        return evaluate(role.trust_policy, caller=caller, action=action, context=context).allowed

    if principal.is_session and trusts(principal.with_session_arn()):
        return Needed.NO_DENY
    return Needed.NO_BOUND if trusts(principal.without_account()) else Needed.ALLOW


def _collect_context(principal: Principal, request: ExchangeRequest, action: str) -> Context:
    """Return the condition keys of `action`. Inherited tags are tags of the principal, not of the request."""
    found: dict[str, list[str]] = {
        "aws:PrincipalArn": [principal.entity_arn],
        "aws:PrincipalAccount": [principal.account_id],
        "sts:RoleSessionName": [request.session_name],
        "aws:TagKeys": list(request.tags.pairs),
        "sts:TransitiveTagKeys": list(request.tags.transitive_keys),
    }
    for key, value in principal.tags.items():
        found[f"aws:PrincipalTag/{key}"] = [value]
    for key, value in request.tags.pairs.items():
        found[f"aws:RequestTag/{key}"] = [value]
    optional = {
        "sts:ExternalId": request.external_id,
        "sts:SourceIdentity": request.source_identity,
        "aws:SourceIdentity": principal.source_identity,
    }
    found.update({key: [value] for key, value in optional.items() if value is not None})
    return {key: values for key, values in found.items() if key.startswith((*_KEYS[action], *_GLOBAL_KEYS))}
