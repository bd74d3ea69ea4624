"""A simulated STS: verifies what AWS verifies, issues moto's credentials, records every call, and fails on demand.

AssumeRoleWithWebIdentity needs a valid token, provider, role, trust policy and duration. Refusals have AWS's codes,
messages and statuses. Other actions need unexpired credentials that this STS issued. Every response has a Date. A
scripted fault changes one exchange, or all, but not the record of calls.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Self

from sandbox.aws import faults, outbound
from sandbox.aws.authority import Authority
from sandbox.aws.calls import Call, CallLog, describe_call, without_external_id
from sandbox.aws.exchange_request import parse_form
from sandbox.aws.refusal import Refusal
from sandbox.aws.responses import (
    Response,
    error_response,
    identity_result,
    new_request_id,
    session_result,
    success_response,
    token_result,
)
from sandbox.aws.sessions import Session
from sandbox.aws.signature import read_signature
from sandbox.http.loopback import LoopbackServer, Request, Wire, render

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sandbox.aws.account import MotoAccount, User

_GONE_CHECK_SECONDS = 0.05


class StsServer:
    """Serves STS on loopback from construction until `stop()`. A context manager.

    `addresses` maps issuers to the loopback URLs of their documents. `session_lifetime` shortens every session, also
    below the 15 minutes of the real STS, and `token_lifetime` every web identity token. `now` is STS's clock, in UTC.
    `idp_timeout` is how long STS waits for an issuer's document. `outbound` issues web identity tokens; its documents
    are served here.
    """

    def __init__(  # noqa: PLR0913 - the options of a server, all by keyword
        self,
        *,
        account: MotoAccount,
        addresses: Mapping[str, str],
        port: int = 0,
        session_lifetime: timedelta | None = None,
        token_lifetime: timedelta | None = None,
        idp_timeout: timedelta = timedelta(seconds=5),
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._now = now
        self.outbound = outbound.OutboundFederation(token_lifetime)
        self._account = account
        self._authority = Authority(
            account=account,
            addresses=addresses,
            session_lifetime=session_lifetime,
            idp_timeout=idp_timeout,
        )
        self._log = CallLog()
        self._plan = faults.FaultPlan()
        self._server = LoopbackServer(answer=self._answer, port=port)

    def __enter__(self) -> Self:
        """Return the server, which already runs."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop serving."""
        self.stop()

    def stop(self) -> None:
        """Stop serving. Requests that a fault delays are dropped."""
        self._server.stop()

    @property
    def url(self) -> str:
        """The endpoint, for AWS_ENDPOINT_URL_STS."""
        return self._server.url

    @property
    def calls(self) -> list[Call]:
        """All calls so far, oldest first."""
        return self._log.snapshot()

    def wait_for_calls(self, count: int, timeout: timedelta = timedelta(seconds=10)) -> list[Call]:
        """Wait until at least `count` calls are recorded, and return all. Raises TimeoutError after `timeout`."""
        return self._log.wait_for(count, timeout)

    def clear_calls(self) -> None:
        """Clear the record."""
        self._log.clear()

    def identify(self, request: Request, at: datetime) -> Session | User:
        """Return the session or the IAM user that signed a request, at this time. Raises Refusal."""
        return self._authority.caller(request, at)

    def script(self, *scripted: faults.Fault | None, action: str = faults.WEB_IDENTITY) -> None:
        """Queue faults, one for each coming exchange. None means no fault."""
        self._plan.script(scripted, action)

    def always(
        self, fault: faults.Fault | None, *, role_arn: str | None = None, action: str = faults.WEB_IDENTITY
    ) -> None:
        """Set the fault of every coming exchange, or of every exchange for one role. None clears it."""
        self._plan.always(fault, action, role_arn)

    def clear_faults(self) -> None:
        """Remove every queued and permanent fault."""
        self._plan.clear()

    def _answer(self, request: Request, wire: Wire) -> None:
        document = self.outbound.find_document(request.path) if request.method == "GET" else None
        if document is not None:
            wire.send(HTTPStatus.OK, {"Content-Type": "application/json"}, document)
            return
        form = parse_form(request.body)
        action = form.get("Action", "")
        fault = self._plan.next(action, form.get("RoleArn", ""))
        if isinstance(fault, faults.Latency) and wire.pause(fault.seconds):
            wire.close()
            return
        if isinstance(fault, faults.Hang | faults.Reset):
            self._record(request, form, fault, outcome=type(fault).__name__)
            _withhold_response(fault, wire)
            return
        response, reason = self._decide(request, form, fault)
        self._record(request, form, fault, outcome=response.outcome, request_id=response.request_id, reason=reason)
        if isinstance(fault, faults.Drip):
            _drip(fault, wire, render(response.status, response.all_headers(), response.body))
        else:
            wire.send(response.status, response.all_headers(), response.body)

    def _decide(self, request: Request, form: Mapping[str, str], fault: faults.Fault | None) -> tuple[Response, str]:
        """Return the response, and for a refusal the reason, which AWS would not disclose."""
        request_id, at = new_request_id(), self._now()
        reasons: list[str] = []

        def refuse(refusal: Refusal) -> Response:
            reasons.append(refusal.reason or refusal.message)
            return error_response(refusal, request_id=request_id, at=at)

        def exchange() -> Response:
            try:
                return self._perform(request, form, request_id, at)
            except Refusal as refusal:
                return refuse(refusal)

        response = faults.apply(fault, exchange, request_body=request.body, refuse=refuse)
        return response, "; ".join(reasons)

    def _perform(self, request: Request, form: Mapping[str, str], request_id: str, at: datetime) -> Response:
        action = form.get("Action", "")
        match action:
            case faults.WEB_IDENTITY:
                session, extra = self._authority.exchange(form, at)
                return success_response(action, session_result(session, extra), request_id=request_id, at=at)
            case "AssumeRole":
                session, extra = self._authority.assume_role(form, request, at)
                return success_response(action, session_result(session, extra), request_id=request_id, at=at)
            case outbound.ACTION:
                token = self._issue_token(request, form, at)
                result = token_result(token.text, token.expires_at)
                return success_response(action, result, request_id=request_id, at=at)
            case "GetCallerIdentity":
                caller = self._authority.caller(request, at)
                if isinstance(caller, Session):
                    return success_response(action, identity_result(caller), request_id=request_id, at=at)
            case _:
                _forbid_session_tokens(action, self._authority.caller(request, at))
        status, body = self._account.forward(request.body, dict(request.headers))
        outcome = "Success" if status == HTTPStatus.OK else f"HTTP {status}"
        return Response(status=status, body=body, outcome=outcome, request_id=request_id, at=at)

    def _issue_token(self, request: Request, form: Mapping[str, str], at: datetime) -> outbound.IssuedToken:
        """Handle GetWebIdentityToken. The Region of the caller is that of its signature. Raises Refusal."""
        caller = self._authority.caller(request, at)
        signature = read_signature(request)
        assert signature is not None  # otherwise the caller is refused
        principal = self._authority.describe_principal(caller)
        session = caller if isinstance(caller, Session) else None
        return self.outbound.issue(form, principal, session, signature.scope.split("/")[1], at)

    def _record(  # noqa: PLR0913 - the fields of a record
        self,
        request: Request,
        form: Mapping[str, str],
        fault: faults.Fault | None,
        *,
        outcome: str,
        request_id: str = "",
        reason: str = "",
    ) -> None:
        call = describe_call(form, time=self._now(), caller_arn=self._authority.caller_arn(request))
        reason = without_external_id(form, reason)
        self._log.record(
            replace(call, outcome=outcome, request_id=request_id, fault=faults.fault_name(fault), reason=reason)
        )


def _forbid_session_tokens(action: str, caller: Session | User) -> None:
    if isinstance(caller, Session) and action in ("GetSessionToken", "GetFederationToken"):
        raise Refusal("AccessDenied", f"Cannot call {action} with session credentials", HTTPStatus.FORBIDDEN)


def _withhold_response(fault: faults.Hang | faults.Reset, wire: Wire) -> None:
    if isinstance(fault, faults.Reset):
        wire.reset()
        return
    while not wire.client_is_gone() and not wire.pause(_GONE_CHECK_SECONDS):
        pass
    wire.close()


def _drip(fault: faults.Drip, wire: Wire, payload: bytes) -> None:
    for start in range(0, len(payload), fault.piece_bytes):
        wire.send_raw(payload[start : start + fault.piece_bytes])
        if wire.pause(fault.pause_seconds):
            wire.close()
            return
