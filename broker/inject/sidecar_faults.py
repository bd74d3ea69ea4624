"""Find the reasons why a pod cannot take the sidecar, each with its place and the change to make.

The validating policy in deploy/admission refuses the same pods, in CEL. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from broker.core.model import DEFAULT_PUBLISH_DIRECTORY
from broker.core.rival_variables import HIDING_VARIABLES, PROFILE_VARIABLES
from broker.inject.finding import Finding, iterate_containers, iterate_entries
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

    from broker.inject.finding import Path
    from broker.inject.sidecar import SidecarSpec, Tree

MAXIMUM_CONTAINERS: Final = 32
"""The policies in deploy/admission cannot iterate over more, and `inject` accepts the same pods."""
_OS_LABELS: Final = ("kubernetes.io/os", "beta.kubernetes.io/os")
_FILES = ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE")


def find_faults(pod: Tree, spec: SidecarSpec, chosen: frozenset[str]) -> Iterator[Finding]:
    """Yield the reasons why this pod cannot take the sidecar. `chosen` containers are to use the endpoint."""
    windows = find_windows_path(pod)
    if windows:  # the other faults would not matter: nothing makes it fit
        yield Finding(message="the pod is for Windows, and there is no image for Windows. Leave it out", path=windows)
        return
    regular = next((path for path, each in iterate_containers(pod) if path[0] == "containers" and is_broker(each)), ())
    if regular:  # its once container would be reported for the token's mount
        message = (
            f"{NAME} runs as a regular container, the form for clusters before Kubernetes 1.29; only native sidecars "
            f"are supported here. Remove {NAME}, and the init container that runs once, or leave out this workload"
        )
        yield Finding(message=message, path=regular)
        return
    yield from _find_pod_faults(pod)
    yield from _find_volume_faults(pod, spec)
    for path, container in iterate_containers(pod):
        if is_broker(container):
            continue
        yield from _find_port_faults(container, path)
        yield from _find_broker_mount_faults(container, path)
        if container.get("name") in chosen:
            yield from _find_mount_faults(container, path)
            yield from _find_variable_faults(container, path, spec)


def find_windows_path(pod: Tree) -> Path:
    """Return the path of the field that makes the pod one for Windows nodes, or () if it is not one."""
    system = pod.get("os")
    if isinstance(system, dict):
        return ("os", "name") if system.get("name") == "windows" else ()
    selector = pod.get("nodeSelector")
    for label in _OS_LABELS:
        if isinstance(selector, dict) and selector.get(label) == "windows":
            return "nodeSelector", label
    affinity = ("affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution")
    terms = _read_path(pod, (*affinity, "nodeSelectorTerms"))
    if isinstance(terms, list) and terms and all(_requires_windows(term) for term in terms):
        return affinity
    parts: list[tuple[Path, Tree]] = [((), pod), *iterate_containers(pod)]
    for path, part in parts:
        if _read_path(part, ("securityContext", "windowsOptions")) is not None:
            return (*path, "securityContext", "windowsOptions")
    return ()


def _requires_windows(term: Any) -> bool:  # noqa: ANN401 - a YAML value
    expressions = _read_path(term, ("matchExpressions",))
    return any(
        _read_path(each, ("key",)) in _OS_LABELS
        and _read_path(each, ("operator",)) == "In"
        and _read_path(each, ("values",)) == ["windows"]
        for each in (expressions if isinstance(expressions, list) else ())
    )


def _read_path(value: Any, path: tuple[str, ...]) -> Any:  # noqa: ANN401 - YAML values
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _find_pod_faults(pod: Tree) -> Iterator[Finding]:
    for path, container in iterate_containers(pod):
        if container.get("name") == NAME and not is_broker(container):
            message = f"container {NAME} is not the sidecar: it has no port named {PORT_NAME}. Rename the container"
            yield Finding(message=message, path=path)
    if len(pod["containers"]) > MAXIMUM_CONTAINERS:
        message = f"the pod has more than {MAXIMUM_CONTAINERS} containers. Move some to a pod of their own"
        yield Finding(message=message, path=("containers",))
    if (pod.get("securityContext") or {}).get("runAsUser") == 0:  # the kubelet does not start a runAsNonRoot container
        message = (
            "the pod's securityContext has runAsUser: 0, but the sidecar cannot run as root. "
            "Move runAsUser to the securityContext of the container that needs it"
        )
        yield Finding(message=message, path=("securityContext", "runAsUser"))


def _find_volume_faults(pod: Tree, spec: SidecarSpec) -> Iterator[Finding]:
    is_injected = any(is_broker(each) for each in pod.get("initContainers") or ())
    types = {volume["name"]: next(iter(volume.keys() - {"name"})) for volume in build_volumes(spec)}
    for path, volume in iterate_entries(pod, (), "volumes"):
        name = volume.get("name", "")
        if name in types and types[name] not in volume:
            message = f"volume {name} is not of type {types[name]}, as the sidecar needs. Rename your volume"
            yield Finding(message=message, path=path)
        elif name in types and not is_injected and not is_compatible_volume(volume, spec):
            message = f"volume {name} differs from the one that the sidecar needs. Remove or rename it"
            yield Finding(message=message, path=path)


def _find_port_faults(container: Tree, path: Path) -> Iterator[Finding]:
    for place, port in iterate_entries(container, path, "ports"):
        number = port.get("containerPort")
        if number in (HEALTH_PORT, ENDPOINT_PORT):
            where = f"container {container.get('name')}"
            message = f"{where} uses port {number}, which the broker needs. Use another port"
            yield Finding(message=message, path=place)


def _find_broker_mount_faults(container: Tree, path: Path) -> Iterator[Finding]:
    """Yield the mounts of the broker's own volumes that would expose the token, or stop or disturb publication."""
    where = f"container {container.get('name')}"
    for place, mount in iterate_entries(container, path, "volumeMounts"):
        name, at = mount.get("name"), str(mount.get("mountPath")).rstrip("/")
        message = ""
        if name == TOKEN_VOLUME:
            message = f"{where} mounts {name}, which only the broker may read. Remove that mount"
        elif name != CREDENTIALS_VOLUME:
            continue
        elif mount.get("subPath") or mount.get("subPathExpr"):
            message = (
                f"{where} mounts {name} by subPath, and a subPath mount never sees a refresh. Mount the whole volume"
            )
        elif at != DEFAULT_PUBLISH_DIRECTORY:
            message = f"{where} mounts {name} at {at}. Mount it at {DEFAULT_PUBLISH_DIRECTORY}"
        elif mount.get("readOnly") is not True:
            message = f"{where} mounts {name} without readOnly: true, but only the broker may write there. Add it"
        if message:
            yield Finding(message=message, path=place)


def _find_mount_faults(container: Tree, path: Path) -> Iterator[Finding]:
    for place, mount in iterate_entries(container, path, "volumeMounts"):
        name, at = mount.get("name"), str(mount.get("mountPath")).rstrip("/")
        if name not in (CREDENTIALS_VOLUME, TOKEN_VOLUME) and at == DEFAULT_PUBLISH_DIRECTORY:
            where = f"container {container.get('name')}"
            message = f"{where} mounts {name} at {at}, where the broker publishes. Mount it at another path"
            yield Finding(message=message, path=place)


def _find_variable_faults(container: Tree, path: Path, spec: SidecarSpec) -> Iterator[Finding]:
    where = f"container {container.get('name')}"
    expected = {variable["name"]: variable["value"] for variable in build_app_variables(spec)}
    given = {str(variable.get("name")): read_variable(variable) for variable in container.get("env") or ()}
    has_files = any(given.get(name, "").startswith(f"{DEFAULT_PUBLISH_DIRECTORY}/") for name in _FILES)
    profiles = [name for name in PROFILE_VARIABLES if given.get(name)]
    if not spec.profile and given.get(ENDPOINT_VARIABLE, "").startswith(f"{ENDPOINT}/"):  # a profile of its choice
        expected[ENDPOINT_VARIABLE] = given[ENDPOINT_VARIABLE]
    for place, variable in iterate_entries(container, path, "env"):
        name, message = str(variable.get("name")), ""
        found = given[name]
        if name in HIDING_VARIABLES and found and not is_optional(variable):
            message = f'{where} sets {name}, which SDKs prefer to the endpoint. Remove it, or set it to ""'
        elif name in profiles and not has_files and not is_optional(variable):
            message = (
                f"{where} sets {name}, so that SDKs read credentials from files instead of the endpoint. "
                f"Remove it, or set AWS_CONFIG_FILE to {DEFAULT_PUBLISH_DIRECTORY}/config"
            )
        elif name in (ENDPOINT_VARIABLE, ENDPOINT_TOKEN_VARIABLE) and found != expected[name]:
            message = f"{where} sets {name} to {found}; expected {expected[name]}. Remove it"
        if message:
            yield Finding(message=message, path=place)


def read_variable(variable: Tree) -> str:
    """Return the value of a variable, or a placeholder that is not empty if the value comes from a valueFrom source."""
    return "a valueFrom source" if variable.get("valueFrom") else str(variable.get("value") or "")


def is_optional(variable: Tree) -> bool:
    """Return whether a variable is absent if its Secret or ConfigMap is."""
    sources = ("secretKeyRef", "configMapKeyRef", "fileKeyRef")
    return any(_read_path(variable, ("valueFrom", source, "optional")) is True for source in sources)
