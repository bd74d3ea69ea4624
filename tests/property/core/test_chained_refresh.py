"""Chains through simulated days of faults: no expired source is ever used, and no fault of a chain goes upwards."""

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
troubles = st.tuples(
    st.sampled_from(KINDS),
    st.sampled_from(["", "default", "middle", "leaf"]),
    st.integers(min_value=1, max_value=90),
    st.integers(min_value=6, max_value=60),
)


@given(st.lists(troubles, max_size=3), st.integers(min_value=0, max_value=2**32), st.booleans())
def test_chain_is_well_again_after_any_troubles(
    fate: list[tuple[type[ExchangeError], str, int, int]], seed: int, stuck: bool
) -> None:
    world = World(profiles=PROFILES, seed=seed)
    world.kubelet_stuck = stuck
    for kind, profile, ill, well in fate:
        world.sts_fault, world.denied_profile = raising(kind), profile
        world.live(timedelta(minutes=ill))
        world.sts_fault = None
        world.live(timedelta(minutes=well))
    world.kubelet_stuck = False
    world.live(timedelta(minutes=20))
    while any(world.clock.now - each.credentials.received_at < 2 * MINUTE for each in world.published.values()):
        world.live(MINUTE)  # a renewal is on its way down the chain
    assert world.expired_proofs_sent == 0
    for name, source in (("middle", "default"), ("leaf", "middle")):
        until = usable_until(world, name)
        assert until is not None
        assert until > world.clock.now
        assert world.published[name].fingerprint == f"{source}-{world.published[source].number}"
        assert profile_status(world, name).fault is None
        assert most_calls_within(world, HOUR, name) <= 120


@given(troubles, st.integers(min_value=0, max_value=2**32))
def test_source_fares_as_it_would_without_its_chain(
    trouble: tuple[type[ExchangeError], str, int, int], seed: int
) -> None:
    """To the length of a nap: a loop that is woken for the chain also looks at the source then."""
    alone, chained = World(seed=seed, chance=lambda: 0.5), World(profiles=PROFILES, seed=seed, chance=lambda: 0.5)
    kind, profile, ill, well = trouble
    for world in (alone, chained):
        if world is chained or profile in {"", "default"}:
            world.sts_fault, world.denied_profile = raising(kind), profile
        world.live(timedelta(minutes=ill))
        world.sts_fault = None
        world.live(timedelta(minutes=well))
    without, with_chain = usable_until(alone), usable_until(chained)
    assert without is not None
    assert with_chain is not None
    assert abs(with_chain - without) <= RefreshPolicy().nap


@st.composite
def linked(draw: st.DrawFn) -> list[ProfileSpec]:
    """Return profiles chained at random, to each other, to themselves or to nothing there is."""
    names = [f"p{number}" for number in range(draw(st.integers(min_value=1, max_value=7)))]
    sources = st.sampled_from([None, *names, "nobody"])
    return [make_profile(name) if (source := draw(sources)) is None else make_chained(name, source) for name in names]


@given(linked())
def test_chains_without_a_fault_all_end_at_a_token(profiles: list[ProfileSpec]) -> None:
    faults = list(chains.find_faults(profiles))
    by_name = {profile.name: profile for profile in profiles}

    def ends(profile: ProfileSpec) -> bool:
        for _ in profiles:
            if profile.chain is None:
                return True
            if profile.chain.source not in by_name:
                return False
            profile = by_name[profile.chain.source]
        return profile.chain is None

    assert (not faults) == all(ends(profile) for profile in profiles)
