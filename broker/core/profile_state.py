"""What the loop holds and remembers for one profile, and how each happening changes it.

Rules: credentials in hand are given up for later ones only; another kind of fault starts the backoff over, but not the
streak; each new generation draws its own jitter. Does no I/O and decides nothing: see `schedule`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from broker.core.errors import SourceUnavailable
from broker.core.model import Generation, ProfileSpec, SourceSession
from broker.core.schedule import Decision, Failure, Phase, Reason, RefreshPolicy, Situation, backoff, phase_of

if TYPE_CHECKING:
    from datetime import datetime

    from broker.core.clock import Instant
    from broker.core.errors import BrokerError
    from broker.core.model import Proof, TemporaryCredentials

_ON_THE_WAY = timedelta(seconds=5)
"""A call may be under way for so long before STS looks at what it was signed with."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Flight:
    """An exchange under way: what it is made with, why, and when it began."""

    profile: str
    proof: Proof
    reason: Reason
    began: Instant


@dataclass(slots=True, kw_only=True)
class Holding:
    """One profile's state. The fields that `Situation` has too are explained there."""

    spec: ProfileSpec
    jitter: float
    source: Holding | None = None
    """A chained role's source."""
    generation: Generation | None = None
    unpublished: bool = False
    flight: Flight | None = None
    exchange_failure: Failure | None = None
    publish_failure: Failure | None = None
    succeeded_at: timedelta | None = None
    spent_fingerprint: str = ""
    token_looks: int = 0
    requested: bool = False
    seen: str = ""
    """What the last look at the token or the source found: a fingerprint, or what tells the fault from another."""
    decided: Decision | None = None

    @property
    def credentials(self) -> TemporaryCredentials | None:
        """What is in hand."""
        return self.generation.credentials if self.generation else None

    def situation(self, at: Instant) -> Situation:
        """Return what `decide` is to know."""
        return Situation(
            at=at,
            credentials=self.credentials,
            unpublished=self.unpublished,
            exchange_failure=self.exchange_failure,
            publish_failure=self.publish_failure,
            succeeded_at=self.succeeded_at,
            spent_fingerprint=self.spent_fingerprint,
            token_looks=self.token_looks,
            requested=self.requested,
            held_fingerprint=self.generation.fingerprint if self.generation else "",
            source_in_flight=self.source is not None and self.source.in_flight,
        )

    @property
    def in_flight(self) -> bool:
        """Whether this profile is being refreshed, or what it hangs on."""
        holding: Holding | None = self
        while holding is not None and holding.flight is None:
            holding = holding.source
        return holding is not None

    def session(self, now: datetime) -> SourceSession | None:
        """Return what chained roles are asked for with; None where there is nothing that will reach STS unexpired."""
        if self.generation is None or self.generation.credentials.lapses_at <= now + _ON_THE_WAY:
            return None
        return SourceSession(generation=self.generation)

    def unavailable(self) -> SourceUnavailable:
        """Return why chained roles must wait, where `session` is None."""
        what = "whose credentials have expired" if self.generation else "which has no credentials yet"
        return SourceUnavailable(f"Waits for its source, profile {self.spec.name}, {what}.")

    def phase(self, now: datetime, policy: RefreshPolicy) -> Phase:
        """Return where in their life the credentials in hand are."""
        return phase_of(self.credentials, now, policy, self.jitter)

    def launched(self, proof: Proof, reason: Reason, at: Instant) -> Flight:
        """Return the exchange that now begins."""
        self.flight = Flight(profile=self.spec.name, proof=proof, reason=reason, began=at)
        self.requested = False
        return self.flight

    def exchanged(self, flight: Flight, credentials: TemporaryCredentials, at: Instant, jitter: float) -> bool:
        """Take new credentials in hand, to be published. Return False where they came too late to be of use."""
        if self.flight is flight:
            self.flight = None
        elif self.credentials is not None and credentials.expires_at <= self.credentials.expires_at:
            return False
        self.generation = Generation(
            profile=self.spec.name,
            number=self.generation.number + 1 if self.generation else 1,
            credentials=credentials,
            reason=flight.reason.value,
            fingerprint=flight.proof.fingerprint,
        )
        self.jitter = jitter
        self.unpublished, self.publish_failure = True, None
        self.exchange_failure, self.succeeded_at = None, at.monotonic
        if flight.reason is Reason.LAST_CHANCE:
            self.spent_fingerprint = flight.proof.fingerprint
        return True

    def exchange_failed(self, flight: Flight, error: BrokerError, at: Instant, jitter: float) -> Failure:
        """Begin the backoff that follows a failed exchange."""
        self.flight = None
        self.exchange_failure = _failure(self.exchange_failure, error, at, jitter, flight.proof.fingerprint)
        return self.exchange_failure

    def published(self) -> None:
        """Know that readers have what is in hand."""
        self.unpublished, self.publish_failure = False, None

    def lost(self) -> bool:
        """Know that readers see nothing of what was published. Return False where nothing was."""
        if self.generation is None or self.unpublished:
            return False
        self.unpublished = True
        return True

    def publish_failed(self, error: BrokerError, at: Instant, jitter: float) -> Failure:
        """Begin the backoff that follows a failed publish."""
        self.publish_failure = _failure(self.publish_failure, error, at, jitter)
        return self.publish_failure

    def retry_in(self, failure: Failure, at: Instant, policy: RefreshPolicy) -> timedelta:
        """Return the backoff that follows `failure`."""
        return backoff(failure, self.phase(at.now, policy), policy)


def _failure(before: Failure | None, error: BrokerError, at: Instant, jitter: float, fingerprint: str = "") -> Failure:
    same = before is not None and before.reason == error.reason
    return Failure(
        reason=error.reason,
        at=at.monotonic,
        disposition=error.disposition,
        attempts=before.attempts + 1 if before is not None and same else 1,
        streak=before.streak + 1 if before is not None else 1,
        jitter=jitter,
        fingerprint=fingerprint,
    )
