"""Examine the exchange itself: what STS answers, whose the new credentials are, and how long they last.

STS is called once for each profile, sources before the profiles that are chained to them. Remedies come from
`broker.sts.refusals`. The credentials never leave this process: STS is asked whose they are, then they are dropped.
Text of foreign exceptions is never printed, because it may quote an answer that holds keys.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from broker.core.errors import ExchangeError, ResponseInvalid
from broker.core.model import Generation, SourceSession
from broker.core.schedule import RefreshPolicy
from broker.doctor.checks import label

if TYPE_CHECKING:
    from collections.abc import Mapping

    from broker.core.clock import Clock
    from broker.core.model import ProfileSpec, Proof, StsSpec, TemporaryCredentials
    from broker.doctor.checks import Report
    from broker.sts.exchange import StsExchanger

SESSION_CHECKS: Final = ("exchange", "identity", "session")
TOTAL_TIMEOUT: Final = timedelta(seconds=60)
"""For the exchanges of all profiles together. An exchange that is running when the time is over is not interrupted."""
RETRY_REMEDY: Final = "Run the doctor again in some minutes: this usually passes, and the broker keeps retrying."


class Exchanges:
    """Makes the exchanges. `failures` and `sessions` hold their results by profile name."""

    def __init__(self, exchanger: StsExchanger, spec: StsSpec, report: Report, clock: Clock) -> None:
        self._exchanger = exchanger
        self._spec = spec
        self._report = report
        self._clock = clock
        self._ends_at = clock.read().monotonic + TOTAL_TIMEOUT
        self.failures: dict[str, ExchangeError] = {}
        self.sessions: dict[str, SourceSession] = {}

    def exchange(self, profile: ProfileSpec, of: str, proof: Proof | None, because: str) -> None:
        """Exchange, and examine the result.

        `of` identifies the profile's results in the report. If `proof` is None, the exchange is not made, and `because`
        is the label of the result that explains why.
        """
        report = self._report
        if proof is None:
            report.not_checked(SESSION_CHECKS, "", because=because, of=of)
            return
        if self._clock.read().monotonic > self._ends_at:
            seconds = f"{TOTAL_TIMEOUT.total_seconds():.0f} s"
            found = f"The exchanges took over {seconds}. To check this one alone, add --profile {profile.name}."
            report.not_checked(SESSION_CHECKS, found, of=of)
            return
        report.announce(f"the exchange for {profile.role_arn}")
        try:
            credentials = self._exchanger.exchange(profile, proof)
        except ExchangeError as error:
            self.failures[profile.name] = error
            remedy = error.remedy or _default_remedy(error)
            report.failed("exchange", error.message, remedy, of=of, reason=error.reason, error_code=error.code)
            report.not_checked(SESSION_CHECKS[1:], "", because=label("exchange", of), of=of)
            return
        generation = Generation(
            profile=profile.name, number=1, credentials=credentials, reason="doctor", fingerprint=proof.fingerprint
        )
        self.sessions[profile.name] = SourceSession(generation=generation)
        name = credentials.assumed_role_arn or profile.role_arn
        report.ok(
            "exchange", f"STS issued credentials for {name} (request id {credentials.request_id or 'none'}).", of=of
        )
        self._examine_identity(profile, credentials, of)
        _examine_lifetime(profile, credentials, report, of)

    def _examine_identity(self, profile: ProfileSpec, credentials: TemporaryCredentials, of: str) -> None:
        """Ask STS whose the credentials are. An exception of botocore is reported by its code only."""
        try:
            client = self._exchanger.client(profile.region, signed=True)
            with self._exchanger.signer.using(credentials):
                found = str(client.get_caller_identity().get("Arn") or "")
        except Exception as error:  # noqa: BLE001 - foreign exceptions end here
            self._report_identity_failure(_read_code(error), of)
            return
        if found == credentials.assumed_role_arn or not credentials.assumed_role_arn:
            self._report.ok("identity", f"The credentials are those of {found}.", of=of)
        else:
            message = f"The credentials are those of {found}; the exchange returned {credentials.assumed_role_arn}."
            remedy = "Check AWS_ENDPOINT_URL_STS: the server that answers is not STS."
            self._report.failed("identity", message, remedy, of=of)

    def _report_identity_failure(self, code: str, of: str) -> None:
        message = f"GetCallerIdentity with the new credentials failed: {code}."
        if self._spec.endpoint_url:
            remedy = "Some STS implementations don't have that call. The app's own calls show whether the keys work."
            self._report.warning("identity", message, remedy, of=of)
        else:
            remedy = "Check the node's clock, and every proxy or gateway between the pod and STS."
            self._report.failed("identity", message, remedy, of=of, error_code=code)


def _default_remedy(error: ExchangeError) -> str:
    """Return what to do about a failure for which the broker itself just retries."""
    if isinstance(error, ResponseInvalid):
        return "Check AWS_ENDPOINT_URL_STS, and every proxy, mesh or portal between the pod and STS."
    return RETRY_REMEDY


def _read_code(error: Exception) -> str:
    """Return the error code of the answer, or the exception's class name. Neither quotes the answer's body."""
    response: Mapping[str, Any] = getattr(error, "response", None) or {}
    return str(response.get("Error", {}).get("Code") or type(error).__name__)


def _examine_lifetime(profile: ProfileSpec, credentials: TemporaryCredentials, report: Report, of: str) -> None:
    seconds, requested = credentials.lifetime.total_seconds(), profile.duration.total_seconds()
    if RefreshPolicy().keeps_out_of_sdk_windows(credentials.lifetime):
        found = f"Sessions last {seconds:.0f} s, long enough to stay out of the SDKs' own refresh windows."
        report.ok("session", found, of=of)
        return
    found = f"Sessions last {seconds:.0f} s: near their end, SDKs fetch credentials again at every call."
    remedy = "Set duration_seconds (BROKER_DURATION_SECONDS) to 1620 or more."
    if RefreshPolicy().keeps_out_of_sdk_windows(profile.duration):
        remedy = f"The broker requested {requested:.0f} s, and STS granted less: check AWS_ENDPOINT_URL_STS."
    report.warning("session", found, remedy, of=of)
