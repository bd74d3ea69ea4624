"""Keeps the web identity tokens of profiles fresh, as a companion of the main loop.

Each turn of the main loop is followed by a turn of the keeper. It signs calls with the credentials that the main loop
holds, and changes nothing about them: a token that fails affects neither its profile nor other profiles.
`web_identity_schedule.decide_token` decides when to do what.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from broker.core.backoff import Failure, count_failure
from broker.core.errors import PublishError
from broker.core.records import Struct, field
from broker.core.schedule import backoff
from broker.core.web_identity_schedule import (
    TokenAction,
    TokenSituation,
    decide_token,
    get_refresh_time,
    get_token_phase,
)
from broker.core.web_identity_status import TokenEvent, TokenFailed, TokenLost, TokenPublished
from broker.core.web_identity_token import WebIdentityToken

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import timedelta

    from broker.core.clock import Instant
    from broker.core.collaborators import Publisher, WebIdentityTokenRequests
    from broker.core.errors import ExchangeError
    from broker.core.model import ProfileSpec, SourceSession
    from broker.core.schedule import RefreshPolicy

MAXIMUM_CALLS_AT_ONCE = 4
"""Half of what exchanges may have: many tokens that are due at once must not fill the worker."""
_LAPSED = datetime.min.replace(tzinfo=UTC)


class _TokenState(Struct, kw_only=True):
    """The state of the token of one profile. The fields that `TokenSituation` has too are explained there."""

    spec: ProfileSpec
    duration: timedelta
    jitter: float
    token: WebIdentityToken | None = None
    unpublished: bool = False
    pending: bool = False
    failure: Failure | None = None
    publish_failure: Failure | None = None
    succeeded_at: timedelta | None = None
    requests: int = 0
    """How many refreshes were requested, for example by SIGHUP."""
    fulfilled_request: int = 0

    def describe(self, at: Instant, session: SourceSession | None, *, can_publish: bool) -> TokenSituation:
        """Return what `decide_token` needs to know."""
        return TokenSituation(
            at=at,
            duration=self.duration,
            session_ends_at=session.generation.credentials.lapses_at if session else None,
            session=session.fingerprint if session else "",
            token=self.token,
            succeeded_at=self.succeeded_at,
            unpublished=self.unpublished and can_publish,
            failure=self.failure,
            publish_failure=self.publish_failure,
            requested=self.fulfilled_request < self.requests,
            jitter=self.jitter,
        )


class _Due(Struct, frozen=True, kw_only=True):
    """A token to request now."""

    state: _TokenState
    session: SourceSession
    duration: timedelta

    def rank(self) -> tuple[bool, datetime]:
        """Return the sort key: tokens that failed come last, otherwise the one that lapses first comes first."""
        return self.state.failure is not None, self.state.token.lapses_at if self.state.token else _LAPSED


class WebIdentityTokenKeeper(Struct, kw_only=True):
    """Keeps the tokens of those `profiles` fresh that have `web_identity_token`.

    `run_on_loop` makes the main loop call a function on its thread, with the time. `chance` returns a random number in
    [0, 1). `record` receives every event.
    """

    profiles: Iterable[ProfileSpec]
    requests: WebIdentityTokenRequests
    publisher: Publisher[WebIdentityToken]
    record: Callable[[TokenEvent], None]
    run_on_loop: Callable[[Callable[[Instant], None]], None]
    chance: Callable[[], float]
    policy: RefreshPolicy
    _states: dict[str, _TokenState] = field(default_factory=dict)
    _is_publishing: bool = False

    def __post_init__(self) -> None:
        """Create the state of every token."""
        self._states = {
            spec.name: _TokenState(spec=spec, duration=spec.web_identity_token.duration, jitter=self.chance())
            for spec in self.profiles
            if spec.web_identity_token is not None
        }

    def refresh(self) -> None:
        """Refresh every token, at first regardless of backoff and schedule, until it succeeds."""
        for state in self._states.values():
            state.requests += 1
            state.failure = None

    def turn(self, at: Instant, find_session: Callable[[str], SourceSession | None]) -> timedelta:
        """Examine every token, and act. Return how long there is nothing to do.

        `find_session` returns the credentials of a profile, None if it has none that will still be valid at STS.
        """
        wake_in = self.policy.nap
        to_publish: list[WebIdentityToken] = []
        due: list[_Due] = []
        missing = self.publisher.missing()
        for name, state in self._states.items():
            if name in missing and state.token is not None and not state.unpublished:
                state.unpublished = True
                self.record(TokenLost(at=at, profile=name))
            session = find_session(name)
            decision = decide_token(state.describe(at, session, can_publish=not self._is_publishing), self.policy)
            if decision.action is TokenAction.PUBLISH and state.token is not None:
                to_publish.append(state.token)
            elif decision.action is TokenAction.WAIT:
                wake_in = min(wake_in, decision.wake_in)
            elif not state.pending and session is not None:  # the end of a pending call wakes the loop
                due.append(_Due(state=state, session=session, duration=decision.duration))
        free_places = MAXIMUM_CALLS_AT_ONCE - sum(state.pending for state in self._states.values())
        for each in sorted(due, key=_Due.rank)[: max(free_places, 0)]:
            self._request(each)
        if to_publish:
            self._publish(to_publish)
        return wake_in

    def _request(self, due: _Due) -> None:
        """Begin a call to STS."""
        state, request = due.state, due.state.requests
        state.pending = True

        def end(result: WebIdentityToken | ExchangeError) -> None:
            self.run_on_loop(lambda at: self._take_result(due, request, result, at))

        self.requests.begin(state.spec, due.session, due.duration, end)

    def _take_result(self, due: _Due, request: int, result: WebIdentityToken | ExchangeError, at: Instant) -> None:
        state = due.state
        state.pending = False
        if not isinstance(result, WebIdentityToken):
            state.failure = count_failure(state.failure, result, at, self.chance(), fingerprint=due.session.fingerprint)
            self._record_failure(state, state.failure, result, at)
            return
        state.token, state.unpublished, state.jitter = result, True, self.chance()
        state.failure, state.succeeded_at = None, at.monotonic
        state.fulfilled_request = max(state.fulfilled_request, request)

    def _publish(self, tokens: Sequence[WebIdentityToken]) -> None:
        """Begin to publish these tokens, all at once."""
        self._is_publishing = True
        self.publisher.begin(
            tokens, lambda error: self.run_on_loop(lambda at: self._take_publication(tokens, error, at))
        )

    def _take_publication(self, tokens: Sequence[WebIdentityToken], error: Exception | None, at: Instant) -> None:
        self._is_publishing = False
        if error is not None and not isinstance(error, PublishError):
            raise error
        for token in tokens:
            state = self._states[token.profile]
            if error is not None:
                state.publish_failure = count_failure(state.publish_failure, error, at, self.chance())
                self._record_failure(state, state.publish_failure, error, at)
                continue
            state.publish_failure, state.unpublished = None, state.token is not token
            refresh_at = get_refresh_time(token, self.policy, state.jitter)
            self.record(TokenPublished(at=at, token=token, refresh_at=refresh_at))

    def _record_failure(
        self, state: _TokenState, failure: Failure, error: ExchangeError | PublishError, at: Instant
    ) -> None:
        phase = get_token_phase(state.token, at.now, self.policy)
        self.record(
            TokenFailed(
                at=at,
                profile=state.spec.name,
                error=error,
                failures=failure.streak,
                retry_in=backoff(failure, phase, self.policy),
            )
        )
