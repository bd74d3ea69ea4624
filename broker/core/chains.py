"""Checks of chained roles across profiles, before the broker starts.

A chained role is assumed with the credentials of another profile, its source. The source can be chained itself, to any
depth. Every chain must start at a profile with a token, and stay in one partition. This module is pure.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from broker.core.role_arns import read_partition
from broker.core.spelling import suggest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from broker.core.model import ProfileSpec

MAXIMUM_DURATION = timedelta(hours=1)
"""The limit of AWS for sessions of chained roles, whatever the role allows (IAM guide, "Roles terms and concepts")."""


def find_faults(profiles: Sequence[ProfileSpec]) -> Iterator[str]:
    """Yield what is wrong with the chains, each fault once, with the profile and the key to change."""
    by_name = {profile.name: profile for profile in profiles}
    reported: set[str] = set()
    for profile in profiles:
        if profile.chain is None:
            continue
        key = f"profile {profile.name}: source_profile"
        source = by_name.get(profile.chain.source)
        if source is None:
            suggestion = suggest(profile.chain.source, [name for name in by_name if name != profile.name])
            hint = suggestion or "; set it to the name of another profile"
            yield f"{key}: there is no profile {profile.chain.source}{hint}"
            continue
        cycle = _find_cycle(profile, by_name)
        if cycle:
            if reported.isdisjoint(cycle):
                yield f"{key}: {' -> '.join([*cycle, cycle[0]])} is a cycle; remove source_profile from one of them"
            reported.update(cycle)
            continue
        yield from _find_inheritance_faults(profile, by_name)
        own_partition, source_partition = read_partition(profile.role_arn), read_partition(source.role_arn)
        if own_partition and source_partition and own_partition != source_partition:
            yield (
                f"{key}: role_arn is in partition {own_partition}, but the role of {source.name} is in partition "
                f"{source_partition}; AWS does not support chains across partitions, so remove source_profile"
            )


def _find_inheritance_faults(profile: ProfileSpec, by_name: dict[str, ProfileSpec]) -> Iterator[str]:
    """Yield the inherited values that the profile sets again, which STS rejects (IAM guide, "Session tags")."""
    prefix = f"profile {profile.name}"
    assert profile.chain is not None
    own = {key.lower(): key for key, _ in profile.chain.tags}
    for source in _list_chained_sources(profile, by_name):
        assert source.chain is not None
        identity = source.chain.source_identity
        if identity and profile.chain.source_identity not in {None, identity}:
            yield (
                f"{prefix}: source_identity: differs from the source identity that it inherits from profile "
                f"{source.name}; remove it"
            )
        for key in source.chain.transitive_tag_keys:
            if key.lower() in own:
                yield (
                    f"{prefix}: tags: {own[key.lower()]} is inherited from profile {source.name}, where it is "
                    "transitive, and cannot be set again; remove it here, or from transitive_tag_keys there"
                )


def _list_chained_sources(profile: ProfileSpec, by_name: dict[str, ProfileSpec]) -> list[ProfileSpec]:
    """Return the chained profiles that this one depends on, nearest first, each once even in a cycle."""
    sources, seen, last = [], {profile.name}, profile
    while (chain := last.chain) is not None and chain.source in by_name and chain.source not in seen:
        last = by_name[chain.source]
        sources.append(last)
        seen.add(last.name)
    return [source for source in sources if source.chain is not None]


def _find_cycle(profile: ProfileSpec, by_name: dict[str, ProfileSpec]) -> list[str]:
    """Return the names in the cycle that the profile is part of, or none."""
    assert profile.chain is not None
    names = [profile.name, *(source.name for source in _list_chained_sources(profile, by_name))]
    last = by_name[names[-1]]
    return names if last.chain is not None and last.chain.source == profile.name else []
