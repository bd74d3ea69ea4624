"""What must hold of chained roles among each other, before anything starts. Pure.

A chained role is asked for with another profile's credentials, its source, which may be chained itself, to any depth.
Every chain must end at a profile that has a token, and stay in one partition.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from broker.core.model import ProfileSpec

MAXIMUM_DURATION = timedelta(hours=1)
"""AWS's limit for sessions of chained roles, whatever the role allows (IAM guide, "Roles terms and concepts")."""


def find_faults(profiles: Sequence[ProfileSpec]) -> Iterator[str]:
    """Yield what is wrong with the chains, each fault once, with the profile and the key to change."""
    by_name = {profile.name: profile for profile in profiles}
    told: set[str] = set()
    for profile in profiles:
        if profile.chain is None:
            continue
        where = f"profile {profile.name}: source_profile"
        source = by_name.get(profile.chain.source)
        if source is None:
            known = ", ".join(name for name in by_name if name != profile.name) or "none"
            yield f"{where}: no profile is named {profile.chain.source}; others are {known}"
            continue
        cycle = _cycle(profile, by_name)
        if cycle:
            if told.isdisjoint(cycle):
                names = " -> ".join([*cycle, cycle[0]])
                yield f"{where}: {names} is a circle: one of them must have a token of its own"
            told.update(cycle)
            continue
        yield from _inheritance_faults(profile, by_name)
        here, there = _partition(profile), _partition(source)
        if here and there and here != there:
            yield (
                f"{where}: role_arn is of partition {here}, that of {source.name} of {there}: AWS has no chains from "
                "one partition to another; give this profile a token of its own"
            )


def _inheritance_faults(profile: ProfileSpec, by_name: dict[str, ProfileSpec]) -> Iterator[str]:
    """Yield what the profile would set anew though it inherits it, which STS refuses (IAM guide, "Session tags")."""
    where = f"profile {profile.name}"
    assert profile.chain is not None
    own = {key.lower(): key for key, _ in profile.chain.tags}
    for above in _sources(profile, by_name):
        assert above.chain is not None
        identity = above.chain.source_identity
        if identity and profile.chain.source_identity not in {None, identity}:
            yield f"{where}: source_identity: profile {above.name} sets another, which goes on: drop this"
        for key in above.chain.transitive_tag_keys:
            if key.lower() in own:
                yield (
                    f"{where}: tags: {own[key.lower()]} is a transitive tag of profile {above.name}, which cannot be "
                    "set again: drop it here, or in transitive_tag_keys there"
                )


def _sources(profile: ProfileSpec, by_name: dict[str, ProfileSpec]) -> list[ProfileSpec]:
    """Return the chained profiles that this one hangs on, nearest first; a circle is gone round once."""
    way, seen, last = [], {profile.name}, profile
    while (chain := last.chain) is not None and chain.source in by_name and chain.source not in seen:
        last = by_name[chain.source]
        way.append(last)
        seen.add(last.name)
    return [source for source in way if source.chain is not None]


def _cycle(profile: ProfileSpec, by_name: dict[str, ProfileSpec]) -> list[str]:
    """Return the names on the circle that the profile stands on; none where its chain ends."""
    assert profile.chain is not None
    names = [profile.name, *(source.name for source in _sources(profile, by_name))]
    last = by_name[names[-1]]
    return names if last.chain is not None and last.chain.source == profile.name else []


def _partition(profile: ProfileSpec) -> str:
    return profile.role_arn.split(":")[1] if profile.role_arn else ""
