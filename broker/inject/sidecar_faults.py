"""Find the reasons why a pod cannot take the sidecar, each with the change to make, and what its owner should know.

The validating policy in deploy/admission refuses the same pods, in CEL. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from broker.core.model import DEFAULT_PUBLISH_DIRECTORY
from broker.core.rival_variables import RELATIVE_URI
from broker.inject.sidecar import (
    CREDENTIALS_VOLUME,
    ENDPOINT,
    ENDPOINT_PORT,
    ENDPOINT_TOKEN_VARIABLE,
    ENDPOINT_VARIABLE,
    HEALTH_PORT,
    NAME,
    PORT_NAME,
    TOKEN_VOLUME,
    build_app_variables,
    build_volumes,
    is_broker,
    is_compatible_volume,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broker.inject.sidecar import SidecarSpec, Tree

_ACCESS_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_FILES = ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE")


def find_faults(pod: Tree, spec: SidecarSpec, chosen: frozenset[str]) -> Iterator[str]:
    """Yield the reasons why this pod cannot take the sidecar. `chosen` containers are to use the endpoint."""
    init_containers = list(pod.get("initContainers") or ())
    if any(is_broker(each) for each in pod["containers"]):  # its once container would be reported for the token's mount
        yield (
            f"{NAME} runs as a regular container, the form for clusters before Kubernetes 1.29; only native sidecars "
            f"are supported here. Remove {NAME}, and the init container that runs once, or leave out this workload"
        )
        return
    yield from _find_name_faults([*init_containers, *pod["containers"]], init_containers)
    if (pod.get("securityContext") or {}).get("runAsUser") == 0:  # the kubelet does not start a runAsNonRoot container
        yield (
            "the pod's securityContext has runAsUser: 0, but the sidecar cannot run as root. "
            "Move runAsUser to the securityContext of the container that needs it"
        )
    yield from _find_volume_faults(pod, spec, is_injected=any(is_broker(each) for each in init_containers))
    for each in (*init_containers, *pod["containers"]):
        if is_broker(each):
            continue
        yield from _find_port_faults(each)
        yield from _find_token_mount_faults(each)
        if each.get("name") in chosen:
            yield from _find_mount_faults(each)
            yield from _find_variable_faults(each, spec)


def find_warnings(pod: Tree) -> Iterator[str]:
    """Yield what works but may be unexpected."""
    if pod.get("hostNetwork"):
        yield (
            f"hostNetwork: ports {HEALTH_PORT} and {ENDPOINT_PORT} are opened on the node. A node can run only one "
            "such pod, and every process on the node can connect to the endpoint, which asks for its bearer token"
        )
    if pod.get("shareProcessNamespace"):
        yield (
            "shareProcessNamespace: a container that runs as the broker's user can read the broker's token through "
            "/proc while the broker starts, and a privileged container at any time"
        )


def _find_name_faults(containers: list[Tree], init_containers: list[Tree]) -> Iterator[str]:
    named = [each for each in containers if each.get("name") == NAME]
    if len(named) > sum(is_broker(each) for each in init_containers):
        yield f"container {NAME} is not the sidecar: it has no port named {PORT_NAME}. Rename the container"


def _find_volume_faults(pod: Tree, spec: SidecarSpec, *, is_injected: bool) -> Iterator[str]:
    types = {volume["name"]: next(iter(volume.keys() - {"name"})) for volume in build_volumes(spec)}
    for volume in pod.get("volumes") or ():
        name = volume.get("name", "")
        if name in types and types[name] not in volume:
            yield f"volume {name} is not of type {types[name]}, as the sidecar needs. Rename your volume"
        elif name in types and not is_injected and not is_compatible_volume(volume, spec):
            yield f"volume {name} differs from the one that the sidecar needs. Remove or rename it"


def _find_port_faults(container: Tree) -> Iterator[str]:
    for port in container.get("ports") or ():
        number = port.get("containerPort")
        if number in (HEALTH_PORT, ENDPOINT_PORT):
            yield f"container {container.get('name')} uses port {number}, which the broker needs. Use another port"


def _find_token_mount_faults(container: Tree) -> Iterator[str]:
    if any(mount.get("name") == TOKEN_VOLUME for mount in container.get("volumeMounts") or ()):
        where = f"container {container.get('name')}"
        yield f"{where} mounts {TOKEN_VOLUME}, which only the broker may read. Remove that mount"


def _find_mount_faults(container: Tree) -> Iterator[str]:
    where = f"container {container.get('name')}"
    for mount in container.get("volumeMounts") or ():
        path, name = str(mount.get("mountPath")).rstrip("/"), mount.get("name")
        if name == CREDENTIALS_VOLUME and (mount.get("subPath") or mount.get("subPathExpr")):
            yield f"{where} mounts {name} by subPath, and a subPath mount never sees a refresh. Mount the whole volume"
        elif name == CREDENTIALS_VOLUME and path != DEFAULT_PUBLISH_DIRECTORY:
            yield f"{where} mounts {name} at {path}. Mount it at {DEFAULT_PUBLISH_DIRECTORY}"
        elif name not in (CREDENTIALS_VOLUME, TOKEN_VOLUME) and path == DEFAULT_PUBLISH_DIRECTORY:
            yield f"{where} mounts {name} at {path}, where the broker publishes. Mount it at another path"


def _find_variable_faults(container: Tree, spec: SidecarSpec) -> Iterator[str]:
    where = f"container {container.get('name')}"
    given = {str(variable.get("name")): _read_variable(variable) for variable in container.get("env") or ()}
    for name in (*_ACCESS_KEYS, RELATIVE_URI, "AWS_WEB_IDENTITY_TOKEN_FILE"):
        if given.get(name):
            yield f'{where} sets {name}, which SDKs prefer to the endpoint. Remove it, or set it to ""'
    profiles = [name for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE") if given.get(name)]
    if profiles and not any(given.get(name, "").startswith(f"{DEFAULT_PUBLISH_DIRECTORY}/") for name in _FILES):
        yield (
            f"{where} sets {profiles[0]}, so that SDKs read credentials from files instead of the endpoint. "
            f"Remove it, or set AWS_CONFIG_FILE to {DEFAULT_PUBLISH_DIRECTORY}/config"
        )
    expected = {variable["name"]: variable["value"] for variable in build_app_variables(spec)}
    uri = given.get(ENDPOINT_VARIABLE, expected[ENDPOINT_VARIABLE])
    if uri != expected[ENDPOINT_VARIABLE] and (spec.profile or not uri.startswith(f"{ENDPOINT}/")):
        yield f"{where} sets {ENDPOINT_VARIABLE} to {uri}; expected {expected[ENDPOINT_VARIABLE]}. Remove it"
    token_file = expected[ENDPOINT_TOKEN_VARIABLE]
    found = given.get(ENDPOINT_TOKEN_VARIABLE, token_file)
    if found != token_file:
        yield f"{where} sets {ENDPOINT_TOKEN_VARIABLE} to {found}; expected {token_file}. Remove it"


def _read_variable(variable: dict[str, Any]) -> str:
    """Return the value of a variable, or a placeholder that is not empty if the value comes from a valueFrom source."""
    return "a valueFrom source" if variable.get("valueFrom") else str(variable.get("value") or "")
