"""The nine rules of `decide`, in their order, and the numbers of the refresh policy."""

from __future__ import annotations

from datetime import timedelta

import pytest
from msgspec.structs import replace

from broker.core.backoff import Backoff, Failure
from broker.core.clock import Instant
from broker.core.errors import Disposition, TokenUnavailable
from broker.core.schedule import (
    Action,
    Decision,
    Phase,
    Reason,
    RefreshPolicy,
    Situation,
    backoff,
    decide,
    phase_of,
)
from tests.support.fakes import EPOCH, make_credentials, make_token

POLICY = RefreshPolicy()
MONOTONIC = timedelta(hours=5)
MINUTE = timedelta(minutes=1)
TOKEN = make_token(issued_at=EPOCH, lifetime=timedelta(hours=24))


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


def situation_at(age: timedelta, **changes: object) -> Situation:
    """Return the situation of a profile whose 1 h credentials are `age` old and published."""
    fields: dict[str, object] = {
        "at": Instant(now=EPOCH + age, monotonic=MONOTONIC),
        "credentials": make_credentials(),
        "succeeded_at": MONOTONIC - age,
        **changes,
    }
    return Situation(**fields)  # type: ignore[arg-type]  # of the types above


def failed(seconds_ago: float, disposition: Disposition = Disposition.SOON, **changes: object) -> Failure:
    """Return a first failure, without jitter."""
    fields: dict[str, object] = {"attempts": 1, "streak": 1, "jitter": 0.0, "fingerprint": TOKEN.fingerprint, **changes}
    at = MONOTONIC - seconds(seconds_ago)
    return Failure(reason="any", at=at, disposition=disposition, **fields)  # type: ignore[arg-type]


def decided(situation: Situation, jitter: float = 0.0) -> Decision:
    return decide(situation, TOKEN, POLICY, jitter)


def test_rule_1_unpublished_credentials_are_published() -> None:
    decision = decided(situation_at(seconds(1), unpublished=True))
    assert (decision.action, decision.reason) == (Action.PUBLISH, Reason.UNPUBLISHED)


def test_rule_1_failed_publish_waits_for_its_backoff() -> None:
    decision = decided(situation_at(seconds(1), unpublished=True, publish_failure=failed(0.1)))
    assert (decision.action, decision.wake_in) == (Action.WAIT, seconds(0.4))


def test_rule_2_failed_exchange_waits_for_its_backoff() -> None:
    situation = situation_at(timedelta(minutes=40), exchange_failure=failed(20, Disposition.SLOW))
    decision = decided(situation)
    assert (decision.action, decision.reason, decision.wake_in) == (Action.WAIT, Reason.BACKOFF, seconds(10))


def test_rule_2_does_not_apply_to_a_requested_refresh() -> None:
    situation = situation_at(seconds(1), exchange_failure=failed(0, Disposition.SLOW), requested=True)
    assert decided(situation).reason is Reason.REQUESTED


def test_rule_2_applies_to_a_requested_refresh_after_its_first_attempt() -> None:
    failure = failed(20, Disposition.SLOW)
    situation = situation_at(MINUTE, exchange_failure=failure, requested=True, request_attempted=True)
    assert (decided(situation).reason, decided(situation).wake_in) == (Reason.BACKOFF, seconds(10))
    over = replace(situation, exchange_failure=failed(30, Disposition.SLOW))
    assert (decided(over).action, decided(over).reason) == (Action.EXCHANGE, Reason.REQUESTED)


@pytest.mark.parametrize(("failures", "wait"), [(1, 1), (2, 2), (4, 8), (5, 15), (50, 15)])
def test_rule_3_missing_token_is_read_again_after_up_to_15_seconds(failures: int, wait: int) -> None:
    situation = situation_at(timedelta(minutes=40), token_failures=failures)
    decision = decide(situation, TokenUnavailable("None."), POLICY, 0)
    assert (decision.action, decision.reason) == (Action.WAIT, Reason.NO_USABLE_TOKEN)
    assert decision.wake_in == seconds(wait)


@pytest.mark.parametrize(("look_in", "wake_in"), [(0.7, 0.7), (14.0, 14.0), (300.0, 30.0)])
def test_rule_3_token_source_can_set_the_time_of_the_next_read(look_in: float, wake_in: float) -> None:
    error = TokenUnavailable("None.")
    error.look_in = timedelta(seconds=look_in)
    decision = decide(situation_at(timedelta(minutes=40), token_failures=4), error, POLICY, 0.0)
    assert (decision.reason, decision.wake_in) == (Reason.NO_USABLE_TOKEN, timedelta(seconds=wake_in))


def test_rule_4_profile_without_credentials_exchanges() -> None:
    decision = decided(Situation(at=Instant(now=EPOCH, monotonic=MONOTONIC)))
    assert (decision.action, decision.reason, decision.phase) == (
        Action.EXCHANGE,
        Reason.NO_CREDENTIALS,
        Phase.STARTING,
    )
    assert decision.refresh_at is None


def test_rule_5_minimum_interval_applies_even_when_a_refresh_is_due() -> None:
    situation = situation_at(MINUTE * 31, succeeded_at=MONOTONIC - seconds(40))
    decision = decided(situation)
    assert (decision.action, decision.reason) == (Action.WAIT, Reason.MINIMUM_INTERVAL)
    assert decision.wake_in == seconds(20)


@pytest.mark.parametrize(
    ("age", "since_success", "wake_in"),
    [(31, 1860, 30), (49.9, 2994, 6), (50, 3000, 0), (60, 3600, 0), (60, 20, 16), (60, 36, 0)],
)
def test_rule_5_long_minimum_interval_ends_before_the_credentials_expire(
    age: float, since_success: float, wake_in: float
) -> None:
    """It ends with the mandatory phase. Soon after a success, a shorter interval replaces it."""
    policy = replace(POLICY, minimum_interval=timedelta(hours=2))
    situation = situation_at(MINUTE * age, succeeded_at=MONOTONIC - seconds(since_success))
    decision = decide(situation, TOKEN, policy, 0)
    assert decision.action is (Action.WAIT if wake_in else Action.EXCHANGE)
    assert decision.wake_in == seconds(wake_in)


def test_rule_6_clock_that_jumped_back_before_the_last_exchange_causes_an_exchange() -> None:
    decision = decided(situation_at(timedelta(hours=-2), succeeded_at=MONOTONIC - timedelta(hours=1)))
    assert (decision.action, decision.reason) == (Action.EXCHANGE, Reason.CLOCK_LEAPT_BACK)


def test_rule_7_one_hour_session_is_due_after_half_an_hour() -> None:
    assert decided(situation_at(timedelta(minutes=30))).reason is Reason.REFRESH_DUE
    assert decided(situation_at(timedelta(minutes=30) - seconds(1))).action is Action.WAIT


def test_rule_7_small_jump_of_the_clock_does_not_postpone_the_refresh() -> None:
    """By the wall clock the credentials are 5 min old; by the monotonic clock, 30 min."""
    situation = situation_at(timedelta(minutes=5), succeeded_at=MONOTONIC - timedelta(minutes=30))
    assert decided(situation).reason is Reason.REFRESH_DUE
    younger = situation_at(timedelta(minutes=5), succeeded_at=MONOTONIC - timedelta(minutes=30) + seconds(4))
    assert decided(younger).wake_in == seconds(4)


def test_rule_7_jitter_makes_the_refresh_due_earlier() -> None:
    assert decided(situation_at(timedelta(minutes=27)), jitter=0.5).reason is Reason.REFRESH_DUE


@pytest.mark.parametrize(
    ("ahead_minutes", "due_minutes"),
    [(-600, 30), (0, 30), (20, 20), (31, 9), (50, 5), (59.5, 0.25), (60, 30), (90, 30)],
)
def test_rule_7_is_planned_by_the_earlier_expiry_of_both_clocks(ahead_minutes: float, due_minutes: float) -> None:
    """If no answer of STS looks unexpired on the node, only the session's lifetime at STS counts."""
    held = make_credentials(expires_at=EPOCH + MINUTE * (60 - ahead_minutes))
    assert POLICY.due_at(held, 0) == EPOCH + MINUTE * due_minutes
    just_before = situation_at(MINUTE * due_minutes - seconds(1), credentials=held, succeeded_at=None)
    assert decided(just_before).reason is Reason.NOT_DUE
    due = situation_at(MINUTE * due_minutes, credentials=held, succeeded_at=None)
    assert decided(due).reason is Reason.REFRESH_DUE


def test_phase_depends_on_what_readers_can_use() -> None:
    node_ahead = make_credentials(expires_at=EPOCH + MINUTE * 18)
    ages = {0: Phase.FRESH, 10: Phase.ADVISORY, 15: Phase.MANDATORY, 18: Phase.EXPIRED}
    assert {age: phase_of(node_ahead, EPOCH + MINUTE * age, POLICY, 0) for age in ages} == ages


def test_rule_8_overdue_rotation_causes_one_exchange_for_each_token() -> None:
    late = make_token(issued_at=EPOCH - timedelta(minutes=55), lifetime=timedelta(hours=1))
    situation = situation_at(timedelta(minutes=2))
    assert decide(situation, late, POLICY, 0).reason is Reason.LAST_CHANCE
    spent = replace(situation, spent_fingerprint=late.fingerprint)
    assert decide(spent, late, POLICY, 0).reason is Reason.NOT_DUE


def test_rule_8_does_not_apply_to_a_token_without_iat() -> None:
    ageless = make_token(issued_at=None, lifetime=timedelta(minutes=3))
    assert decide(situation_at(timedelta(minutes=2)), ageless, POLICY, 0).reason is Reason.NOT_DUE


def test_rule_9_wakes_at_the_first_of_maximum_sleep_refresh_and_overdue_rotation() -> None:
    assert decided(situation_at(timedelta(minutes=10))).wake_in == seconds(30)
    assert decided(situation_at(timedelta(minutes=30) - seconds(7))).wake_in == seconds(7)
    nearly_late = make_token(issued_at=EPOCH - timedelta(minutes=54), lifetime=timedelta(hours=1))
    decision = decide(situation_at(timedelta(0), succeeded_at=None), nearly_late, POLICY, 0)
    assert decision.reason is Reason.LAST_CHANCE
    nearly = make_token(issued_at=EPOCH - timedelta(minutes=54) + seconds(5), lifetime=timedelta(hours=1))
    assert decide(situation_at(timedelta(0), succeeded_at=None), nearly, POLICY, 0).wake_in == seconds(5)


@pytest.mark.parametrize(
    ("lifetime_minutes", "lead_minutes"),
    [(15, 7.5), (20, 10), (27, 20), (60, 30), (89, 44.5), (90, 65), (120, 65), (180, 90), (720, 360)],
)
def test_lead_depends_on_the_lifetime(lifetime_minutes: float, lead_minutes: float) -> None:
    assert POLICY.lead(timedelta(minutes=lifetime_minutes)) == timedelta(minutes=lead_minutes)


@pytest.mark.parametrize(("minutes", "outside"), [(15, False), (26, False), (27, True), (60, True)])
def test_sessions_under_27_minutes_enter_the_sdk_windows(minutes: int, outside: bool) -> None:
    assert POLICY.keeps_out_of_sdk_windows(timedelta(minutes=minutes)) is outside


@pytest.mark.parametrize(
    ("age_minutes", "phase"),
    [(0, Phase.FRESH), (30, Phase.ADVISORY), (49, Phase.ADVISORY), (50, Phase.MANDATORY), (60, Phase.EXPIRED)],
)
def test_phase_depends_on_the_age(age_minutes: int, phase: Phase) -> None:
    assert phase_of(make_credentials(), EPOCH + timedelta(minutes=age_minutes), POLICY, 0) is phase


def test_mandatory_phase_of_a_short_session_is_its_last_sixth() -> None:
    credentials = make_credentials(lifetime=timedelta(minutes=18))
    assert phase_of(credentials, EPOCH + timedelta(minutes=14), POLICY, 0) is Phase.ADVISORY
    assert phase_of(credentials, EPOCH + timedelta(minutes=15), POLICY, 0) is Phase.MANDATORY


@pytest.mark.parametrize(("attempts", "ceiling"), [(1, 1), (2, 2), (6, 32), (7, 60), (10**9, 60)])
def test_backoff_doubles_up_to_its_maximum(attempts: int, ceiling: int) -> None:
    assert Backoff(base=seconds(1), cap=seconds(60)).ceiling(attempts) == seconds(ceiling)


def test_backoff_is_between_half_of_its_ceiling_and_all_of_it() -> None:
    assert backoff(failed(0, attempts=6), Phase.FRESH, POLICY) == seconds(16)
    assert backoff(failed(0, attempts=6, jitter=0.5), Phase.FRESH, POLICY) == seconds(24)


def test_rejected_token_is_retried_slowly_after_five_attempts() -> None:
    def delay(attempts: int) -> timedelta:
        failure = failed(0, Disposition.SOON_THEN_SLOW, attempts=attempts, jitter=0.999999)
        return backoff(failure, Phase.FRESH, POLICY)

    assert delay(5) < seconds(17)
    assert seconds(59) < delay(6) <= seconds(60)
    assert seconds(119) < delay(7) <= seconds(120)


def test_new_token_ends_the_slow_backoff_of_a_rejected_token() -> None:
    failure = failed(2, Disposition.SOON_THEN_SLOW, attempts=8, fingerprint="another")
    assert decided(situation_at(timedelta(minutes=40), exchange_failure=failure)).action is Action.EXCHANGE
    same = replace(failure, fingerprint=TOKEN.fingerprint)
    assert decided(situation_at(timedelta(minutes=40), exchange_failure=same)).action is Action.WAIT


def test_mandatory_phase_limits_every_backoff() -> None:
    failure = failed(0, Disposition.SLOW, attempts=9, jitter=0.999999)
    assert backoff(failure, Phase.MANDATORY, POLICY) <= seconds(40)
    assert backoff(failure, Phase.EXPIRED, POLICY) > seconds(299)


def test_long_streak_has_a_minimum_delay_whatever_the_errors() -> None:
    assert backoff(failed(0, streak=8), Phase.FRESH, POLICY) == seconds(0.5)
    assert backoff(failed(0, streak=9), Phase.FRESH, POLICY) == seconds(36)
