"""How events change the status, and what live and ready mean."""

from __future__ import annotations

from datetime import timedelta

from broker.core import events
from broker.core.clock import Instant
from broker.core.errors import ExchangeUnavailable, PublishError, RoleDenied, SourceUnavailable, TokenUnavailable
from broker.core.schedule import Action, Decision, Phase, Reason
from broker.core.session_sizes import SessionSizes
from broker.core.status import (
    DURATION_BUCKETS_SECONDS,
    LIVE_WITHIN,
    Durations,
    ProfileStatus,
    Status,
    is_live,
    is_ready,
    unready_profiles,
)
from tests.support.fakes import EPOCH, make_generation, make_profile, make_token

AT = Instant(now=EPOCH, monotonic=timedelta(hours=1))
LATER = Instant(now=EPOCH + timedelta(minutes=1), monotonic=timedelta(hours=1, minutes=1))
SECOND = timedelta(seconds=1)


def published(profile: str = "default", number: int = 1) -> events.Published:
    generation = make_generation(profile, number)
    return events.Published(at=AT, generation=generation, refresh_at=EPOCH + timedelta(minutes=30))


def exchange_failed(at: Instant = AT, error: ExchangeUnavailable | RoleDenied | None = None) -> events.ExchangeFailed:
    return events.ExchangeFailed(
        at=at,
        profile="default",
        error=error or ExchangeUnavailable("Down."),
        duration=SECOND,
        fingerprint="0123456789ab",
        phase=Phase.FRESH,
        failures=1,
        retry_in=SECOND,
    )


def only(status: Status) -> ProfileStatus:
    (profile,) = status.snapshot().profiles
    return profile


def test_loop_without_an_iteration_is_not_live() -> None:
    assert not is_live(Status([make_profile()]).snapshot(), AT.monotonic)


def test_loop_is_live_for_90_seconds_after_an_iteration() -> None:
    status = Status([make_profile()])
    status.record(events.Turned(at=AT))
    assert is_live(status.snapshot(), AT.monotonic + LIVE_WITHIN - SECOND)
    assert not is_live(status.snapshot(), AT.monotonic + LIVE_WITHIN)


def test_profile_is_ready_from_publish_to_expiry_and_not_from_exchange() -> None:
    status = Status([make_profile()])
    generation = make_generation()
    status.record(events.Exchanged(at=AT, generation=generation, duration=SECOND))
    assert not is_ready(status.snapshot(), EPOCH)
    status.record(published())
    assert is_ready(status.snapshot(), EPOCH + timedelta(minutes=59))
    assert not is_ready(status.snapshot(), EPOCH + timedelta(hours=1))


def test_restored_generation_makes_the_profile_ready_and_counts_no_refresh() -> None:
    status = Status([make_profile()])
    generation = make_generation(number=7)
    status.record(events.Restored(at=AT, generation=generation, phase=Phase.FRESH, refresh_at=LATER.now))
    assert is_ready(status.snapshot(), EPOCH)
    profile = only(status)
    assert (profile.generation, profile.published_generation, profile.refresh_at) == (7, 7, LATER.now)
    assert profile.phase is Phase.FRESH
    assert profile.published_received_at == generation.credentials.received_at
    assert profile.assumed_role_arn == generation.credentials.assumed_role_arn
    assert not profile.refreshes


def test_profile_stays_ready_through_an_outage() -> None:
    status = Status([make_profile()])
    status.record(published())
    status.record(exchange_failed())
    assert is_ready(status.snapshot(), EPOCH + timedelta(minutes=59))


def test_only_required_profiles_affect_readiness() -> None:
    status = Status([make_profile("a"), make_profile("b"), make_profile("c", required=False)])
    status.record(published("a"))
    assert unready_profiles(status.snapshot(), EPOCH) == ("b",)
    status.record(published("b"))
    assert is_ready(status.snapshot(), EPOCH)


def test_source_without_credentials_is_the_fault_to_fix_first() -> None:
    status = Status([make_profile()])
    status.record(exchange_failed(AT))
    waiting = events.SourceUnfit(at=LATER, profile="default", error=SourceUnavailable("Waits."))
    status.record(waiting)
    fault = only(status).fault
    assert fault is not None
    assert fault.error is waiting.error


def test_lasting_fault_keeps_its_beginning_and_is_counted() -> None:
    status = Status([make_profile()])
    status.record(exchange_failed(AT))
    status.record(exchange_failed(LATER))
    fault = only(status).fault
    assert fault is not None
    assert (fault.since, fault.count) == (EPOCH, 2)
    status.record(exchange_failed(LATER, RoleDenied("No.")))
    fault = only(status).fault
    assert fault is not None
    assert (fault.since, fault.count, fault.error.reason) == (LATER.now, 1, "role_denied")


def test_successful_exchange_ends_its_fault() -> None:
    status = Status([make_profile()])
    status.record(exchange_failed())
    status.record(events.Exchanged(at=AT, generation=make_generation(), duration=SECOND))
    assert only(status).fault is None


def test_publishing_ends_a_publish_fault_and_no_other() -> None:
    status = Status([make_profile()])
    error = PublishError("Full.", sink="files")
    status.record(events.PublishFailed(at=AT, profile="default", error=error, failures=1, retry_in=SECOND))
    assert only(status).publish_failures == 1
    status.record(published())
    assert only(status).fault is None
    status.record(exchange_failed())
    status.record(published(number=2))
    assert only(status).fault is not None


def test_usable_token_ends_a_token_fault_and_no_other() -> None:
    status = Status([make_profile()])
    observed = events.TokenObserved(at=AT, profile="default", token=make_token())
    status.record(events.TokenUnfit(at=AT, profile="default", error=TokenUnavailable("None.")))
    status.record(observed)
    assert only(status).fault is None
    assert only(status).token_fingerprint == make_token().fingerprint
    status.record(exchange_failed())
    status.record(observed)
    assert only(status).fault is not None


def test_token_fault_remains_after_the_response_to_a_pending_exchange() -> None:
    status = Status([make_profile()])
    status.record(events.TokenUnfit(at=AT, profile="default", error=TokenUnavailable("None.")))
    status.record(events.Exchanged(at=AT, generation=make_generation(), duration=SECOND))
    status.record(exchange_failed())
    fault = only(status).fault
    assert fault is not None
    assert fault.error.reason == "token_unavailable"


def test_exchange_fault_is_shown_again_after_a_token_fault() -> None:
    status = Status([make_profile()])
    status.record(exchange_failed(error=RoleDenied("No.")))
    status.record(events.TokenUnfit(at=AT, profile="default", error=TokenUnavailable("None.")))
    status.record(events.TokenObserved(at=AT, profile="default", token=make_token()))
    fault = only(status).fault
    assert fault is not None
    assert fault.error.reason == "role_denied"


def test_refreshes_are_counted_by_outcome_and_reason() -> None:
    status = Status([make_profile()])
    for event in (published(), published(number=2), exchange_failed()):
        status.record(event)
    assert only(status).refreshes == {("success", "refresh_due"): 2, ("failure", "exchange_unavailable"): 1}


def test_decision_sets_phase_and_next_refresh() -> None:
    status = Status([make_profile()])
    decision = Decision(action=Action.WAIT, phase=Phase.ADVISORY, reason=Reason.BACKOFF, refresh_at=EPOCH)
    status.record(events.Decided(at=AT, profile="default", decision=decision))
    assert (only(status).phase, only(status).refresh_at) == (Phase.ADVISORY, EPOCH)


def test_request_does_not_change_the_status() -> None:
    status = Status([make_profile()])
    before = status.snapshot()
    status.record(events.RefreshRequested(at=AT))
    assert status.snapshot() == before


def test_snapshot_does_not_change_with_later_events() -> None:
    status = Status([make_profile()])
    before = status.snapshot()
    status.record(published())
    assert before.profiles[0].published_generation == 0


def test_clock_skew_is_kept_if_a_response_has_no_date() -> None:
    status = Status([make_profile()])
    dated = make_generation(clock_skew=timedelta(seconds=9))
    status.record(events.Exchanged(at=AT, generation=dated, duration=SECOND))
    status.record(events.Exchanged(at=AT, generation=make_generation(number=2, clock_skew=None), duration=SECOND))
    assert status.snapshot().clock_skew == timedelta(seconds=9)


def test_durations_are_counted_in_their_buckets() -> None:
    durations = Durations()
    for seconds in (0.05, 0.06, 31):
        durations = durations.add(timedelta(seconds=seconds))
    assert durations.counts == (1, 1, *(0,) * (len(DURATION_BUCKETS_SECONDS) - 2), 1)
    assert round(durations.sum_seconds, 2) == 31.11


def test_sizes_are_those_of_the_newest_session_and_unknown_after_a_restart() -> None:
    status = Status([make_profile()])
    sizes = SessionSizes(packed_policy_percent=50)
    status.record(events.Exchanged(at=AT, generation=make_generation(sizes=sizes), duration=SECOND))
    assert status.snapshot().profiles[0].sizes == sizes
    status.record(events.Restored(at=AT, generation=make_generation(), phase=Phase.FRESH, refresh_at=LATER.now))
    assert status.snapshot().profiles[0].sizes == SessionSizes()
