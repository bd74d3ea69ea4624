"""The real main loop in simulated weeks of outages, rotations, stuck kubelets, full disks and clock jumps."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec.structs import replace

from broker.core.errors import (
    Disposition,
    ExchangeError,
    ExchangeThrottled,
    ExchangeUnavailable,
    RequestInvalid,
    ResponseInvalid,
    RoleDenied,
    TokenRejected,
)
from broker.core.refresher import RefreshNow
from broker.core.schedule import RefreshPolicy
from tests.support.fakes import make_profile
from tests.support.world import LATENCY, World, most_calls_within, raising, usable_until

if TYPE_CHECKING:
    from datetime import datetime

    from broker.core.model import Generation

KINDS: tuple[type[ExchangeError], ...] = (
    ExchangeUnavailable,
    ExchangeThrottled,
    TokenRejected,
    RoleDenied,
    RequestInvalid,
    ResponseInvalid,
)
POLICY = RefreshPolicy()
MINUTE = timedelta(minutes=1)
GRACE = 2 * LATENCY + timedelta(milliseconds=1)
seeds = st.integers(min_value=0, max_value=2**32)


class Weeks(RuleBasedStateMachine):
    """Each rule changes the world; the invariants must hold whatever happens."""

    @initialize(
        seed=seeds,
        duration=st.sampled_from([900, 1620, 3600, 5400, 43_200]),
        token_lifetime=st.sampled_from([600, 3600, 86_400]),
    )
    def begin(self, seed: int, duration: int, token_lifetime: int) -> None:
        """Start the broker in a healthy world."""
        lifetime = timedelta(seconds=duration)
        self.world = World(
            seed=seed,
            profiles=(make_profile(duration=lifetime),),
            token_lifetime=timedelta(seconds=token_lifetime),
            on_publish=self.check_replacement,
        )
        self.lifetime = lifetime
        self.healthy_since = self.world.clock.monotonic
        self.slow_fault = False
        self.jumped_at = self.healthy_since
        self.world.live(timedelta(seconds=5))

    def check_replacement(self, before: Generation | None, after: Generation) -> None:
        """Check that credentials are replaced before half of their lifetime is over, unless there was a fault."""
        assert before is None or after.number > before.number
        now, monotonic = self.world.clock.now, self.world.clock.monotonic
        settled = max(self.healthy_since + self.recovery(), self.jumped_at + 2 * MINUTE)
        if before is not None and self.world.healthy and monotonic > settled:
            left = before.credentials.lapses_at - now
            assert left >= self.lifetime / 2 - GRACE, f"{left} left of {self.lifetime}"

    def recovery(self) -> timedelta:
        """Return how long after the end of a fault the credentials must be fresh again."""
        return (POLICY.slow.cap if self.slow_fault else MINUTE) + GRACE

    def update_health(self) -> None:
        if self.world.healthy:
            self.healthy_since = self.world.clock.monotonic

    @rule(minutes=st.integers(min_value=1, max_value=600))
    def time_passes(self, minutes: int) -> None:
        self.world.live(timedelta(minutes=minutes))

    @rule(seconds=st.integers(min_value=1, max_value=120))
    def a_short_time_passes(self, seconds: int) -> None:
        self.world.live(timedelta(seconds=seconds))

    @rule(kind=st.sampled_from(KINDS))
    def sts_fails(self, kind: type[ExchangeError]) -> None:
        if self.world.healthy and self.world.clock.monotonic > self.healthy_since + self.recovery():
            self.slow_fault = False  # the backoff of an earlier outage is over
        self.slow_fault |= kind.disposition in {Disposition.SLOW, Disposition.SOON_THEN_SLOW}
        self.world.sts_fault = raising(kind)

    @rule()
    def sts_recovers(self) -> None:
        self.world.sts_fault = None
        self.update_health()

    @rule(absent=st.booleans())
    def token_appears_or_disappears(self, absent: bool) -> None:
        self.world.token_absent = absent
        self.update_health()

    @rule(stuck=st.booleans())
    def kubelet_stops_or_continues(self, stuck: bool) -> None:
        self.world.kubelet_stuck = stuck
        self.update_health()

    @rule(full=st.booleans())
    def disk_fills_or_empties(self, full: bool) -> None:
        self.world.disk_fault = full
        self.update_health()

    @rule(minutes=st.integers(min_value=-120, max_value=120))
    def clock_jumps(self, minutes: int) -> None:
        self.world.clock.jump(timedelta(minutes=minutes))
        self.jumped_at = self.world.clock.monotonic

    @rule()
    def refresh_is_requested(self) -> None:
        self.world.inbox.put(RefreshNow())

    @precondition(lambda self: self.world.healthy)
    @rule()
    def recovery_is_quick(self) -> None:
        """Readers have valid credentials within a minute after a fault (five, if it needed an operator)."""
        settled = max(self.healthy_since + self.recovery(), self.jumped_at + POLICY.minimum_interval + GRACE)
        self.world.live(max(settled - self.world.clock.monotonic, timedelta(0)) + GRACE)
        until = usable_until(self.world)
        assert until is not None
        assert until > self.world.clock.now

    @invariant()
    def no_expired_token_was_sent(self) -> None:
        assert not hasattr(self, "world") or self.world.expired_proofs_sent == 0


TestWeeks = Weeks.TestCase
TestWeeks.settings = settings(
    max_examples=10, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
)


@settings(max_examples=15, deadline=None)
@given(seed=seeds, kind=st.sampled_from(KINDS), had_credentials=st.booleans())
def test_any_permanent_error_costs_at_most_120_calls_an_hour_and_10_in_the_first_minute(
    seed: int,
    kind: type[ExchangeError],
    had_credentials: bool,
) -> None:
    world = World(seed=seed)
    if had_credentials:
        world.live(timedelta(minutes=5))
        world.calls.clear()
    world.sts_fault = raising(kind)
    world.live(timedelta(hours=4))
    assert most_calls_within(world, timedelta(hours=1)) <= 120
    assert most_calls_within(world, MINUTE) <= 10
    assert len(world.calls) >= 3


@settings(max_examples=15, deadline=None)
@given(seed=seeds, kind=st.sampled_from(KINDS), seconds=st.integers(min_value=1, max_value=3600))
def test_request_outlasts_an_outage_of_any_length_and_stays_within_the_limits(
    seed: int, kind: type[ExchangeError], seconds: int
) -> None:
    world = World(seed=seed)
    world.live(timedelta(minutes=2))
    world.calls.clear()
    world.sts_fault = raising(kind)
    world.inbox.put(RefreshNow())
    world.live(timedelta(seconds=seconds))
    world.sts_fault = None
    world.live(POLICY.slow.cap + GRACE)
    assert world.published["default"].reason == "requested"
    assert most_calls_within(world, timedelta(hours=1)) <= 120
    assert most_calls_within(world, MINUTE) <= 10


@settings(max_examples=10, deadline=None)
@given(seed=seeds)
def test_alternating_errors_cost_at_most_120_calls_an_hour(seed: int) -> None:
    world = World(seed=seed)
    world.sts_fault = lambda: world.random.choice(KINDS)("Made up.")
    world.live(timedelta(hours=2))
    assert most_calls_within(world, timedelta(hours=1)) <= 120
    assert most_calls_within(world, MINUTE) <= 10


@settings(max_examples=5, deadline=None)
@given(jitter=st.floats(min_value=0, max_value=1, exclude_max=True))
def test_full_disk_causes_no_exchange(jitter: float) -> None:
    """With a sink that never works, STS is called at the same times as with one that does."""
    working, full = World(chance=lambda: jitter), World(chance=lambda: jitter, disk_fault=True)
    working.live(timedelta(hours=3))
    full.live(timedelta(hours=3))
    assert full.calls == working.calls
    assert not full.published


@settings(max_examples=200, deadline=None)
@given(seed=seeds, age=st.integers(min_value=60, max_value=1700), jump=st.integers(min_value=-30_000, max_value=30_000))
@example(seed=303, age=1452, jump=-31)
def test_clock_jump_of_any_size_is_corrected_within_the_maximum_sleep(seed: int, age: int, jump: int) -> None:
    """Right after a refresh, it is corrected as soon as the minimum interval is over."""
    world = World(seed=seed)
    world.live(timedelta(seconds=age))
    since_refresh = world.clock.monotonic - world.calls[-1][0].monotonic
    world.clock.jump(timedelta(seconds=jump))
    world.live(max(POLICY.nap, POLICY.minimum_interval - since_refresh) + GRACE)
    credentials = world.published["default"].credentials
    assert credentials.received_at <= world.clock.now
    assert credentials.lapses_at - world.clock.now >= timedelta(minutes=30) - GRACE
    assert world.expired_proofs_sent == 0


@settings(max_examples=30, deadline=None)
@given(
    seed=seeds,
    interval=st.integers(min_value=1, max_value=3600),
    duration=st.sampled_from([900, 1620, 3600]),
    jump=st.integers(min_value=0, max_value=7200),
)
@example(seed=0, interval=3600, duration=900, jump=0)
def test_minimum_interval_of_any_length_never_keeps_expired_credentials(
    seed: int, interval: int, duration: int, jump: int
) -> None:
    """A clock that jumps forward may make them expire at any time; that is corrected within the urgent interval."""
    policy = replace(POLICY, minimum_interval=timedelta(seconds=interval))
    world = World(seed=seed, policy=policy, profiles=(make_profile(duration=timedelta(seconds=duration)),))
    world.live(timedelta(seconds=5))
    for _ in range(4 * 60):
        world.live(MINUTE)
        assert world.published["default"].credentials.usable_until > world.clock.now
    world.clock.jump(timedelta(seconds=jump))
    world.live(POLICY.urgent_interval + GRACE)
    assert world.published["default"].credentials.usable_until > world.clock.now
    assert most_calls_within(world, timedelta(hours=1)) <= 120


def most_ordinary_calls(duration: int) -> float:
    """Return how many calls an hour sessions of this duration, in seconds, take at most if nothing fails.

    A refresh is due after 0.4 of a session at the earliest. The first call and an early first refresh are added.
    """
    return 3600 / (0.4 * duration) + 2


def check_readers(before: Generation | None, after: Generation, now: datetime) -> None:
    """Check that readers had credentials that were valid by the node's clock, and at STS, until they were replaced."""
    assert after.number == 1 or before is not None
    assert before is None or before.credentials.usable_until > now


@settings(max_examples=30, deadline=None)
@given(seed=seeds, duration=st.sampled_from([900, 3600]), skew=st.integers(min_value=-3500, max_value=86_400))
@example(seed=0, duration=900, skew=-850)
@example(seed=0, duration=3600, skew=-3550)
@example(seed=0, duration=3600, skew=-1860)
def test_wrong_clock_of_the_node_never_leaves_readers_with_expired_credentials(
    seed: int, duration: int, skew: int
) -> None:
    """Readers compare `expires_at` with the node's clock. Up to 50 s before a whole session, STS can issue in time."""
    skew = max(skew, 50 - duration)
    world = World(
        seed=seed,
        profiles=(make_profile(duration=timedelta(seconds=duration)),),
        clock_skew=timedelta(seconds=skew),
        on_publish=lambda before, after: check_readers(before, after, world.clock.now),
    )
    world.live(timedelta(hours=5))
    assert world.published["default"].credentials.usable_until > world.clock.now
    assert most_calls_within(world, timedelta(hours=1)) <= (120 if skew < 0 else most_ordinary_calls(duration))


@settings(max_examples=30, deadline=None)
@given(seed=seeds, duration=st.sampled_from([900, 3600]), ahead=st.integers(min_value=-60, max_value=86_400))
@example(seed=9277, duration=3600, ahead=0)
def test_clock_of_the_node_ahead_by_a_whole_session_costs_few_calls_and_keeps_the_session_valid_at_sts(
    seed: int, duration: int, ahead: int
) -> None:
    """Then no answer of STS looks unexpired to readers who compare clocks. Others can still use the credentials."""
    world = World(
        seed=seed,
        profiles=(make_profile(duration=timedelta(seconds=duration)),),
        clock_skew=-timedelta(seconds=duration + ahead),
    )
    world.live(timedelta(hours=5))
    assert world.published["default"].credentials.lapses_at > world.clock.now
    assert most_calls_within(world, timedelta(hours=1)) <= (120 if ahead < 0 else most_ordinary_calls(duration))


@settings(max_examples=3, deadline=None)
@given(seed=seeds)
def test_fleet_that_starts_together_spreads_out(seed: int) -> None:
    """The first refreshes are spread over the whole time from the minimum interval to half of the lifetime."""
    world = World(seed=seed, profiles=tuple(make_profile(f"p{number}") for number in range(40)))
    began = world.clock.monotonic
    world.live(timedelta(minutes=31))
    calls: dict[str, list[timedelta]] = {}
    for instant, name in world.calls:
        calls.setdefault(name, []).append(instant.monotonic - began)
    refreshed_at = sorted(times[1] for times in calls.values())
    assert len(refreshed_at) == 40
    assert refreshed_at[0] >= POLICY.minimum_interval
    assert refreshed_at[-1] - refreshed_at[0] > timedelta(minutes=15)


def test_two_weeks_without_faults_need_little_more_than_two_calls_per_lifetime() -> None:
    """Sessions of 1 h are refreshed every 24 to 30 minutes, the first ones earlier."""
    world = World(seed=7)
    world.live(timedelta(weeks=2))
    assert 14 * 48 <= len(world.calls) <= 14 * 60
