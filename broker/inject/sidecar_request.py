"""Resolve what a pod requests, from the command line's options and the pod's annotations, and check it.

An option takes precedence over the annotation of the same name. The policies in deploy/admission read the same
annotations.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from broker.core.errors import ConfigurationError
from broker.core.images import SIDECAR_IMAGE
from broker.core.model import DEFAULT_PROFILE
from broker.core.spelling import suggest
from broker.inject import sidecar, sidecar_resources
from broker.inject.sidecar import SidecarSpec
from broker.manifests.annotations import PREFIX
from broker.settings.loader import load

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broker.inject.manifests import Annotation, Workload

KEYS: Final = (
    *("role_arn", "region", "profile", "audience", "duration_seconds", "config_map"),
    *sidecar_resources.KEYS,
)
"""The fields of `SidecarSpec` that have both an option and an annotation."""
_KEY_BY_VARIABLE = {
    "AWS_ROLE_ARN": "role_arn",
    "AWS_REGION": "region",
    "BROKER_AUDIENCE": "audience",
    "BROKER_DURATION_SECONDS": "duration_seconds",
}
_NAMES = {
    "profile": (re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}"), "a profile: letters, digits and any of _.-"),
    "config_map": (re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?"), "a ConfigMap: a-z, 0-9 and any of .-"),
}
_TEXTS = {
    "role_arn": (re.compile(r"\S*"), "the ARN of a role, without spaces and line breaks"),
    "region": (re.compile(r"\S*"), "the name of a Region, without spaces and line breaks"),
    "audience": (re.compile(r"[^\n]*"), "one line"),
    "duration_seconds": (re.compile(r"[0-9]{3,5}"), "a number from 900 to 43200, in digits"),
}
"""Forms that deploy/admission requires, too. The broker's settings are not as strict for environment variables."""
_PLACEHOLDER_ROLE = "arn:aws:iam::123456789012:role/any"
"""Takes the place of the roles in a settings file, which only the cluster has."""
_PLACEHOLDER_REGION = "eu-west-1"
_PLACEHOLDER_ENDPOINT = "https://sts.example.com"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the command line requests.

    The keys of `options` are those of `KEYS`. Without `containers`, all containers of the app get the endpoint. Objects
    of `passed_over_kinds` get no sidecar unless their pods have annotations.
    """

    options: dict[str, str]
    image: str = SIDECAR_IMAGE
    containers: tuple[str, ...] = ()
    sets_group: bool = True
    passed_over_kinds: tuple[str, ...] = ()


def format_annotation(key: str) -> str:
    """Return the annotation for one of `KEYS`."""
    return PREFIX + key.replace("_", "-")


def resolve_spec(workload: Workload, request: Request) -> SidecarSpec | None:
    """Return the sidecar that this pod is to get, or None if neither options nor annotations request one."""
    annotations = {key: workload.annotations.get(format_annotation(key)) for key in KEYS}
    values = {key: str(each.value) for key, each in annotations.items() if each and each.value} | request.options
    if not values.get("role_arn") and not values.get("config_map"):
        return None
    return SidecarSpec(
        **{key: values.get(key, "") for key in KEYS},
        image=request.image,
        sets_group=request.sets_group,
        has_claim_templates=workload.kind == "StatefulSet",
    )


def find_annotation_faults(workload: Workload) -> Iterator[tuple[int, str]]:
    """Yield the annotations that cannot be used: the line of each, from 1, and what to change."""
    known = [format_annotation(key) for key in KEYS]
    for name, annotation in workload.outer_annotations.items():
        if name.startswith(PREFIX):
            found = f"annotation {name} is in the workload's own metadata, which its pods do not inherit"
            yield annotation.line, f"{found}. Move it to the metadata of the pod template"
    for name, annotation in workload.annotations.items():
        if not name.startswith(PREFIX):
            continue
        if name not in known:
            yield annotation.line, f"unknown annotation {name}{_suggest_annotation(name, known)}"
        elif not isinstance(annotation.value, str):
            yield annotation.line, f"annotation {name} is not a string. Write the value in quotes"
        elif not annotation.value:
            yield annotation.line, f"annotation {name} is empty. Write a value, or remove the annotation"


def _suggest_annotation(name: str, known: list[str]) -> str:
    # The prefix that all of them share makes any two similar, so that similarity is judged without it.
    if suggest(name.removeprefix(PREFIX), (each.removeprefix(PREFIX) for each in known)):
        return suggest(name, known)
    return f". Known annotations: {', '.join(known)}"


def has_annotations(annotations: dict[str, Annotation]) -> bool:
    """Return whether any annotation has our prefix."""
    return any(name.startswith(PREFIX) for name in annotations)


def find_setting_faults(spec: SidecarSpec) -> Iterator[str]:
    """Yield the faults that the broker would find in these settings, with option and annotation as their names."""
    if not spec.region:
        yield f"the Region is missing. Set {_format_setting('region')}"
    if spec.profile not in ("", DEFAULT_PROFILE) and not spec.config_map:
        yield (
            f"{_format_setting('profile')} is {spec.profile!r:.70}, but the pod has no file with profiles. "
            f"Set {_format_setting('config_map')} too"
        )
    for key, (form, description) in _NAMES.items():
        text = getattr(spec, key)
        if text and not form.fullmatch(text):
            yield f"{_format_setting(key)} is {text!r:.70}; expected the name of {description}"
    names = {key: _format_setting(key) for key in sidecar_resources.KEYS}
    yield from sidecar_resources.find_resource_faults(spec.resources, names)
    yield from _find_broker_faults(spec)


def _find_broker_faults(spec: SidecarSpec) -> Iterator[str]:
    """Yield the faults of the values that the broker gets in its environment."""
    variables = {"AWS_ROLE_ARN": _PLACEHOLDER_ROLE, "AWS_REGION": _PLACEHOLDER_REGION}
    rejected = set()
    for variable, text in sidecar.build_settings(spec).items():
        key = _KEY_BY_VARIABLE[variable]
        form, description = _TEXTS[key]
        if form.fullmatch(text):
            variables[variable] = text
        else:
            rejected.add(key)
            yield f"{_format_setting(key)} is {text!r:.70}; expected {description}"
    # A settings file may name an endpoint, and any role can belong to that. A placeholder has no partition to compare.
    if spec.config_map or not spec.region or {"role_arn", "region"} & rejected:
        variables["AWS_ENDPOINT_URL_STS"] = _PLACEHOLDER_ENDPOINT
    try:
        load(variables)
    except ConfigurationError as error:
        yield from map(_rename_settings, error.faults)


def _rename_settings(fault: str) -> str:
    """Return a fault of the broker's settings with the names that `inject` has for them."""
    for variable, key in _KEY_BY_VARIABLE.items():
        names = rf"\b{key} \({variable}\)|\b{variable}\b|\b{key}\b(?=[: ])"
        fault = re.sub(names, _format_setting(key), fault)
    return fault


def _format_setting(key: str) -> str:
    return f"--{key.replace('_', '-')} (annotation {format_annotation(key)})"


def find_container_faults(workload: Workload, request: Request) -> Iterator[str]:
    """Yield the `--container` options that name no container of this pod."""
    spec = workload.spec
    containers = (*spec["containers"], *(spec.get("initContainers") or ()))
    names = [str(each.get("name")) for each in containers if each.get("name") != sidecar.NAME]
    for name in request.containers:
        if name not in names:
            hint = suggest(name, names) or f". Its containers: {', '.join(names)}"
            yield f"--container {name}: the pod has no such container{hint}"
