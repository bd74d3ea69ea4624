"""Checks of a profile as a whole: keys that are missing, and keys that contradict each other.

This module is pure: it does no I/O.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from broker.core import chains
from broker.core.role_arns import is_aws_role, read_account, read_partition

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broker.settings.schema import NamedProfile, Settings

TOKEN_KEYS = ("web_identity_token_file", "audience")
"""Keys that only a profile with a token can have."""
_CHAIN_KEYS = ("external_id", "tags", "transitive_tag_keys", "source_identity")
"""Keys that only a chained role can have."""
_PLACEHOLDER_HINT = (
    "An STS that has no roles, such as MinIO with policies from claims, ignores the ARN but requests must have one: "
    "set role_arn to arn:minio:iam:::role/unused"
)
_GLOBAL_HOST = "sts.amazonaws.com"
_PARTITION_BY_REGION_PREFIX = {
    "cn-": "aws-cn",
    "us-gov-": "aws-us-gov",
    "us-iso-": "aws-iso",
    "us-isob-": "aws-iso-b",
    "us-isof-": "aws-iso-f",
    "eu-isoe-": "aws-iso-e",
    "eusc-": "aws-eusc",
}


def find_profile_faults(profile: NamedProfile, settings: Settings, rejected: frozenset[str]) -> Iterator[str]:
    """Yield what is wrong with a profile as a whole. Keys in `rejected` are not reported as missing."""
    yield from _find_key_faults(profile, rejected, settings.sts.endpoint_url)
    yield from _find_notify_faults(profile, rejected)
    yield from _find_token_faults(profile, rejected, settings.sts.endpoint_url or "")
    is_custom = bool(settings.sts.endpoint_url or {"sts", "endpoint_url"} & rejected)
    if profile.role_arn and profile.region and is_aws_role(profile.role_arn):
        yield from _find_arn_faults(profile, is_custom_endpoint=is_custom)


def _find_key_faults(profile: NamedProfile, rejected: frozenset[str], endpoint_url: str | None) -> Iterator[str]:
    """Yield the keys that are missing or contradict each other."""
    is_chained = profile.source_profile is not None
    if not profile.role_arn and "role_arn" not in rejected:
        if is_chained:
            yield "role_arn: not set; a chained role does not use the default, so set role_arn in the profile itself"
        else:
            hint = f". {_PLACEHOLDER_HINT}" if endpoint_url else ""
            yield f"role_arn (AWS_ROLE_ARN): not set; set it to the ARN of the role to assume{hint}"
    for key in TOKEN_KEYS if is_chained else _CHAIN_KEYS:
        if key in profile.model_fields_set:
            if is_chained:
                yield f"{key}: cannot be combined with source_profile; remove one of them"
            else:
                yield f"{key}: needs source_profile; set source_profile, or remove {key}"
    if is_chained and profile.duration_seconds > chains.MAXIMUM_DURATION.total_seconds():
        yield f"duration_seconds: {profile.duration_seconds} is too long; a chained role's session is limited to 3600"
    if not profile.region and "region" not in rejected:
        yield (
            "region (AWS_REGION): not set; set it to a Region such as eu-west-1, because without one botocore would "
            "call the global STS endpoint"
        )
    if profile.session_policy is not None and profile.session_policy_file is not None:
        yield "session_policy and session_policy_file: both are set; remove one of them"


def _find_notify_faults(profile: NamedProfile, rejected: frozenset[str]) -> Iterator[str]:
    """Yield what is wrong with the programs to notify."""
    labels = set()
    for number, entry in enumerate(profile.notify):
        name = f"notify.{number}"
        given = {key for key in entry.model_fields_set if getattr(entry, key) is not None}
        yield from (f"{name}: {fault}" for fault in _find_entry_faults(given, rejected))
        label = entry.url.partition("?")[0] if entry.url else entry.pid_file or entry.process
        if label and label in labels:
            yield f"{name}: notifies the same program as an entry before it; remove one of them"
        labels.add(label)


def _find_entry_faults(given: set[str], rejected: frozenset[str]) -> Iterator[str]:
    """Yield the keys of an entry that are missing or contradict each other."""
    if {"url", "signal"} <= given:
        yield "has both url and signal; make two entries of it"
    elif not {"url", "signal"} & (given | rejected):
        yield "has neither url nor signal; set one of them"
    if {"pid_file", "process"} <= given:
        yield "has both pid_file and process; remove one of them"
    elif "signal" in given and not {"pid_file", "process"} & (given | rejected):
        yield "signal: needs pid_file or process; set one of them"
    for kind, keys in (("url", ("method", "bearer_file")), ("signal", ("pid_file", "process"))):
        other = "signal" if kind == "url" else "url"
        if other in given and kind not in given:
            yield from (f"{key}: cannot be combined with {other}; remove it" for key in keys if key in given)


def _find_token_faults(profile: NamedProfile, rejected: frozenset[str], endpoint_url: str) -> Iterator[str]:
    """Yield what is wrong with the web identity token of a profile."""
    keys = profile.web_identity_token
    if not keys.audience:
        if keys.model_fields_set and "audience" not in keys.model_fields_set | rejected:
            yield (
                "web_identity_token.audience (BROKER_WEB_IDENTITY_TOKEN_AUDIENCE): not set; set it to the service that "
                "accepts the token, or remove web_identity_token"
            )
        return
    if keys.duration_seconds > profile.duration_seconds:
        yield (
            f"web_identity_token.duration_seconds: {keys.duration_seconds} is longer than the session, which lasts "
            f"{profile.duration_seconds} (duration_seconds); STS issues no token that outlives the session"
        )
    if urlsplit(endpoint_url).hostname == _GLOBAL_HOST:
        yield (
            f"web_identity_token: the endpoint {_GLOBAL_HOST} issues no such tokens; unset sts.endpoint_url "
            "(AWS_ENDPOINT_URL_STS), or set it to a regional endpoint"
        )


def _find_arn_faults(profile: NamedProfile, *, is_custom_endpoint: bool) -> Iterator[str]:
    """Yield where the role, the Region and the policies belong to different accounts or partitions."""
    assert profile.role_arn
    assert profile.region
    partition, account = read_partition(profile.role_arn), read_account(profile.role_arn)
    for arn in profile.policy_arns:
        if arn.split(":")[4] not in {account, "aws"}:
            yield f"policy_arns: {arn} is not in the role's account {account}; STS accepts no policy of another account"
    prefixes = (prefix for prefix in _PARTITION_BY_REGION_PREFIX if profile.region.startswith(prefix))
    expected = _PARTITION_BY_REGION_PREFIX.get(next(prefixes, ""), "aws")
    if not is_custom_endpoint and partition != expected:
        yield (
            f"role_arn is in partition {partition}, but region {profile.region} is in partition {expected}; "
            "change one of them"
        )
