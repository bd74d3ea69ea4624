"""An STS with teeth: verifies what AWS verifies, lets moto issue, records every call, and fails on demand.

Rules: AssumeRoleWithWebIdentity is refused with AWS's own codes, messages and statuses unless token, provider, role,
trust policy and duration all fit; other actions need credentials that this STS issued and that are not expired; every
answer has a Date; a scripted fault spoils one exchange (or all), never the record.
It refuses to know Kubernetes: a token is its claims.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Self

from sandbox.aws import faults
from sandbox.aws.answers import Answer, identity_result, new_request_id, refusal_answer, session_result, success_answer
from sandbox.aws.authority import Authority
from sandbox.aws.calls import Call, CallLog, call_of, without_external_id
from sandbox.aws.exchange_request import form_of
from sandbox.aws.refusal import Refusal
from sandbox.aws.sessions import Session
from sandbox.http.loopback import LoopbackServer, Request, Wire, render

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sandbox.aws.account import MotoAccount, User

_GONE_CHECK_SECONDS = 0.05


class StsServer:
    """Serves STS on loopback from construction until `stop()`; a context manager.

    `addresses` maps issuer strings to the loopback URL where their documents are; `session_lifetime` shortens every
    session (real STS never goes below 15 minutes); `now` is STS's clock, aware UTC; `idp_timeout` is how long STS
    waits for an issuer's document.
    """

    def __init__(  # noqa: PLR0913 - a server's description, all by keyword
        self,
        *,
        account: MotoAccount,
        addresses: Mapping[str, str],
        port: int = 0,
        session_lifetime: timedelta | None = None,
        idp_timeout: timedelta = timedelta(seconds=5),
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._now = now
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
        """Return itself: the server already runs."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop serving."""
        self.stop()

    def stop(self) -> None:
        """Stop serving; requests that a fault holds are dropped."""
        self._server.stop()

    @property
    def url(self) -> str:
        """The endpoint, for AWS_ENDPOINT_URL_STS."""
        return self._server.url

    @property
    def calls(self) -> list[Call]:
        """A copy of the record of all calls so far, oldest first."""
        return self._log.snapshot()

    def wait_for_calls(self, count: int, timeout: timedelta = timedelta(seconds=10)) -> list[Call]:
        """Wait until at least `count` calls are recorded; TimeoutError after `timeout`."""
        return self._log.wait_for(count, timeout)

    def clear_calls(self) -> None:
        """Empty the record."""
        self._log.clear()

    def script(self, *scripted: faults.Fault | None, action: str = faults.WEB_IDENTITY) -> None:
        """Queue faults, one per coming exchange; None is an exchange that goes well."""
        self._plan.script(scripted, action)

    def always(
        self, fault: faults.Fault | None, *, role_arn: str | None = None, action: str = faults.WEB_IDENTITY
    ) -> None:
        """Set the fault of every coming exchange (of one role, if named) until cleared with None."""
        self._plan.always(fault, action, role_arn)

    def clear_faults(self) -> None:
        """Forget every scripted and permanent fault."""
        self._plan.clear()

    def _answer(self, request: Request, wire: Wire) -> None:
        form = form_of(request.body)
        action = form.get("Action", "")
        fault = self._plan.next(action, form.get("RoleArn", ""))
        if isinstance(fault, faults.Latency) and wire.pause(fault.seconds):
            wire.close()
            return
        if isinstance(fault, faults.Hang | faults.Reset):
            self._record(request, form, fault, outcome=type(fault).__name__)
            _keep_silent(fault, wire)
            return
        answer, reason = self._decide(request, form, fault)
        self._record(request, form, fault, outcome=answer.outcome, request_id=answer.request_id, reason=reason)
        if isinstance(fault, faults.Drip):
            _drip(fault, wire, render(answer.status, answer.all_headers(), answer.body))
        else:
            wire.send(answer.status, answer.all_headers(), answer.body)

    def _decide(self, request: Request, form: Mapping[str, str], fault: faults.Fault | None) -> tuple[Answer, str]:
        """Give the answer, and for a refusal the reason that AWS would keep to itself."""
        request_id, at = new_request_id(), self._now()
        reasons: list[str] = []

        def refuse(refusal: Refusal) -> Answer:
            reasons.append(refusal.reason or refusal.message)
            return refusal_answer(refusal, request_id=request_id, at=at)

        def exchange() -> Answer:
            try:
                return self._perform(request, form, request_id, at)
            except Refusal as refusal:
                return refuse(refusal)

        answer = faults.apply(fault, exchange, request_body=request.body, refuse=refuse)
        return answer, "; ".join(reasons)

    def _perform(self, request: Request, form: Mapping[str, str], request_id: str, at: datetime) -> Answer:
        action = form.get("Action", "")
        match action:
            case faults.WEB_IDENTITY:
                session, extra = self._authority.exchange(form, at)
                return success_answer(action, session_result(session, extra), request_id=request_id, at=at)
            case "AssumeRole":
                session, extra = self._authority.assume_role(form, request, at)
                return success_answer(action, session_result(session, extra), request_id=request_id, at=at)
            case "GetCallerIdentity":
                caller = self._authority.caller(request, at)
                if isinstance(caller, Session):
                    return success_answer(action, identity_result(caller), request_id=request_id, at=at)
            case _:
                _forbid_session_tokens(action, self._authority.caller(request, at))
        status, body = self._account.forward(request.body, dict(request.headers))
        outcome = "Success" if status == HTTPStatus.OK else f"HTTP {status}"
        return Answer(status=status, body=body, outcome=outcome, request_id=request_id, at=at)

    def _record(  # noqa: PLR0913 - what there is to know of a call
        self,
        request: Request,
        form: Mapping[str, str],
        fault: faults.Fault | None,
        *,
        outcome: str,
        request_id: str = "",
        reason: str = "",
    ) -> None:
        call = call_of(form, time=self._now(), caller_arn=self._authority.caller_arn(request))
        reason = without_external_id(form, reason)
        self._log.record(
            replace(call, outcome=outcome, request_id=request_id, fault=faults.name_of(fault), reason=reason)
        )


def _forbid_session_tokens(action: str, caller: Session | User) -> None:
    if isinstance(caller, Session) and action in ("GetSessionToken", "GetFederationToken"):
        raise Refusal("AccessDenied", f"Cannot call {action} with session credentials", HTTPStatus.FORBIDDEN)


def _keep_silent(fault: faults.Hang | faults.Reset, wire: Wire) -> None:
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
