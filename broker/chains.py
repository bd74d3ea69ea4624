"""What must hold of chained roles among each other, before anything starts. Pure.

A chained role is asked for with another profile's credentials, its source, which may be chained itself, to any depth.
Every chain must end at a profile that has a token, and stay in one partition.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from broker.model import ProfileSpec

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
        here, there = _partition(profile), _partition(source)
        if here and there and here != there:
            yield (
                f"{where}: role_arn is of partition {here}, that of {source.name} of {there}: AWS has no chains from "
                "one partition to another; give this profile a token of its own"
            )


def _cycle(profile: ProfileSpec, by_name: dict[str, ProfileSpec]) -> list[str]:
    """Return the names on the circle that the profile stands on; none where its chain ends."""
    names: list[str] = []
    at: ProfileSpec | None = profile
    while at is not None and at.chain is not None:
        if at.name in names:
            return names if at.name == profile.name else []
        names.append(at.name)
        at = by_name.get(at.chain.source)
    return []


def _partition(profile: ProfileSpec) -> str:
    return profile.role_arn.split(":")[1] if profile.role_arn else ""
