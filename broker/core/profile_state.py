"""The state of one profile in the main loop, and how each event changes it.

Rules: credentials are replaced by later ones only; an error of another kind restarts the backoff, but not the streak;
each generation gets its own jitter (see `first_refresh`); a requested refresh stays requested until an exchange that
began later succeeds. This module does no I/O, and decides nothing: see `schedule`.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from broker.core.backoff import Failure, count_failure
from broker.core.errors import SourceUnavailable
from broker.core.first_refresh import spread_first_refresh
from broker.core.model import Generation, ProfileSpec, SourceSession
from broker.core.records import Struct, replace
from broker.core.schedule import Decision, Phase, Reason, RefreshPolicy, Situation, backoff, phase_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from broker.core.clock import Instant
    from broker.core.errors import BrokerError
    from broker.core.model import Proof, TemporaryCredentials

_CALL_ALLOWANCE = timedelta(seconds=5)
"""A call may take this long until STS checks the credentials that it was signed with."""


class PendingExchange(Struct, frozen=True, kw_only=True, eq=False):
    """An exchange that has not ended: what it is made with, why, and when it began.

    `request` is the number of the last refresh that was requested before it began.
    """

    profile: str
    proof: Proof
    reason: Reason
    began: Instant
    request: int = 0


class ProfileState(Struct, kw_only=True):
    """The state of one profile. The fields that `Situation` has too are explained there."""

    spec: ProfileSpec
    jitter: float
    """That of the generation. Before the first one, it is a random number that determines the first refresh."""
    source: ProfileState | None = None
    """The state of a chained role's source."""
    generation: Generation | None = None
    unpublished: bool = False
    pending: PendingExchange | None = None
    exchange_failure: Failure | None = None
    publish_failure: Failure | None = None
    succeeded_at: timedelta | None = None
    spent_fingerprint: str = ""
    token_failures: int = 0
    requests: int = 0
    """How many refreshes were requested, for example by SIGHUP."""
    attempted_request: int = 0
    """The number of the last request after which an exchange began."""
    fulfilled_request: int = 0
    """The number of the last request after which an exchange began that succeeded."""
    last_observation: str = ""
    """What the last read of the token or source found: a fingerprint, or text that distinguishes the error."""
    last_decision: Decision | None = None

    @property
    def credentials(self) -> TemporaryCredentials | None:
        """The credentials that the broker holds, published or not."""
        return self.generation.credentials if self.generation else None

    @property
    def is_refreshing(self) -> bool:
        """Whether an exchange is pending, for this profile or for a source that it depends on."""
        return self.pending is not None or any(source.pending is not None for source in self.iterate_sources())

    def iterate_sources(self) -> Iterator[ProfileState]:
        """Yield the states that a chained role depends on, nearest first."""
        source = self.source
        while source is not None:
            yield source
            source = source.source

    def describe(self, at: Instant, *, can_publish: bool) -> Situation:
        """Return what `decide` needs to know. If nothing can be published now, that must not delay an exchange."""
        return Situation(
            at=at,
            credentials=self.credentials,
            unpublished=self.unpublished and can_publish,
            exchange_failure=self.exchange_failure,
            publish_failure=self.publish_failure,
            succeeded_at=self.succeeded_at,
            spent_fingerprint=self.spent_fingerprint,
            token_failures=self.token_failures,
            requested=self.fulfilled_request < self.requests,
            request_attempted=self.attempted_request == self.requests,
            held_fingerprint=self.generation.fingerprint if self.generation else "",
            source_is_refreshing=self.source is not None and self.source.is_refreshing,
        )

    def get_session(self, now: datetime) -> SourceSession | None:
        """Return the credentials for chained roles; None if there are none that will still be valid at STS."""
        if self.generation is None or self.generation.credentials.lapses_at <= now + _CALL_ALLOWANCE:
            return None
        return SourceSession(generation=self.generation)

    def explain_unavailability(self) -> SourceUnavailable:
        """Return why chained roles must wait, if `get_session` returns None."""
        problem = "whose credentials have expired" if self.generation else "which has no credentials yet"
        return SourceUnavailable(f"Waiting for source profile {self.spec.name}, {problem}.")

    def get_phase(self, now: datetime, policy: RefreshPolicy) -> Phase:
        """Return the phase of the credentials that the broker holds."""
        return phase_of(self.credentials, now, policy, self.jitter)

    def begin_exchange(self, proof: Proof, reason: Reason, at: Instant) -> PendingExchange:
        """Record that an exchange begins. Return it."""
        self.attempted_request = self.requests
        self.pending = PendingExchange(
            profile=self.spec.name, proof=proof, reason=reason, began=at, request=self.requests
        )
        return self.pending

    def accept_credentials(
        self,
        exchange: PendingExchange,
        credentials: TemporaryCredentials,
        at: Instant,
        jitter: float,
        policy: RefreshPolicy,
    ) -> Generation:
        """Hold new credentials, to be published. Return them as a generation.

        `jitter` is a random number in [0, 1). A chained role follows its source, so its first refresh is not spread.
        """
        self.pending = None
        if self.generation is None and self.source is None:
            jitter = spread_first_refresh(credentials, policy, jitter, place=self.jitter)
        generation = self.generation = Generation(
            profile=self.spec.name,
            number=self.generation.number + 1 if self.generation else 1,
            credentials=credentials,
            reason=exchange.reason.value,
            fingerprint=exchange.proof.fingerprint,
            jitter=jitter,
            succeeded_at=at.monotonic,
        )
        self.jitter = jitter
        self.unpublished, self.publish_failure = True, None
        self.exchange_failure, self.succeeded_at = None, at.monotonic
        self.fulfilled_request = max(self.fulfilled_request, exchange.request)
        if exchange.reason is Reason.LAST_CHANCE:
            self.spent_fingerprint = exchange.proof.fingerprint
        return generation

    def restore(self, generation: Generation, *, unpublished: bool) -> Generation:
        """Hold the generation of an earlier start, with the schedule that it had. Return it as it is held.

        If the source was not restored, its numbers start again and may repeat the one in the fingerprint.
        """
        if self.source is not None and self.source.generation is None:
            generation = replace(generation, fingerprint="")
        self.generation, self.unpublished = generation, unpublished
        self.jitter, self.succeeded_at = generation.jitter, generation.succeeded_at
        if generation.reason == Reason.LAST_CHANCE.value:
            self.spent_fingerprint = generation.fingerprint
        return generation

    def fail_exchange(self, exchange: PendingExchange, error: BrokerError, at: Instant, jitter: float) -> Failure:
        """Record that an exchange failed. Return the failure, which determines the backoff."""
        self.pending = None
        failure = count_failure(self.exchange_failure, error, at, jitter)
        took = at.monotonic - exchange.began.monotonic
        self.exchange_failure = replace(failure, took=took, fingerprint=exchange.proof.fingerprint)
        return self.exchange_failure

    def mark_published(self, generation: Generation) -> None:
        """Record that readers have this generation. A newer one that has arrived meanwhile is still unpublished."""
        self.unpublished, self.publish_failure = self.generation is not generation, None

    def mark_lost(self) -> bool:
        """Record that the published files are gone. Return False if nothing was published."""
        if self.generation is None or self.unpublished:
            return False
        self.unpublished = True
        return True

    def fail_publish(self, error: BrokerError, at: Instant, jitter: float) -> Failure:
        """Record that publishing failed. Return the failure, which determines the backoff."""
        self.publish_failure = count_failure(self.publish_failure, error, at, jitter)
        return self.publish_failure

    def get_backoff(self, failure: Failure, at: Instant, policy: RefreshPolicy) -> timedelta:
        """Return the backoff that follows `failure`."""
        return backoff(failure, self.get_phase(at.now, policy), policy)
