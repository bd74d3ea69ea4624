"""The judgement of AssumeRole: whether a principal may have a session of a role, with its tags and source identity.

Rules: each of sts:AssumeRole, sts:TagSession (tags are passed or handed on) and sts:SetSourceIdentity (one is passed or
was set) is asked for by itself, of the role's trust policy and then of the caller's own policies; a condition finds
only the keys that belong to the action.
It refuses to know HTTP, signatures and durations.
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
# docs.aws.amazon.com/service-authorization/latest/reference/list_awssecuritytokenservice.html: so a statement that
# allows sts:TagSession on a condition of sts:ExternalId never applies.
_KEYS = {
    _ASSUME: ("sts:ExternalId", "sts:RoleSessionName", "sts:SourceIdentity", *_TAG_KEYS),
    _TAG: _TAG_KEYS,
    _SET_SOURCE_IDENTITY: ("sts:SourceIdentity",),
}
_GLOBAL_KEYS = ("aws:Principal", "aws:SourceIdentity")


def check_source_identity(principal: Principal, request: ExchangeRequest) -> str | None:
    """Give the source identity of the new session, or refuse to change the one that is set.

    The refusal was seen at AWS: github.com/mahitotsu/gekko_08 `experiments/multi-hop-propagation/RESULTS.md`.
    """
    if principal.source_identity is None:
        return request.source_identity
    if request.source_identity not in (None, principal.source_identity):
        raise Refusal("ValidationError", "The source identity is already set for this assume role session")
    return principal.source_identity


def check_authorized(principal: Principal, request: ExchangeRequest, role: Role | None) -> None:
    """Refuse what trust policy or the caller's own policies do not allow, by the first action that fails."""
    for action in _actions(principal, request):
        reason = _refusal(principal, request, role, action)
        if reason is not None:
            message = f"User: {principal.arn} is not authorized to perform: {action} on resource: {request.role_arn}"
            raise Refusal("AccessDenied", message, 403, reason=reason)


def _actions(principal: Principal, request: ExchangeRequest) -> Iterator[str]:
    yield _ASSUME
    if request.tags.pairs or principal.session_tags.handed_on.pairs:
        yield _TAG
    if request.source_identity or principal.source_identity:
        yield _SET_SOURCE_IDENTITY


def _refusal(principal: Principal, request: ExchangeRequest, role: Role | None, action: str) -> str | None:
    if role is None:
        return "the role does not exist"
    if principal.partition != request.partition:
        return f"the role is in the partition {request.partition}, the caller in {principal.partition}"
    context = _context(principal, request, action)
    try:
        trust = evaluate(role.trust_policy, caller=principal.by_every_name(), action=action, context=context)
    except PolicyMalformedError as error:
        return f"the trust policy: {error}"
    if not trust.allowed:
        return f"the trust policy does not allow {action}: {trust.reason}"
    needed = _needed(principal, role, action, context)
    return principal.permissions.refusal(needed, action=action, resource=role.arn, context=context)


def _needed(principal: Principal, role: Role, action: str, context: Context) -> Needed:
    """Say how much the caller's own policies have to allow, by how the trust policy names the caller.

    docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic_policy-eval-denyallow.html; a chain
    needs sts:SetSourceIdentity on both sides (…/id_credentials_temp_control-access_monitor.html).
    """
    if role.account_id != principal.account_id or (action == _SET_SOURCE_IDENTITY and principal.is_session):
        return Needed.ALLOW

    def trusts(caller: Caller) -> bool:
        return evaluate(role.trust_policy, caller=caller, action=action, context=context).allowed

    if principal.is_session and trusts(principal.by_own_arn()):
        return Needed.NO_DENY
    return Needed.NO_BOUND if trusts(principal.by_own_names()) else Needed.ALLOW


def _context(principal: Principal, request: ExchangeRequest, action: str) -> Context:
    """Collect the condition keys of `action`: what is handed on is the principal's, and not the request's."""
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
