"""Which profiles get the places for exchanges."""

from __future__ import annotations

from datetime import timedelta

from broker.core.backoff import Failure
from broker.core.errors import Disposition
from broker.core.exchange_places import Candidate, select_candidates
from broker.core.profile_state import ProfileState
from broker.core.schedule import Reason
from tests.support.fakes import EPOCH, make_chained, make_generation, make_profile, make_token

MINUTE = timedelta(minutes=1)


def make_state(
    name: str, minutes_left: float | None = None, failure: Failure | None = None, source: ProfileState | None = None
) -> ProfileState:
    """Return the state of a profile whose 1 h credentials lapse in `minutes_left`; None for no credentials."""
    received_at = EPOCH + MINUTE * ((minutes_left or 0) - 60)
    return ProfileState(
        spec=make_chained(name, source.spec.name) if source else make_profile(name),
        jitter=0.0,
        source=source,
        generation=None if minutes_left is None else make_generation(name, received_at=received_at),
        exchange_failure=failure,
    )


def failed(at_seconds: float, took_seconds: float = 0.2) -> Failure:
    return Failure(
        reason="any",
        at=timedelta(seconds=at_seconds),
        disposition=Disposition.SOON,
        attempts=1,
        streak=1,
        jitter=0.0,
        took=timedelta(seconds=took_seconds),
    )


def select(states: list[ProfileState], places: int) -> list[str]:
    candidates = [Candidate(state=state, proof=make_token(), reason=Reason.REFRESH_DUE) for state in states]
    return [candidate.state.spec.name for candidate in select_candidates(candidates, places)]


def test_nearest_expiry_comes_first_and_no_credentials_count_as_lapsed() -> None:
    states = [make_state("late", 30), make_state("soon", 3), make_state("none"), make_state("none too")]
    assert select(states, 4) == ["none", "none too", "soon", "late"]
    assert select(states, 2) == ["none", "none too"]
    assert select(states, 0) == []


def test_profiles_that_failed_come_last_and_slow_failures_after_quick_ones() -> None:
    states = [
        make_state("hung", None, failed(5, took_seconds=30)),
        make_state("hung earlier", 20, failed(3, took_seconds=30)),
        make_state("denied", None, failed(8)),
        make_state("throttled", 9, failed(7)),
        make_state("well", 25),
    ]
    assert select(states, 5) == ["well", "throttled", "denied", "hung earlier", "hung"]


def test_chained_role_waits_for_its_source_and_leaves_its_place_to_others() -> None:
    source = make_state("source", 25)
    chained = make_state("chained", 5, source=source)
    last = make_state("last", 1, source=chained)
    assert select([source, chained, last, make_state("other", 28)], 8) == ["source", "other"]


def test_source_counts_as_lapsing_with_the_first_role_that_is_chained_to_it() -> None:
    source = make_state("source", 25)
    chained = make_state("chained", 5, source=source)
    assert select([make_state("other", 10), source, chained], 1) == ["source"]


def test_source_that_failed_does_not_hold_up_its_chain_when_places_are_short() -> None:
    source = make_state("source", 25, failed(0, took_seconds=30))
    chained = make_state("chained", 5, source=source)
    assert select([source, chained], 1) == ["chained"]
    assert select([source, chained], 2) == ["source"]
