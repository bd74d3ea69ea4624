"""Why a pod cannot take the sidecar as it is, each fault with what to change; and what its owner should know.

The policy in deploy/admission refuses the same pods, in CEL. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from broker.core.model import DEFAULT_PUBLISH_DIRECTORY
from broker.core.rival_variables import RELATIVE_URI
from broker.inject.sidecar import (
    ENDPOINT,
    ENDPOINT_PORT,
    ENDPOINT_TOKEN_VARIABLE,
    ENDPOINT_VARIABLE,
    HEALTH_PORT,
    NAME,
    PUBLISHED,
    TOKEN,
    app_variables,
    fits,
    is_ours,
    volumes,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broker.inject.sidecar import Tree, Wanted

_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_FILES = ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE")


def faults(spec: Tree, wanted: Wanted, chosen: frozenset[str]) -> Iterator[str]:
    """Yield what stands in the way of the sidecar in this pod."""
    yield from _container_faults(spec)
    if (spec.get("securityContext") or {}).get("runAsUser") == 0:  # the kubelet would not start it: it is runAsNonRoot
        yield "its securityContext has runAsUser: 0, and the sidecar never runs as root: write it into your container's"
    yield from _volume_faults(spec, wanted)
    for each in (*_init_containers(spec), *spec["containers"]):
        if not is_ours(each):
            yield from _port_faults(each)
        if each.get("name") in chosen:
            yield from _mount_faults(each)
            yield from _variable_faults(each, wanted)


def warnings(spec: Tree) -> Iterator[str]:
    """Yield what works, and may surprise."""
    if spec.get("hostNetwork"):
        yield (
            f"hostNetwork: ports {HEALTH_PORT} and {ENDPOINT_PORT} are the node's, so that each node runs one such "
            "pod, and every process on the node reaches the endpoint, which asks for its token"
        )
    if spec.get("shareProcessNamespace"):
        yield (
            "shareProcessNamespace: a container that runs as the broker's user, or as root, reads the broker's token "
            "through /proc"
        )


def _init_containers(spec: Tree) -> list[Tree]:
    return list(spec.get("initContainers") or ())


def _container_faults(spec: Tree) -> Iterator[str]:
    ours = [each for each in _init_containers(spec) if is_ours(each)]
    named = [each for each in (*_init_containers(spec), *spec["containers"]) if each.get("name") == NAME]
    if len(named) > len(ours):
        yield f"it has a container named {NAME} that is not the sidecar: give it another name"


def _volume_faults(spec: Tree, wanted: Wanted) -> Iterator[str]:
    needed = {volume["name"]: next(iter(volume.keys() - {"name"})) for volume in volumes(wanted)}
    is_injected = any(is_ours(each) for each in _init_containers(spec))
    for volume in spec.get("volumes") or ():
        name = volume.get("name", "")
        if name in needed and needed[name] not in volume:
            yield f"its volume {name} is no {needed[name]}, which the sidecar's is: give yours another name"
        elif name in needed and not is_injected and not fits(volume, wanted):
            yield f"its volume {name} is another than the sidecar's would be: remove it, or give it another name"


def _port_faults(each: Tree) -> Iterator[str]:
    for port in each.get("ports") or ():
        number = port.get("containerPort")
        if number in (HEALTH_PORT, ENDPOINT_PORT):
            yield f"container {each.get('name')} has port {number}, which is the broker's: choose another"


def _mount_faults(each: Tree) -> Iterator[str]:
    where = f"container {each.get('name')}"
    for mount in each.get("volumeMounts") or ():
        at, name = str(mount.get("mountPath")).rstrip("/"), mount.get("name")
        if name == TOKEN:
            yield f"{where} mounts {TOKEN}, the broker's token: remove that mount"
        elif name == PUBLISHED and (mount.get("subPath") or mount.get("subPathExpr")):
            yield f"{where} mounts {PUBLISHED} by subPath, which never sees a refresh: mount the whole volume"
        elif name == PUBLISHED and at != DEFAULT_PUBLISH_DIRECTORY:
            yield f"{where} mounts {PUBLISHED} at {at}: its place is {DEFAULT_PUBLISH_DIRECTORY}"
        elif name != PUBLISHED and at == DEFAULT_PUBLISH_DIRECTORY:
            yield f"{where} mounts {name} at {at}, which is the broker's place: move it"


def _variable_faults(each: Tree, wanted: Wanted) -> Iterator[str]:
    where = f"container {each.get('name')}"
    given = {str(variable.get("name")): _value(variable) for variable in each.get("env") or ()}
    for name in (*_KEYS, RELATIVE_URI, "AWS_WEB_IDENTITY_TOKEN_FILE"):
        if given.get(name):
            yield f'{where} has {name}, which SDKs take before the endpoint: remove it, or set it to ""'
    named = [name for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE") if given.get(name)]
    if named and not any(given.get(name, "").startswith(f"{DEFAULT_PUBLISH_DIRECTORY}/") for name in _FILES):
        yield (
            f"{where} has {named[0]}, which SDKs look for in files, before the endpoint: remove it, "
            f"or let AWS_CONFIG_FILE name {DEFAULT_PUBLISH_DIRECTORY}/config"
        )
    ours = {variable["name"]: variable["value"] for variable in app_variables(wanted)}
    uri = given.get(ENDPOINT_VARIABLE, ours[ENDPOINT_VARIABLE])
    if uri != ours[ENDPOINT_VARIABLE] and (wanted.profile or not uri.startswith(f"{ENDPOINT}/")):
        yield f"{where} has {ENDPOINT_VARIABLE} {uri}, which is not {ours[ENDPOINT_VARIABLE]}: remove it"
    file = given.get(ENDPOINT_TOKEN_VARIABLE, ours[ENDPOINT_TOKEN_VARIABLE])
    if file != ours[ENDPOINT_TOKEN_VARIABLE]:
        yield f"{where} has {ENDPOINT_TOKEN_VARIABLE} {file}, which is not {ours[ENDPOINT_TOKEN_VARIABLE]}: remove it"


def _value(variable: dict[str, Any]) -> str:
    """Return a variable's value; where it comes from elsewhere, something that is not nothing."""
    return "from elsewhere" if variable.get("valueFrom") else str(variable.get("value") or "")
