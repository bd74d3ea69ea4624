"""The decisions of STS: who gets a session of which role, and which session signed a request.

A session needs a valid request, token, role, trust policy and duration; they are checked in AWS's order. A role that
does not exist is refused like a role that denies. Chained sessions last at most one hour, and inherit transitive tags
and the source identity. A signed request needs a key that was issued here, the matching session token, a valid
signature and an unexpired session. This module does not know HTTP connections or scripted faults.
"""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from broker.policy.trust_policy import Caller, Decision, PolicyMalformedError, evaluate, federated
from sandbox.aws.account import MotoAccount, Role, User, find_user, provider_arn
from sandbox.aws.chaining import check_authorized, check_source_identity
from sandbox.aws.exchange_request import ExchangeRequest, read_request
from sandbox.aws.packing import packed_size, token_size
from sandbox.aws.permissions import Permissions
from sandbox.aws.principals import Principal
from sandbox.aws.refusal import Refusal
from sandbox.aws.sessions import Session
from sandbox.aws.signature import Signature, is_signed_with, read_signature
from sandbox.aws.token_verifier import TokenVerifier

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sandbox.aws.session_tags import SessionTags
    from sandbox.http.loopback import Request

_WEB_IDENTITY = "sts:AssumeRoleWithWebIdentity"
_CHAINED_MAXIMUM = timedelta(hours=1)


class Authority:
    """Makes the decisions and stores the issued sessions. Thread-safe."""

    def __init__(
        self,
        *,
        account: MotoAccount,
        addresses: Mapping[str, str],
        session_lifetime: timedelta | None,
        idp_timeout: timedelta,
    ) -> None:
        self._account = account
        self._session_lifetime = session_lifetime
        self._verifier = TokenVerifier(addresses=addresses, timeout=idp_timeout)
        self._sessions: dict[str, Session] = {}
        self._lock = threading.Lock()

    def exchange(self, form: Mapping[str, str], at: datetime) -> tuple[Session, dict[str, str]]:
        """Handle AssumeRoleWithWebIdentity. Return the session and more elements of the response. Raises Refusal."""
        request = read_request(form, needs_token=True)
        extra = packed_size(request, request.tags)

        def audiences_of(issuer: str) -> tuple[str, ...] | None:
            account_id, partition = request.account_id, request.partition
            return self._account.provider_audiences(issuer, account_id=account_id, partition=partition)

        token = self._verifier.verify(request.token, audiences_of=audiences_of, now=at)
        provider = provider_arn(token.issuer, request.account_id, request.partition)
        context = {**token.keys, "sts:RoleSessionName": [request.session_name]}
        role = self._account.role(request.role_arn)
        decision = _evaluate_trust(role, federated(provider), _WEB_IDENTITY, context)
        if role is None or not decision.allowed:
            message = f"Not authorized to perform {_WEB_IDENTITY}"
            raise Refusal("AccessDenied", message, 403, reason=decision.reason)
        _check_maximum(request, role.max_session)
        extra |= {
            "SubjectFromWebIdentityToken": token.subject,
            "Audience": token.audience,
            "Provider": token.issuer,
        }
        session = self._issue(request, role, at, tags=request.tags, provider=provider)
        return session, extra | token_size(session.session_token)

    def assume_role(self, form: Mapping[str, str], http: Request, at: datetime) -> tuple[Session, dict[str, str]]:
        """Handle AssumeRole by a session that was issued here or by an IAM user. Return as `exchange`."""
        principal = self.describe_principal(self.caller(http, at))
        request = read_request(form, needs_token=False)
        tags = principal.session_tags.merge(request.tags)
        source_identity = check_source_identity(principal, request)
        extra = packed_size(request, tags)
        role = self._account.role(request.role_arn)
        check_authorized(principal, request, role)
        assert role is not None  # otherwise check_authorized has refused
        if principal.is_session and request.duration > _CHAINED_MAXIMUM:
            message = (
                "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining"
            )
            raise Refusal("ValidationError", message)
        _check_maximum(request, role.max_session)
        if source_identity is not None:
            extra["SourceIdentity"] = source_identity
        session = self._issue(request, role, at, tags=tags, source_identity=source_identity)
        return session, extra | token_size(session.session_token)

    def caller_arn(self, http: Request) -> str:
        """Return the ARN of the key that signed a request, without a check, for the record. "" if it is unknown."""
        signature = read_signature(http)
        if signature is None:
            return ""
        with self._lock:
            known = self._sessions.get(signature.access_key_id)
        found = known or find_user(signature.access_key_id)
        return found.arn if found else ""

    def caller(self, http: Request, at: datetime) -> Session | User:
        """Return the session or the IAM user that signed a request. Raises Refusal."""
        signature = read_signature(http)
        if signature is None:
            raise Refusal("MissingAuthenticationToken", "Request is missing Authentication Token", 403)
        with self._lock:
            session = self._sessions.get(signature.access_key_id)
        if session is not None:
            _check_session(session, signature, http, at)
            return session
        user = find_user(signature.access_key_id)
        if user is None:
            raise Refusal("InvalidClientTokenId", "The security token included in the request is invalid.", 403)
        return user

    def describe_principal(self, caller: Session | User) -> Principal:
        """Return the caller with its policies and tags."""
        if isinstance(caller, User):
            return Principal(
                arn=caller.arn, entity_arn=caller.arn, permissions=caller.permissions, entity_tags=caller.tags
            )
        role = self._account.role(caller.role_arn)  # None if the role and its policies were deleted
        permissions = role.permissions if role else Permissions()
        return Principal(
            arn=caller.arn,
            entity_arn=caller.role_arn,
            permissions=replace(permissions, session=caller.policies),
            entity_tags=role.tags if role else {},
            session_tags=caller.tags,
            source_identity=caller.source_identity,
        )

    def _issue(  # noqa: PLR0913 - the properties of a session, most by keyword
        self,
        request: ExchangeRequest,
        role: Role,
        at: datetime,
        *,
        tags: SessionTags,
        source_identity: str | None = None,
        provider: str = "",
    ) -> Session:
        key, secret, token = self._account.issue_keys(request)
        lifetime = request.duration if self._session_lifetime is None else min(request.duration, self._session_lifetime)
        session = Session(
            access_key_id=key,
            secret_access_key=secret,
            session_token=token,
            expires_at=(at + lifetime).replace(microsecond=0),
            role_arn=role.arn,
            role_id=role.role_id,
            session_name=request.session_name,
            tags=tags,
            source_identity=source_identity,
            policies=self._read_session_policies(request),
            provider=provider,
        )
        with self._lock:
            self._sessions[key] = session
        return session

    def _read_session_policies(self, request: ExchangeRequest) -> tuple[str, ...] | None:
        managed = (self._account.managed_policy(arn, request.account_id) for arn in request.policy_arns)
        return tuple(text for text in (request.policy, *managed) if text) or None


def _evaluate_trust(role: Role | None, caller: Caller, action: str, context: Mapping[str, Sequence[str]]) -> Decision:
    if role is None:
        return Decision(allowed=False, reason="the role does not exist", statements=())
    try:
        return evaluate(role.trust_policy, caller=caller, action=action, context=context)
    except PolicyMalformedError as error:
        return Decision(allowed=False, reason=str(error), statements=())


def _check_maximum(request: ExchangeRequest, maximum: timedelta) -> None:
    if request.duration > maximum:
        message = "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."
        raise Refusal("ValidationError", message)


def _check_session(session: Session, signature: Signature, http: Request, at: datetime) -> None:
    if signature.session_token != session.session_token:
        raise Refusal("InvalidClientTokenId", "The security token included in the request is invalid.", 403)
    if not is_signed_with(http, signature, session.secret_access_key):
        message = "The request signature we calculated does not match the signature you provided."
        raise Refusal("SignatureDoesNotMatch", message, 403)
    if at >= session.expires_at:
        raise Refusal("ExpiredToken", "The security token included in the request is expired", 403)
