"""Environment and YAML file -> `Configuration`, or every fault at once, each with the name of the setting to change.

Rules: the standard AWS names come first; an unknown `BROKER_…` variable or YAML key is a fault; the environment
overrides the file; a key at the top is the default of every profile. `run` imports it, and pydantic with it, in a child
process alone (see `apart`). Refuses to look at the token.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from broker.core import chains
from broker.core.errors import ConfigurationError
from broker.core.model import (
    SERVICE_LINK,
    ChainSpec,
    Configuration,
    ProfileSpec,
    PublishSpec,
    StsSpec,
    TokenRequestSpec,
)
from broker.core.schedule import RefreshPolicy
from broker.settings import validators
from broker.settings.cross_checks import OF_A_TOKEN, profile_faults
from broker.settings.schema import CONFIG_VARIABLE, ENVIRONMENT, FORMS, TYPES, NamedProfile, ProfileKeys, Settings
from broker.settings.yaml_file import read_mapping

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_NOT_TO_BE_QUOTED = re.compile(r"(?<=//)[^/@\s]*(?=@)|eyJ[A-Za-z0-9_.-]+")
"""The user in a URL, and what looks like a token."""


def load(environ: Mapping[str, str]) -> Configuration:
    """Return what the environment, and the YAML file that BROKER_CONFIG names, ask for.

    Raises ConfigurationError with all faults.
    """
    faults = list(_unknown_variables(environ))
    values, names = _from_environment(environ)
    path = environ.get(CONFIG_VARIABLE, "")
    document: dict[str, Any] | None = {}
    try:
        document = read_mapping(path) if path else {}
    except ConfigurationError as error:
        faults += error.faults
        document = None
    settings, unusable = _validated(values, document or {}, lambda error: faults.extend(_told(error, names, path)))
    if settings is None or document is None:
        raise ConfigurationError(tuple(faults))
    profiles = list(_profiles(settings, unusable, faults))
    faults += chains.find_faults(profiles)
    token_request = _token_request(environ, faults) if settings.token_source != "file" else None  # noqa: S105 - a kind
    if faults:
        raise ConfigurationError(tuple(faults))
    return _configuration(settings, tuple(profiles), token_request)


def _unknown_variables(environ: Mapping[str, str]) -> Iterator[str]:
    known = {variable.name for variable in ENVIRONMENT} | {CONFIG_VARIABLE}
    for name in sorted(environ):
        if name.startswith("BROKER_") and name not in known and not SERVICE_LINK.fullmatch(name):
            yield f"{name}: no such setting; known are {', '.join(sorted(each for each in known if each[0] == 'B'))}"


def _from_environment(environ: Mapping[str, str]) -> tuple[dict[str, Any], dict[tuple[str, ...], str]]:
    """Return the settings that the environment gives, nested, and the variable that each came from."""
    values: dict[str, Any] = {}
    names: dict[tuple[str, ...], str] = {}
    for variable in ENVIRONMENT:
        value = environ.get(variable.name, "").strip()
        if not value or variable.path in names:
            continue  # set to nothing is not set, as AWS's own tools have it
        names[variable.path] = variable.name
        place = values
        for key in variable.path[:-1]:
            place = place.setdefault(key, {})
        place[variable.path[-1]] = value
    return values, names


def _validated(
    values: dict[str, Any], document: dict[str, Any], tell: Callable[[ValidationError], None]
) -> tuple[Settings | None, frozenset[str]]:
    """Return the settings without those that are no good, and the keys of these, so that all faults can be found.

    `tell` takes the faults. The settings are None where they cannot be had by leaving out single keys.
    """
    left_out: set[tuple[int | str, ...]] = set()
    while True:
        try:
            settings = Settings.model_validate(_merged(values, document))
        except ValidationError as error:
            places = {fault["loc"] for fault in error.errors()}
            if places & left_out:  # it cannot be left out either: a profile's name
                return None, frozenset()
            tell(error)
            found = [_leave_out(values, place) | _leave_out(document, place) for place in places]
            if not all(found):
                return None, frozenset()
            left_out |= places
        else:
            return settings, frozenset(str(place[-1]) for place in left_out)


def _merged(over: Mapping[str, Any], under: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested values in which those of `over` stand before those of `under`."""
    merged = {**under, **over}
    for key in over.keys() & under.keys():
        if isinstance(over[key], dict):  # what should be a mapping below and is none stays, to be told of
            merged[key] = _merged(over[key], under[key]) if isinstance(under[key], dict) else under[key]
    return merged


def _leave_out(values: Any, place: tuple[int | str, ...]) -> bool:  # noqa: ANN401 - whatever YAML holds
    """Take the key at `place` out of nested values. Return whether it was there."""
    *above, key = place
    try:
        for part in above:
            values = values[part]
    except (LookupError, TypeError):
        return False
    if not isinstance(values, dict) or key not in values:
        return False
    del values[key]
    return True


def _told(error: ValidationError, names: Mapping[tuple[str, ...], str], path: str) -> Iterator[str]:
    """Return a line for each fault: the name to change, what is wrong, what was found (never of an unknown key)."""
    for fault in error.errors():
        place = tuple(str(part) for part in fault["loc"])
        name = names.get(place, f"{path}: {'.'.join(place)}" if path else ".".join(place))
        message = TYPES.get(fault["type"], fault["msg"].removeprefix("Value error, "))
        if fault["type"] == "string_pattern_mismatch":
            message = f"write {FORMS[place[-1]]}"
        if fault["type"] == "extra_forbidden":
            yield f"{name}: no such setting"
        elif isinstance(fault["input"], str | int):
            yield f"{name}: {message}; found {_NOT_TO_BE_QUOTED.sub('<redacted>', str(fault['input']))[:100]!r}"
        else:
            yield f"{name}: {message}"


def _profiles(settings: Settings, unusable: frozenset[str], faults: list[str]) -> Iterator[ProfileSpec]:
    """Yield the profiles, each with the defaults that it leaves unsaid. Adds to `faults`."""
    defaults = settings.model_dump(include=set(ProfileKeys.model_fields), exclude_unset=True)
    named = settings.profiles or (NamedProfile(name="default"),)
    seen: set[str] = set()
    for profile in named:
        if profile.name in seen:
            faults.append(f"profiles: two are named {profile.name}")
        seen.add(profile.name)
        whole = NamedProfile.model_construct(**_with_defaults(profile.model_dump(exclude_unset=True), defaults))
        where = f"profile {profile.name}: " if settings.profiles else ""
        faults += (where + fault for fault in profile_faults(whole, settings, unusable))
        try:
            session_policy = _session_policy(whole)
        except ValueError as error:
            faults.append(f"{where}session_policy_file (BROKER_SESSION_POLICY_FILE): {error}")
            session_policy = None
        yield ProfileSpec(
            name=whole.name,
            role_arn=whole.role_arn or "",
            region=whole.region or "",
            token_file=whole.web_identity_token_file,
            audience=whole.audience,
            session_name=whole.role_session_name,
            duration=timedelta(seconds=whole.duration_seconds),
            session_policy=session_policy,
            policy_arns=whole.policy_arns,
            required=whole.required,
            chain=_chain(whole),
        )


def _with_defaults(said: dict[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a profile says, with the defaults for what it leaves unsaid."""
    unheard: set[str] = set()
    if {"session_policy", "session_policy_file"} & said.keys():  # the one replaces the other's default
        unheard |= {"session_policy", "session_policy_file"}
    if said.get("source_profile"):
        unheard |= {"role_arn", *OF_A_TOKEN}  # those are of the profiles that have a token
    whole = {**{key: value for key, value in defaults.items() if key not in unheard}, **said}
    if said.get("source_profile") and "duration_seconds" not in said:
        longest = int(chains.MAXIMUM_DURATION.total_seconds())
        whole["duration_seconds"] = min(whole.get("duration_seconds", longest), longest)
    return whole


def _chain(profile: NamedProfile) -> ChainSpec | None:
    if profile.source_profile is None:
        return None
    return ChainSpec(
        source=profile.source_profile,
        external_id=profile.external_id,
        tags=tuple(profile.tags.items()),
        transitive_tag_keys=profile.transitive_tag_keys,
        source_identity=profile.source_identity,
    )


def _session_policy(profile: NamedProfile) -> str | None:
    """Return the profile's session policy. Raises ValueError, naming the file, where it cannot be used."""
    path = profile.session_policy_file
    if path is None:
        return profile.session_policy
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123 - one way to read in this package
            return validators.policy_text(file.read(validators.MAXIMUM_POLICY_LENGTH * 4).strip())
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _token_request(environ: Mapping[str, str], faults: list[str]) -> TokenRequestSpec | None:
    """Return where tokens are asked for. Adds to `faults`."""
    try:
        host, port = validators.api_address(environ)
    except ValueError as error:
        faults.append(f"token_source (BROKER_TOKEN_SOURCE): {error}")
        return None
    return TokenRequestSpec(host=host, port=port)


def _warnings(settings: Settings, profiles: tuple[ProfileSpec, ...]) -> Iterator[str]:
    policy = RefreshPolicy()
    for profile in profiles:
        if not policy.keeps_out_of_sdk_windows(profile.duration):
            yield (
                f"profile {profile.name}: sessions of {profile.duration.total_seconds():.0f} s cannot be kept out of "
                "the refresh windows of the SDKs, which then fetch credentials at every call; set duration_seconds "
                "(BROKER_DURATION_SECONDS) to 1620 or more"
            )
    said = settings.model_fields_set.union(*(profile.model_fields_set for profile in settings.profiles))
    if settings.token_source != "file" and "web_identity_token_file" in said:  # noqa: S105 - a kind of source
        yield (
            "web_identity_token_file (AWS_WEB_IDENTITY_TOKEN_FILE) is set, and not looked at: token_source "
            "(BROKER_TOKEN_SOURCE) is token-request. If the token is there, set file; if not, take the path away"
        )


def _configuration(
    settings: Settings, profiles: tuple[ProfileSpec, ...], token_request: TokenRequestSpec | None
) -> Configuration:
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
        warnings=tuple(_warnings(settings, profiles)),
    )
