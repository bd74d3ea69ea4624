"""The judgement of STS: who may have a session of which role, and whose session a signed request belongs to.

Rules: a session is issued only when request, token, role, trust policy and duration fit, in AWS's order; a role that
does not exist is refused like one whose trust does not fit; chained sessions last an hour at most; a signed request
needs a key that was issued here, its own session token, a valid signature and a session that is not over.
It refuses to know HTTP's wire and scripted faults.
"""

from __future__ import annotations

import threading
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sandbox.account import MotoAccount, Role, provider_arn, user_of
from sandbox.answers import Refusal, Session
from sandbox.exchange_request import ExchangeRequest, read_request
from sandbox.signature import Signature, is_signed_with, read_signature
from sandbox.tokens import TokenVerifier
from sandbox.trust import Caller, Decision, PolicyMalformedError, evaluate, federated

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sandbox.loopback import Request

_WEB_IDENTITY = "sts:AssumeRoleWithWebIdentity"
_CHAINED_MAXIMUM = timedelta(hours=1)
_POLICY_LIMIT_CHARACTERS = 2048


class Authority:
    """Decides and keeps the sessions that it issued; thread-safe."""

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
        """Do AssumeRoleWithWebIdentity: the session and the further elements of the answer, or Refusal."""
        request = read_request(form, needs_token=True)

        def audiences_of(issuer: str) -> tuple[str, ...] | None:
            account_id, partition = request.account_id, request.partition
            return self._account.provider_audiences(issuer, account_id=account_id, partition=partition)

        token = self._verifier.verify(request.token, audiences_of=audiences_of, now=at)
        provider = provider_arn(token.issuer, request.account_id, request.partition)
        prefix = token.issuer.removeprefix("https://")
        context = {
            f"{prefix}:aud": [token.audience],
            f"{prefix}:sub": [token.subject],
            "sts:RoleSessionName": [request.session_name],
        }
        role = self._account.role(request.role_arn)
        decision = _consult(role, federated(provider), _WEB_IDENTITY, context)
        if role is None or not decision.allowed:
            message = f"Not authorized to perform {_WEB_IDENTITY}"
            raise Refusal("AccessDenied", message, 403, reason=decision.reason)
        _check_maximum(request, role.max_session)
        session = self._issue(request, role, at)
        extra = {
            "SubjectFromWebIdentityToken": token.subject,
            "Audience": token.audience,
            "Provider": token.issuer,
        }
        return session, extra | _packed_size(request)

    def assume_role(self, form: Mapping[str, str], http: Request, at: datetime) -> tuple[Session, dict[str, str]]:
        """Do AssumeRole, by a session that was issued here or by an IAM user; Refusal as above."""
        caller = self.caller(http, at)
        request = read_request(form, needs_token=False)
        role = self._account.role(request.role_arn)
        context = {"sts:RoleSessionName": [request.session_name]}
        if request.external_id is not None:
            context["sts:ExternalId"] = [request.external_id]
        decision = _consult(role, _principal(caller), "sts:AssumeRole", context)
        arn = caller.arn if isinstance(caller, Session) else caller
        if role is None or not decision.allowed:
            message = f"User: {arn} is not authorized to perform: sts:AssumeRole on resource: {request.role_arn}"
            raise Refusal("AccessDenied", message, 403, reason=decision.reason)
        if isinstance(caller, Session) and request.duration > _CHAINED_MAXIMUM:
            message = (
                "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining"
            )
            raise Refusal("ValidationError", message)
        _check_maximum(request, role.max_session)
        return self._issue(request, role, at), _packed_size(request)

    def caller(self, http: Request, at: datetime) -> Session | str:
        """Tell who signed a request: a session issued here, or the ARN of an IAM user. Refusal: nobody known."""
        signature = read_signature(http)
        if signature is None:
            raise Refusal("MissingAuthenticationToken", "Request is missing Authentication Token", 403)
        with self._lock:
            session = self._sessions.get(signature.access_key_id)
        if session is not None:
            _check_session(session, signature, http, at)
            return session
        user = user_of(signature.access_key_id)
        if user is None:
            raise Refusal("InvalidClientTokenId", "The security token included in the request is invalid.", 403)
        return user

    def _issue(self, request: ExchangeRequest, role: Role, at: datetime) -> Session:
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
        )
        with self._lock:
            self._sessions[key] = session
        return session


def _consult(role: Role | None, caller: Caller, action: str, context: Mapping[str, Sequence[str]]) -> Decision:
    if role is None:
        return Decision(allowed=False, reason="the role does not exist", statements=())
    try:
        return evaluate(role.trust_policy, caller=caller, action=action, context=context)
    except PolicyMalformedError as error:
        return Decision(allowed=False, reason=str(error), statements=())


def _principal(caller: Session | str) -> Caller:
    names = (caller.arn, caller.role_arn) if isinstance(caller, Session) else (caller,)
    _, partition, _, _, account_id, _ = names[0].split(":", 5)
    root = f"arn:{partition}:iam::{account_id}:root"
    return Caller(kind="AWS", names=(*names, root, account_id, "*"))


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


def _packed_size(request: ExchangeRequest) -> dict[str, str]:
    if not request.policy_characters:
        return {}
    return {"PackedPolicySize": str(max(1, round(100 * request.policy_characters / _POLICY_LIMIT_CHARACTERS)))}
