"""Chains through simulated days of faults: no expired source is used, and no fault of a chain affects its source."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from broker.core import chains
from broker.core.errors import (
    ExchangeError,
    ExchangeThrottled,
    ExchangeUnavailable,
    ResponseInvalid,
    RoleDenied,
    SourceRejected,
)
from broker.core.schedule import RefreshPolicy
from tests.support.fakes import make_chained, make_profile
from tests.support.world import World, most_calls_within, profile_status, raising, usable_until

if TYPE_CHECKING:
    from broker.core.model import ProfileSpec

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
KINDS: tuple[type[ExchangeError], ...] = (
    ExchangeUnavailable,
    ExchangeThrottled,
    SourceRejected,
    RoleDenied,
    ResponseInvalid,
)
PROFILES = (make_chained("leaf", "middle"), make_profile(), make_chained("middle"))
outages = st.tuples(
    st.sampled_from(KINDS),
    st.sampled_from(["", "default", "middle", "leaf"]),
    st.integers(min_value=1, max_value=90),
    st.integers(min_value=6, max_value=60),
)


@given(st.lists(outages, max_size=3), st.integers(min_value=0, max_value=2**32), st.booleans())
def test_chain_recovers_after_any_faults(
    past: list[tuple[type[ExchangeError], str, int, int]], seed: int, stuck: bool
) -> None:
    world = World(profiles=PROFILES, seed=seed)
    world.kubelet_stuck = stuck
    for kind, profile, minutes_failing, minutes_working in past:
        world.sts_fault, world.denied_profile = raising(kind), profile
        world.live(timedelta(minutes=minutes_failing))
        world.sts_fault = None
        world.live(timedelta(minutes=minutes_working))
    world.kubelet_stuck = False
    world.live(timedelta(minutes=20))
    while any(world.clock.now - each.credentials.received_at < 2 * MINUTE for each in world.published.values()):
        world.live(MINUTE)  # a renewal has not reached the end of the chain
    assert world.expired_proofs_sent == 0
    for name, source in (("middle", "default"), ("leaf", "middle")):
        until = usable_until(world, name)
        assert until is not None
        assert until > world.clock.now
        assert world.published[name].fingerprint == f"{source}-{world.published[source].number}"
        assert profile_status(world, name).fault is None
        assert most_calls_within(world, HOUR, name) <= 120


@given(outages, st.integers(min_value=0, max_value=2**32))
def test_source_is_refreshed_as_it_would_be_without_its_chain(
    outage: tuple[type[ExchangeError], str, int, int], seed: int
) -> None:
    """Within the maximum sleep, because a loop that wakes for the chain examines the source too."""
    alone, chained = World(seed=seed, chance=lambda: 0.5), World(profiles=PROFILES, seed=seed, chance=lambda: 0.5)
    kind, profile, minutes_failing, minutes_working = outage
    for world in (alone, chained):
        if world is chained or profile in {"", "default"}:
            world.sts_fault, world.denied_profile = raising(kind), profile
        world.live(timedelta(minutes=minutes_failing))
        world.sts_fault = None
        world.live(timedelta(minutes=minutes_working))
    without, with_chain = usable_until(alone), usable_until(chained)
    assert without is not None
    assert with_chain is not None
    assert abs(with_chain - without) <= RefreshPolicy().nap


@st.composite
def chained_profiles(draw: st.DrawFn) -> list[ProfileSpec]:
    """Return profiles that are chained at random to each other, to themselves or to missing profiles."""
    names = [f"p{number}" for number in range(draw(st.integers(min_value=1, max_value=7)))]
    sources = st.sampled_from([None, *names, "nobody"])
    return [make_profile(name) if (source := draw(sources)) is None else make_chained(name, source) for name in names]


@given(chained_profiles())
def test_chains_without_a_fault_all_start_at_a_token(profiles: list[ProfileSpec]) -> None:
    faults = list(chains.find_faults(profiles))
    by_name = {profile.name: profile for profile in profiles}

    def starts_at_a_token(profile: ProfileSpec) -> bool:
        for _ in profiles:
            if profile.chain is None:
                return True
            if profile.chain.source not in by_name:
                return False
            profile = by_name[profile.chain.source]
        return profile.chain is None

    assert (not faults) == all(starts_at_a_token(profile) for profile in profiles)
