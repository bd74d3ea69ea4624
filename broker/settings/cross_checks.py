"""What is wrong with one profile as a whole: what is missing, and what does not go together. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.core import chains

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broker.settings.schema import NamedProfile, Settings

OF_A_TOKEN = ("web_identity_token_file", "audience")
_OF_A_CHAIN = ("external_id", "tags", "transitive_tag_keys", "source_identity")
_PARTITION_BY_REGION_PREFIX = {
    "cn-": "aws-cn",
    "us-gov-": "aws-us-gov",
    "us-iso-": "aws-iso",
    "us-isob-": "aws-iso-b",
    "us-isof-": "aws-iso-f",
    "eu-isoe-": "aws-iso-e",
    "eusc-": "aws-eusc",
}


def profile_faults(profile: NamedProfile, settings: Settings, unusable: frozenset[str]) -> Iterator[str]:
    """Yield what is wrong with one profile as a whole."""
    yield from _own_faults(profile, unusable)
    if profile.role_arn and profile.region:
        yield from _arn_faults(profile, settings, unusable)


def _own_faults(profile: NamedProfile, unusable: frozenset[str]) -> Iterator[str]:
    """Yield what is missing, and what does not go together."""
    chained = profile.source_profile is not None
    if not profile.role_arn and "role_arn" not in unusable:
        where = "in the profile itself" if chained else "(AWS_ROLE_ARN)"
        yield f"no role: set role_arn {where}"
    for key in OF_A_TOKEN if chained else _OF_A_CHAIN:
        if key in profile.model_fields_set:
            yield f"{key}: for a profile {'without' if chained else 'with'} source_profile alone: drop one of the two"
    if chained and profile.duration_seconds > chains.MAXIMUM_DURATION.total_seconds():
        yield f"duration_seconds: {profile.duration_seconds}; sessions of chained roles last 3600 at most"
    if not profile.region and "region" not in unusable:
        yield "no Region: set region (AWS_REGION), such as eu-west-1; without one, calls would silently go global"
    if profile.session_policy is not None and profile.session_policy_file is not None:
        yield "session_policy and session_policy_file: set one of the two"


def _arn_faults(profile: NamedProfile, settings: Settings, unusable: frozenset[str]) -> Iterator[str]:
    """Yield where the role, the Region and the policies are of different accounts or partitions."""
    assert profile.role_arn
    assert profile.region
    _, partition, _, _, account, _ = profile.role_arn.split(":", 5)
    for arn in profile.policy_arns:
        if arn.split(":")[4] not in {account, "aws"}:
            yield f"policy_arns: {arn} is not of the role's account {account}, as STS demands"
    prefixes = (prefix for prefix in _PARTITION_BY_REGION_PREFIX if profile.region.startswith(prefix))
    expected = _PARTITION_BY_REGION_PREFIX.get(next(prefixes, ""), "aws")
    if not settings.sts.endpoint_url and not {"sts", "endpoint_url"} & unusable and partition != expected:
        yield f"role_arn is of partition {partition}, region {profile.region} of {expected}: change one of them"
