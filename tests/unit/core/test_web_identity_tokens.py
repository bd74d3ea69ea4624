"""Web identity tokens in the loop's terms: when they are requested, for how long, and what is reported."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from broker.core.clock import Instant
from broker.core.errors import ExchangeUnavailable, PublishError, WebIdentityTokenDenied
from broker.core.model import Secret
from broker.core.schedule import Phase, RefreshPolicy
from broker.core.web_identity_keeper import MAXIMUM_CALLS_AT_ONCE, WebIdentityTokenKeeper
from broker.core.web_identity_schedule import (
    TokenAction,
    TokenSituation,
    decide_token,
    get_refresh_time,
    get_token_phase,
)
from broker.core.web_identity_spec import WebIdentityTokenSpec
from broker.core.web_identity_status import (
    TokenEvent,
    TokenFailed,
    TokenLost,
    TokenPublished,
    WebIdentityTokenStatuses,
)
from broker.core.web_identity_token import WebIdentityToken
from tests.support.fakes import EPOCH, FakeClock, make_profile, make_session

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from broker.core.errors import ExchangeError
    from broker.core.model import ProfileSpec, SourceSession

POLICY = RefreshPolicy()
SPEC = WebIdentityTokenSpec(audiences=("vault",))
AT = Instant(now=EPOCH, monotonic=timedelta(seconds=1000))
MINUTES_5 = timedelta(minutes=5)


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


def make_web_identity_token(profile: str = "default", lifetime: timedelta = MINUTES_5) -> WebIdentityToken:
    return WebIdentityToken(
        profile=profile,
        raw=Secret("eyJ.e30.c2ln"),
        received_at=EPOCH,
        expires_at=EPOCH + lifetime,
        lifetime=lifetime,
        request_id="r-1",
    )


def situation(after: float = 0, **changes: object) -> TokenSituation:
    """Return the situation so many seconds after a token of five minutes, from a session of an hour."""
    at = Instant(now=AT.now + seconds(after), monotonic=AT.monotonic + seconds(after))
    held = TokenSituation(
        at=at,
        duration=MINUTES_5,
        session_ends_at=EPOCH + timedelta(hours=1),
        session="default-1",
        token=make_web_identity_token(),
        succeeded_at=AT.monotonic,
    )
    return replace(held, **changes)


@pytest.mark.parametrize(("jitter", "due_after"), [(0.0, 150), (0.5, 135), (0.999, 120.03)])
def test_token_is_due_at_half_of_its_lifetime_less_jitter(jitter: float, due_after: float) -> None:
    before = decide_token(situation(due_after - 1, jitter=jitter), POLICY)
    assert (before.action, before.wake_in) == (TokenAction.WAIT, seconds(1))
    assert decide_token(situation(due_after + 0.01, jitter=jitter), POLICY).action is TokenAction.REQUEST
    assert get_refresh_time(make_web_identity_token(), POLICY, jitter) == EPOCH + seconds(due_after)


def test_first_token_is_requested_at_once_for_the_configured_lifetime() -> None:
    decision = decide_token(situation(token=None, succeeded_at=None), POLICY)
    assert (decision.action, decision.duration) == (TokenAction.REQUEST, MINUTES_5)


@pytest.mark.parametrize(("remaining", "requested"), [(3600, 300), (316, 300), (314.9, 299), (200, 185), (75, 60)])
def test_token_never_outlives_the_session_that_signs_the_call(remaining: float, requested: int) -> None:
    decision = decide_token(situation(token=None, session_ends_at=EPOCH + seconds(remaining)), POLICY)
    assert (decision.action, decision.duration) == (TokenAction.REQUEST, seconds(requested))


@pytest.mark.parametrize("remaining", [None, 74.9, 10, -5])
def test_token_waits_for_new_credentials_if_less_than_a_minute_remains(remaining: float | None) -> None:
    ends_at = None if remaining is None else EPOCH + seconds(remaining)
    decision = decide_token(situation(token=None, session_ends_at=ends_at), POLICY)
    assert (decision.action, decision.wake_in) == (TokenAction.WAIT, POLICY.nap)


def test_clock_that_jumps_back_does_not_postpone_the_refresh() -> None:
    at = Instant(now=EPOCH - timedelta(days=1), monotonic=AT.monotonic + seconds(151))
    assert decide_token(situation(at=at), POLICY).action is TokenAction.REQUEST


def test_clock_that_jumps_ahead_causes_no_more_calls_than_the_minimum_interval_allows() -> None:
    at = Instant(now=EPOCH + timedelta(minutes=30), monotonic=AT.monotonic + seconds(5))
    decision = decide_token(situation(at=at), POLICY)
    assert (decision.action, decision.wake_in) == (TokenAction.WAIT, seconds(15))
    eager = replace(POLICY, minimum_interval=seconds(1))
    assert decide_token(situation(at=at), eager).action is TokenAction.REQUEST


@pytest.mark.parametrize(
    ("after", "phase"), [(0, Phase.FRESH), (249, Phase.FRESH), (250, Phase.MANDATORY), (300, Phase.EXPIRED)]
)
def test_phase_of_a_token_is_that_of_the_time_that_remains(after: float, phase: Phase) -> None:
    assert get_token_phase(make_web_identity_token(), EPOCH + seconds(after), POLICY) is phase
    assert get_token_phase(None, EPOCH, POLICY) is Phase.STARTING


@dataclass
class World:
    """STS, the disk and the credentials of profiles, for a keeper."""

    profiles: Sequence[ProfileSpec]
    clock: FakeClock = field(default_factory=FakeClock)
    sessions: dict[str, SourceSession] = field(default_factory=dict)
    begun: list[tuple[str, timedelta, Callable[[WebIdentityToken | ExchangeError], None]]] = field(default_factory=list)
    published: list[WebIdentityToken] = field(default_factory=list)
    publishing: list[Callable[[Exception | None], None]] = field(default_factory=list)
    lost: frozenset[str] = frozenset()
    events: list[TokenEvent] = field(default_factory=list)
    name: str = "files"

    def __post_init__(self) -> None:
        """Make the keeper."""
        self.status = WebIdentityTokenStatuses(each.name for each in self.profiles if each.web_identity_token)
        self.sessions |= {each.name: make_session(each.name, received_at=self.clock.now) for each in self.profiles}
        self.keeper = WebIdentityTokenKeeper(
            profiles=self.profiles,
            requests=self,
            publisher=_Disk(self),
            record=self._record,
            run_on_loop=lambda function: function(self.clock.read()),
            chance=lambda: 0.5,
            policy=POLICY,
        )

    def turn(self) -> timedelta:
        return self.keeper.turn(self.clock.read(), self.sessions.get)

    def begin(
        self,
        profile: ProfileSpec,
        session: SourceSession,
        duration: timedelta,
        on_end: Callable[[WebIdentityToken | ExchangeError], None],
    ) -> None:
        """Note a call to STS."""
        assert session.generation.profile == profile.name
        self.begun.append((profile.name, duration, on_end))

    def answer(self, result: ExchangeError | None = None) -> None:
        """End the oldest call, with a token unless an error is given."""
        profile, duration, on_end = self.begun.pop(0)
        token = replace(make_web_identity_token(profile, duration), received_at=self.clock.now)
        on_end(result or token)

    def end_publish(self, error: Exception | None = None) -> None:
        self.publishing.pop(0)(error)

    def _record(self, event: TokenEvent) -> None:
        self.events.append(event)
        self.status.record(event)


@dataclass
class _Disk:
    world: World
    name: str = "files"

    def begin(self, items: Sequence[WebIdentityToken], on_end: Callable[[Exception | None], None]) -> None:
        """Note what is published."""
        self.world.published += items
        self.world.publishing.append(on_end)

    def missing(self) -> frozenset[str]:
        """Return the profiles whose file is gone."""
        return self.world.lost


def make_world(*names: str, **changes: object) -> World:
    profiles = [make_profile(name, web_identity_token=SPEC) for name in names or ("default",)]
    return World([*profiles, make_profile("other")], **changes)  # type: ignore[arg-type]


def test_keeper_requests_publishes_and_reports_one_token() -> None:
    world = make_world()
    world.turn()
    assert [(name, duration) for name, duration, _ in world.begun] == [("default", MINUTES_5)]
    assert world.turn() == POLICY.nap, "its end wakes the loop"
    assert len(world.begun) == 1, "one call at a time"
    world.answer()
    world.turn()
    world.end_publish()
    (event,) = world.events
    assert isinstance(event, TokenPublished)
    (status,) = world.status.snapshot()
    assert (status.profile, status.lapses_at) == ("default", EPOCH + MINUTES_5)
    assert dict(status.refreshes) == {("success", ""): 1}
    world.clock.advance(seconds(120))
    assert world.turn() == seconds(15)
    world.clock.advance(seconds(15))
    world.turn()
    assert len(world.begun) == 1


def test_refused_token_is_retried_after_the_backoff_and_reported_as_its_own_fault() -> None:
    world = make_world()
    world.turn()
    world.answer(WebIdentityTokenDenied("No.", "Enable it."))
    (event,) = world.events
    assert isinstance(event, TokenFailed)
    assert event.retry_in == seconds(45)
    assert world.turn() == POLICY.nap
    assert world.begun == []
    world.clock.advance(seconds(46))
    world.turn()
    world.answer(WebIdentityTokenDenied("No.", "Enable it."))
    (status,) = world.status.snapshot()
    assert status.fault is not None
    assert (status.fault.count, status.fault.since) == (2, EPOCH)
    assert dict(status.refreshes) == {("failure", "web_identity_token_denied"): 2}


def test_rejected_credentials_are_retried_soon_once_they_are_replaced() -> None:
    from broker.core.errors import SourceRejected  # noqa: PLC0415 - of this test

    world = make_world()
    for _ in range(7):
        world.turn()
        world.answer(SourceRejected("Revoked."))
        world.clock.advance(seconds(301))
    world.turn()
    world.answer(SourceRejected("Revoked."))
    world.clock.advance(seconds(40))
    world.turn()
    assert world.begun == [], "the fault lasts"
    world.sessions["default"] = make_session(number=2, received_at=world.clock.now)
    world.turn()
    assert len(world.begun) == 1


def test_requested_refresh_skips_schedule_and_backoff_until_a_later_call_succeeds() -> None:
    world = make_world()
    world.turn()
    world.keeper.refresh()
    world.answer()
    world.turn()
    world.end_publish()
    world.turn()
    assert len(world.begun) == 1, "the call that succeeded had begun before the request"
    world.answer(ExchangeUnavailable("Down."))
    world.turn()
    assert world.begun == []
    world.keeper.refresh()
    world.turn()
    world.answer()
    world.turn()
    world.end_publish()
    world.turn()
    assert world.begun == []


def test_failed_publish_is_retried_with_the_same_token() -> None:
    world = make_world()
    world.turn()
    world.answer()
    world.turn()
    world.end_publish(PublishError("Full.", sink="files"))
    assert world.turn() == seconds(0.75)
    world.clock.advance(seconds(1))
    world.turn()
    assert [token.received_at for token in world.published] == [EPOCH, EPOCH]
    world.end_publish()
    kinds = [type(event) for event in world.events]
    assert kinds == [TokenFailed, TokenPublished]
    assert world.begun == []


def test_bug_of_the_sink_is_raised() -> None:
    world = make_world()
    world.turn()
    world.answer()
    world.turn()
    with pytest.raises(ZeroDivisionError):
        world.end_publish(ZeroDivisionError())


def test_lost_file_is_published_again() -> None:
    world = make_world()
    world.turn()
    world.answer()
    world.turn()
    world.end_publish()
    world.lost = frozenset({"default", "other"})
    world.turn()
    assert len(world.publishing) == 1
    assert isinstance(world.events[-1], TokenLost)
    assert world.status.snapshot()[0].lapses_at is None
    world.end_publish()
    assert world.status.snapshot()[0].lapses_at is not None


def test_token_that_arrives_while_another_is_written_is_written_next() -> None:
    world = make_world("a", "b")
    world.turn()
    world.answer()
    world.turn()
    world.answer()
    world.turn()
    assert [token.profile for token in world.published] == ["a"]
    world.end_publish()
    world.turn()
    assert [token.profile for token in world.published] == ["a", "b"]


def test_few_calls_are_made_at_once_and_failed_ones_come_last() -> None:
    names = [f"p{number}" for number in range(MAXIMUM_CALLS_AT_ONCE + 2)]
    world = make_world(*names)
    world.turn()
    assert [name for name, _, _ in world.begun] == names[:4]
    for _ in range(4):
        world.answer(ExchangeUnavailable("Down."))
    world.clock.advance(seconds(2))
    world.turn()
    assert [name for name, _, _ in world.begun] == ["p4", "p5", "p0", "p1"]


def test_profile_without_credentials_waits() -> None:
    world = make_world()
    world.sessions.clear()
    assert world.turn() == POLICY.nap
    assert world.begun == []
