"""The first refresh: not before the minimum interval, not later than any other refresh, and even over a fleet."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace

from benchmarks.fleet import Fleet
from broker.core.first_refresh import LARGEST_JITTER, spread_first_refresh
from broker.core.schedule import RefreshPolicy
from tests.support.fakes import EPOCH, make_credentials

if TYPE_CHECKING:
    from broker.core.model import TemporaryCredentials

POLICY = RefreshPolicy()
HOUR = timedelta(hours=1)
TOLERANCE = timedelta(microseconds=10)
shares = st.floats(min_value=0, max_value=1, exclude_max=True)
policies = st.integers(min_value=1, max_value=3600).map(
    lambda seconds: replace(POLICY, minimum_interval=timedelta(seconds=seconds))
)
durations = st.integers(min_value=1, max_value=43_200 * 10**6).map(lambda number: timedelta(microseconds=number))
helds = st.builds(
    lambda lifetime, ahead: make_credentials(received_at=EPOCH, lifetime=lifetime, expires_at=EPOCH + lifetime - ahead),
    durations,
    st.timedeltas(min_value=-HOUR, max_value=12 * HOUR),
)


@given(helds, policies, shares, shares)
@example(make_credentials(lifetime=timedelta(microseconds=1)), POLICY, 0.5, 0.5)
@example(make_credentials(lifetime=timedelta(0)), POLICY, 0.5, 0.5)
@example(make_credentials(lifetime=timedelta(minutes=80), expires_at=EPOCH + timedelta(minutes=27)), POLICY, 0.0, 0.999)
def test_first_refresh_is_between_the_minimum_interval_and_any_later_refresh(
    held: TemporaryCredentials, policy: RefreshPolicy, jitter: float, place: float
) -> None:
    """It is at least a minute after the start, too. A refresh that is due earlier anyway is not moved."""
    spread = spread_first_refresh(held, policy, jitter, place)
    first, ordinary = policy.due_at(held, spread), policy.due_at(held, jitter)
    assert first <= ordinary + TOLERANCE
    earliest = held.received_at + max(policy.minimum_interval, timedelta(minutes=1))
    assert first >= min(earliest, ordinary) - TOLERANCE
    assert jitter <= spread <= LARGEST_JITTER


@given(durations)
def test_largest_jitter_is_a_lead_of_the_whole_lifetime(lifetime: timedelta) -> None:
    """It is more where the lead is longer, to keep readers out of the SDKs' refresh windows."""
    assert lifetime - TOLERANCE <= POLICY.lead(lifetime, LARGEST_JITTER) <= lifetime * 1.25 + TOLERANCE


@given(helds, shares)
def test_first_place_is_that_of_an_ordinary_refresh(held: TemporaryCredentials, jitter: float) -> None:
    assert spread_first_refresh(held, POLICY, jitter, 0.0) == jitter


@pytest.mark.parametrize(("lifetime", "bounds"), [(HOUR, [1.5, 1.5, 1.2]), (HOUR / 4, [1.5, 1.5, 1.5])])
@pytest.mark.parametrize("seed", range(2))
def test_fleet_that_starts_together_calls_sts_evenly(lifetime: timedelta, bounds: list[float], seed: int) -> None:
    """The calls of so few pods are counted in quarters of a cycle. In smaller bins, chance alone makes higher peaks."""
    fleet = Fleet(pods=400, lifetime=lifetime, cycles=3, bins=4, seed=seed)
    calls = fleet.simulate(spread=True)
    assert all(peak <= bound for peak, bound in zip(calls.peaks, bounds, strict=True))
    assert calls.calls_a_pod <= fleet.simulate(spread=False).calls_a_pod + 0.5
