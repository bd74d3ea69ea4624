"""`sts-broker doctor` on the exchange itself: STS's answers, whose the credentials are, and how long they last.

Rules: one call for each profile, sources before what is chained to them; the remedies are those of `denials`. The
credentials stay in this process: they are asked who they are, and dropped. Nothing foreign is quoted.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from broker.core.errors import ExchangeError, ResponseInvalid
from broker.core.model import Generation, SourceSession
from broker.core.schedule import RefreshPolicy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from broker.core.clock import Clock
    from broker.core.model import ProfileSpec, Proof, StsSpec, TemporaryCredentials
    from broker.doctor.checks import Sheet
    from broker.sts.exchange import StsExchanger

OF_SESSION: Final = ("exchange", "identity", "session")
PATIENCE: Final = timedelta(seconds=60)
"""For the exchanges of all profiles together; one that is under way is waited for."""


class Exchanges:
    """Makes the exchanges. `faults` has STS's refusals by profile, for `doctor_causes`."""

    def __init__(self, exchanger: StsExchanger, spec: StsSpec, sheet: Sheet, clock: Clock) -> None:
        self._exchanger = exchanger
        self._spec = spec
        self._sheet = sheet
        self._clock = clock
        self._ends_at = clock.read().monotonic + PATIENCE
        self.faults: dict[str, ExchangeError] = {}
        self.sessions: dict[str, SourceSession] = {}

    def make(self, profile: ProfileSpec, of: str, proof: Proof | None, because: str) -> None:
        """Exchange, and look at what came of it; without a proof, `because` is the label of what is in the way."""
        sheet = self._sheet
        if proof is None:
            sheet.not_checked(OF_SESSION, "", because=because, of=of)
            return
        if self._clock.read().monotonic > self._ends_at:
            found = (
                f"It has taken {PATIENCE.total_seconds():.0f} s already; --profile {profile.name} looks at it alone."
            )
            sheet.not_checked(OF_SESSION, found, of=of)
            return
        sheet.tell(f"the exchange for {profile.role_arn}")
        try:
            credentials = self._exchanger.exchange(profile, proof)
        except ExchangeError as error:
            self.faults[profile.name] = error
            sheet.failed("exchange", error.message, error.remedy or _remedy(error), of=of)
            sheet.not_checked(OF_SESSION[1:], "", because=f"exchange ({of})" if of else "exchange", of=of)
            return
        generation = Generation(
            profile=profile.name, number=1, credentials=credentials, reason="doctor", fingerprint=proof.fingerprint
        )
        self.sessions[profile.name] = SourceSession(generation=generation)
        name = credentials.assumed_role_arn or profile.role_arn
        sheet.ok("exchange", f"STS gives {name}, request {credentials.request_id or 'without id'}.", of=of)
        self._identify(profile, credentials, of)
        _examine_length(profile, credentials, sheet, of)

    def _identify(self, profile: ProfileSpec, credentials: TemporaryCredentials, of: str) -> None:
        """Ask STS whose the credentials are. What botocore raises may quote the answer, so only its code is told."""
        try:
            client = self._exchanger.client(profile.region, signed=True)
            with self._exchanger.signer.using(credentials):
                found = str(client.get_caller_identity().get("Arn") or "")
        except Exception as error:  # noqa: BLE001 - the seam: what is foreign stays inside
            code = _code_of(error)
            said = f"GetCallerIdentity with the new credentials: {code}."
            if self._spec.endpoint_url:
                remedy = "Not every STS knows that call; the credentials are good where the app's calls are."
                self._sheet.warning("identity", said, remedy, of=of)
            else:
                remedy = "Look at the node's clock, and at what stands between the pod and STS."
                self._sheet.failed("identity", said, remedy, of=of)
            return
        if found == credentials.assumed_role_arn or not credentials.assumed_role_arn:
            self._sheet.ok("identity", f"They are {found}.", of=of)
        else:
            said = f"They are {found}; STS had said {credentials.assumed_role_arn}."
            self._sheet.failed("identity", said, "Look at AWS_ENDPOINT_URL_STS: what answers is not STS.", of=of)


def _remedy(error: ExchangeError) -> str:
    """Return what to do where the broker itself would do nothing but try again."""
    if isinstance(error, ResponseInvalid):
        return "Look at AWS_ENDPOINT_URL_STS, and at what stands between the pod and STS: proxy, mesh, portal."
    return "This passes by itself, as a rule: the broker goes on trying. Look again in some minutes."


def _code_of(error: Exception) -> str:
    """Return the code of STS's answer, or the kind of fault; neither holds anything of the answer's body."""
    response: Mapping[str, Any] = getattr(error, "response", None) or {}
    return str(response.get("Error", {}).get("Code") or type(error).__name__)


def _examine_length(profile: ProfileSpec, credentials: TemporaryCredentials, sheet: Sheet, of: str) -> None:
    seconds, asked = credentials.lifetime.total_seconds(), profile.duration.total_seconds()
    if RefreshPolicy().keeps_out_of_sdk_windows(credentials.lifetime):
        sheet.ok(
            "session", f"Sessions last {seconds:.0f} s, which keeps readers out of the SDKs' refresh windows.", of=of
        )
        return
    said = f"Sessions last {seconds:.0f} s: SDKs fetch credentials at every call of the last part of their life."
    remedy = "Set duration_seconds (BROKER_DURATION_SECONDS) to 1620 or more."
    if RefreshPolicy().keeps_out_of_sdk_windows(profile.duration):
        remedy = f"{asked:.0f} s were asked for, and STS gave less: look at AWS_ENDPOINT_URL_STS."
    sheet.warning("session", said, remedy, of=of)
