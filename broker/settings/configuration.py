"""Build the `Configuration` from validated settings: resolve profile defaults, read policy files, collect warnings."""

from __future__ import annotations

import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from broker.core import chains
from broker.core.ignored_endpoint import IGNORED_ENDPOINT_REMEDY, find_ignored_endpoint
from broker.core.library_variables import explain_library_variables
from broker.core.model import ChainSpec, Configuration, ProfileSpec, PublishSpec, StsSpec, TokenRequestSpec
from broker.core.notify_targets import HttpTarget, SignalTarget
from broker.core.schedule import RefreshPolicy
from broker.core.web_identity_spec import WebIdentityTokenSpec
from broker.files.regular_file import read_regular_file
from broker.settings import validators
from broker.settings.cross_checks import TOKEN_KEYS, find_profile_faults
from broker.settings.schema import NamedProfile, Notify, ProfileKeys, Settings, WebIdentityTokenKeys

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from broker.core.notify_targets import NotifyTarget

_MAXIMUM_POLICY_BYTES = 1_000_000
"""Enough that the limit of STS, which is in characters without surrounding white space, is the one that is reported."""
_POLICY_KEYS = frozenset({"session_policy", "session_policy_file"})

_PROXY_VARIABLES = ("HTTPS_PROXY", "https_proxy")
"""NO_PROXY alone has no effect."""


def build_profiles(settings: Settings, rejected: frozenset[str], faults: list[str]) -> tuple[ProfileSpec, ...]:
    """Return the profiles, each with the defaults for the keys that it does not set.

    Adds a line to `faults` for everything that is wrong. `rejected` holds the keys whose values were left out because
    they failed validation: they are not reported as missing too.
    """
    defaults = settings.model_dump(include=set(ProfileKeys.model_fields) - {"notify"}, exclude_unset=True)
    profiles = []
    names: set[str] = set()
    for named in settings.profiles or (NamedProfile(name="default"),):
        if named.name in names:
            faults.append(f"profiles: two profiles have the name {named.name}; rename one of them")
        names.add(named.name)
        keys = _apply_defaults(named.model_dump(exclude_unset=True, exclude={"notify"}), defaults)
        keys["notify"] = named.notify if "notify" in named.model_fields_set else settings.notify
        prefix = f"profile {named.name}: " if settings.profiles else ""
        profiles.append(_build_profile(NamedProfile.model_construct(**keys), settings, rejected, prefix, faults))
    return tuple(profiles)


def build_token_request(environ: Mapping[str, str], faults: list[str]) -> TokenRequestSpec | None:
    """Return the address of the Kubernetes API. Adds to `faults`, and returns None, if the environment has none."""
    try:
        host, port = validators.api_address(environ)
    except ValueError as error:
        faults.append(f"token_source (BROKER_TOKEN_SOURCE): {error}")
        return None
    return TokenRequestSpec(host=host, port=port)


def build_configuration(
    settings: Settings,
    profiles: tuple[ProfileSpec, ...],
    token_request: TokenRequestSpec | None,
    environ: Mapping[str, str],
) -> Configuration:
    """Return the configuration, with warnings about settings that work but are likely mistakes."""
    host, _, port = settings.health.address.rpartition(":")
    endpoint_host, _, endpoint_port = settings.endpoint.address.rpartition(":")
    return Configuration(
        profiles=profiles,
        token_request=token_request,
        sts=StsSpec(
            endpoint_url=settings.sts.endpoint_url or "",
            use_fips=settings.sts.use_fips_endpoint,
            use_dualstack=settings.sts.use_dualstack_endpoint,
            ca_bundle=settings.sts.ca_bundle or "",
        ),
        publish=PublishSpec(
            directory=settings.publish.directory.rstrip("/") or "/",
            mode=settings.publish.mode,
            group=settings.publish.group,
            env=settings.publish.env,
            process_command=settings.publish.process_command,
        ),
        minimum_interval=timedelta(seconds=settings.minimum_interval_seconds),
        health_host="" if host == "*" else host.strip("[]"),
        health_port=int(port),
        endpoint_host=endpoint_host,
        endpoint_port=int(endpoint_port),
        log_format=settings.log.format,
        log_level=settings.log.level,
        termination_message_path=settings.termination_message_path,
        warnings=tuple(_find_warnings(settings, profiles, environ)),
    )


def _build_profile(
    profile: NamedProfile, settings: Settings, rejected: frozenset[str], prefix: str, faults: list[str]
) -> ProfileSpec:
    """Return the profile. Adds what is wrong with it to `faults`, each line with `prefix`."""
    faults += (prefix + fault for fault in find_profile_faults(profile, settings, rejected))
    try:
        session_policy = _read_session_policy(profile)
    except ValueError as error:
        faults.append(f"{prefix}session_policy_file (BROKER_SESSION_POLICY_FILE): {error}")
        session_policy = None
    return ProfileSpec(
        name=profile.name,
        role_arn=profile.role_arn or "",
        region=profile.region or "",
        token_file=profile.web_identity_token_file,
        audience=profile.audience,
        session_name=profile.role_session_name,
        duration=timedelta(seconds=profile.duration_seconds),
        session_policy=session_policy,
        policy_arns=profile.policy_arns,
        required=profile.required,
        chain=_build_chain(profile),
        notify=tuple(_build_target(entry) for entry in profile.notify),
        web_identity_token=_build_token(profile),
    )


def _build_token(profile: NamedProfile) -> WebIdentityTokenSpec | None:
    keys = profile.web_identity_token
    if not keys.audience:
        return None
    return WebIdentityTokenSpec(
        audiences=keys.audience,
        duration=timedelta(seconds=keys.duration_seconds),
        signing_algorithm=keys.signing_algorithm,
    )


def _apply_defaults(own: dict[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys that a profile sets, with the defaults for those that it does not set."""
    excluded: set[str] = set()
    if _POLICY_KEYS & own.keys():  # a profile's own policy replaces the default one, whichever of the two keys has it
        excluded |= _POLICY_KEYS
    is_chained = bool(own.get("source_profile"))
    if is_chained:
        excluded |= {"role_arn", *TOKEN_KEYS}  # these defaults are for the profiles that use a token
    keys = {**{key: value for key, value in defaults.items() if key not in excluded}, **own}
    token = {**defaults.get("web_identity_token", {}), **own.get("web_identity_token", {})}
    keys["web_identity_token"] = WebIdentityTokenKeys.model_construct(**token)
    if is_chained and "duration_seconds" not in own:
        maximum = int(chains.MAXIMUM_DURATION.total_seconds())
        keys["duration_seconds"] = min(keys.get("duration_seconds", maximum), maximum)
    return keys


def _build_chain(profile: NamedProfile) -> ChainSpec | None:
    if profile.source_profile is None:
        return None
    return ChainSpec(
        source=profile.source_profile,
        external_id=profile.external_id,
        tags=tuple(profile.tags.items()),
        transitive_tag_keys=profile.transitive_tag_keys,
        source_identity=profile.source_identity,
    )


def _build_target(entry: Notify) -> NotifyTarget:
    if entry.url:
        return HttpTarget(url=entry.url, method=entry.method, bearer_file=entry.bearer_file or "")
    return SignalTarget(signal=entry.signal or "", pid_file=entry.pid_file or "", process=entry.process or "")


def _read_session_policy(profile: NamedProfile) -> str | None:
    """Return the profile's session policy. Raises ValueError, which names the file, if it cannot be used."""
    path = profile.session_policy_file
    if path is None:
        return profile.session_policy
    try:
        content = read_regular_file(path, _MAXIMUM_POLICY_BYTES)
        return validators.policy_text(content.decode("utf-8").strip())
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _find_warnings(settings: Settings, profiles: tuple[ProfileSpec, ...], environ: Mapping[str, str]) -> Iterator[str]:
    policy = RefreshPolicy()
    for profile in profiles:
        if not policy.keeps_out_of_sdk_windows(profile.duration):
            yield (
                f"profile {profile.name}: a session duration of {profile.duration.total_seconds():.0f} s lies within "
                "the refresh windows of the SDKs, which then fetch credentials at every call. Set duration_seconds "
                "(BROKER_DURATION_SECONDS) to 1620 or more."
            )
    ignored = find_ignored_endpoint(environ, settings.sts.endpoint_url or "")
    if ignored:
        yield f"{ignored} {IGNORED_ENDPOINT_REMEDY}"
    yield from _find_proxy_warnings(settings.sts.endpoint_url or "", environ)
    keys = settings.model_fields_set.union(*(profile.model_fields_set for profile in settings.profiles))
    if settings.token_source != "file" and "web_identity_token_file" in keys:  # noqa: S105 - a kind of source
        yield (
            "web_identity_token_file (AWS_WEB_IDENTITY_TOKEN_FILE) is set but not used, because token_source "
            "(BROKER_TOKEN_SOURCE) is token-request. If the token file exists, set token_source to file. Otherwise "
            "remove web_identity_token_file."
        )
    for found, remedy in explain_library_variables(environ, is_read_by_python=not sys.flags.ignore_environment):
        yield f"{found} {remedy}"


def _find_proxy_warnings(endpoint_url: str, environ: Mapping[str, str]) -> Iterator[str]:
    """Yield a line for each proxy variable that does not do what it seems to do."""
    if not any(environ.get(name) for name in _PROXY_VARIABLES):
        return
    from broker.net.routes import (  # noqa: PLC0415 - takes 6 ms of CPU time, and most pods have no proxy
        NO_PROXY_REMEDY,
        find_no_proxy_fault,
        find_proxy_fault,
    )

    proxy_fault = find_proxy_fault(environ)
    if proxy_fault and not endpoint_url.startswith("http://"):
        yield f"{proxy_fault}. Calls to STS through it fail. Set HTTPS_PROXY=http://HOST:PORT, or unset it."
    no_proxy_fault = find_no_proxy_fault(environ)
    if no_proxy_fault:
        yield f"{no_proxy_fault} {NO_PROXY_REMEDY}"
