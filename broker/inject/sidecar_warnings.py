"""Find what works but may surprise the owner of a pod that takes the sidecar, each with its place and what to change.

A warning is about something that the manifest does not decide, such as the content of a file or a Secret. Pure.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from broker.core.model import DEFAULT_PUBLISH_DIRECTORY
from broker.core.rival_variables import FILE_VARIABLES, HIDING_VARIABLES, PROFILE_VARIABLES
from broker.inject.finding import Finding, iterate_containers, iterate_entries
from broker.inject.sidecar import (
    CREDENTIALS_VOLUME,
    ENDPOINT_PORT,
    GROUP,
    HEALTH_PORT,
    REGION_VARIABLES,
    add_sidecar,
    adds_group,
    find_persistent_volumes,
    is_broker,
)
from broker.inject.sidecar_faults import is_optional, read_variable
from broker.inject.sidecar_resources import is_guaranteed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broker.inject.finding import Path
    from broker.inject.sidecar import SidecarSpec, Tree

_REGION_READERS: Final = {
    "AWS_REGION": "the SDKs for Go, Java, JavaScript and Rust",
    "AWS_DEFAULT_REGION": "boto3 and the AWS CLI",
}
_AWS_DIRECTORY: Final = re.compile(r".*/\.aws(/(config|credentials))?")
_GROUP_BITS: Final = 0o070
_NO_GROUP: Final = (
    f"Or use --no-fs-group, and let the pod have supplementalGroups: [{GROUP}] in its securityContext, so that the app "
    "can read what the broker publishes"
)


def find_warnings(pod: Tree, spec: SidecarSpec, chosen: frozenset[str]) -> Iterator[Finding]:
    """Yield what works but may be unexpected. `chosen` containers are to use the endpoint."""
    yield from _find_sharing_warnings(pod)
    if adds_group(pod, spec):
        yield from _find_group_warnings(pod, spec)
    if "resources" not in pod and is_guaranteed(pod) and not is_guaranteed(add_sidecar(pod, spec, chosen)):
        message = (
            "all containers have limits equal to their requests (QoS class Guaranteed), but the sidecar has not, and "
            "the pod becomes Burstable. Set --cpu-request and --cpu-limit to the same value, such as 100m, and "
            "--memory-request to 64Mi (annotations sts-broker/cpu-request, …)"
        )
        yield Finding(message=message, path=("containers", 0, "resources"))
    for path, container in iterate_containers(pod):
        if is_broker(container):
            continue
        if container.get("name") in chosen:
            yield from _find_file_warnings(container, path)
            yield from _find_variable_warnings(container, path)
            yield from _find_region_warnings(container, path)
        elif path[0] == "initContainers":
            yield from _find_init_warnings(container, path)


def _find_sharing_warnings(pod: Tree) -> Iterator[Finding]:
    if pod.get("hostNetwork"):
        message = (
            f"hostNetwork: ports {HEALTH_PORT} and {ENDPOINT_PORT} are opened on the node. A node can run only one "
            "such pod, and every process on the node can connect to the endpoint, which asks for its bearer token"
        )
        yield Finding(message=message, path=("hostNetwork",))
    if pod.get("shareProcessNamespace"):
        message = (
            "shareProcessNamespace: a container that runs as the broker's user can read the broker's token through "
            "/proc while the broker starts, and a privileged container at any time"
        )
        yield Finding(message=message, path=("shareProcessNamespace",))


def _find_group_warnings(pod: Tree, spec: SidecarSpec) -> Iterator[Finding]:
    """Yield the app's volumes whose group and modes the kubelet changes because of the new fsGroup.

    Source: https://kubernetes.io/docs/tasks/configure-pod-container/security-context/
    """
    claims = find_persistent_volumes(pod, spec)
    if claims:
        policy = (pod.get("securityContext") or {}).get("fsGroupChangePolicy")
        when = "at each start. Set fsGroupChangePolicy: OnRootMismatch" if policy == "Always" else "at the first start"
        message = (
            f"fsGroup: {GROUP} is new for this pod: the kubelet gives all files of {', '.join(claims)} that group and "
            f"makes them readable and writable for it, {when}. Databases such as PostgreSQL refuse such directories. "
            f"If the files have another group, set fsGroup to that group. {_NO_GROUP}"
        )
        paths = [path for path, each in iterate_entries(pod, (), "volumes") if each.get("name") in claims]
        yield Finding(message=message, path=paths[0] if paths else ("containers",))
    for path, volume in iterate_entries(pod, (), "volumes"):
        for place, mode in _find_modes(volume, path):
            if not mode & _GROUP_BITS:
                message = (
                    f"fsGroup: {GROUP} is new for this pod: it lets the group read the files of volume "
                    f"{volume.get('name')}, so mode {mode:04o} becomes {mode | 0o040:04o}. Programs such as ssh refuse "
                    f"private keys with that mode. If the app needs {mode:04o}: {_NO_GROUP[3:]}"
                )
                yield Finding(message=message, path=place)


def _find_modes(part: Any, path: Path) -> Iterator[tuple[Path, int]]:  # noqa: ANN401 - YAML values
    """Yield the modes in the sources of a volume, at any depth."""
    items = part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ()
    for key, value in items:
        mode = read_mode(value) if key in ("defaultMode", "mode") else None
        if mode is not None:
            yield (*path, key), mode
        else:
            yield from _find_modes(value, (*path, key))


def read_mode(value: Any) -> int | None:  # noqa: ANN401 - a YAML value
    """Return a file mode, which YAML can write as 0400, 0o400 or 256, or None if it is not one."""
    if isinstance(value, str) and re.fullmatch("0o[0-7]{1,4}", value):
        return int(value, 0)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _find_file_warnings(container: Tree, path: Path) -> Iterator[Finding]:
    where = f"container {container.get('name')}"
    rival = "hides the endpoint from SDKs if it configures credentials"
    for place, variable in iterate_entries(container, path, "env"):
        name, value = variable.get("name"), read_variable(variable)
        is_harmless = not value or value == "/dev/null" or value.startswith(f"{DEFAULT_PUBLISH_DIRECTORY}/")
        if name in FILE_VARIABLES and not is_harmless:
            message = f"{where} sets {name} to {value}, which {rival}. Check the file, or remove the variable"
            yield Finding(message=message, path=place)
    for place, mount in iterate_entries(container, path, "volumeMounts"):
        at = str(mount.get("mountPath"))
        if _AWS_DIRECTORY.fullmatch(at.rstrip("/")) and mount.get("name") != CREDENTIALS_VOLUME:
            message = f"{where} mounts {mount.get('name')} at {at}, which {rival}. Check its files, or remove the mount"
            yield Finding(message=message, path=place)


def _find_variable_warnings(container: Tree, path: Path) -> Iterator[Finding]:
    where = f"container {container.get('name')}"
    for place, variable in iterate_entries(container, path, "env"):
        name = variable.get("name")
        if name in (*HIDING_VARIABLES, *PROFILE_VARIABLES) and is_optional(variable):
            message = (
                f"{where} takes {name} from an optional source. If it exists, SDKs use it instead of the endpoint. "
                "Delete that source in the cluster, or remove the variable"
            )
            yield Finding(message=message, path=place)
    for place, source in iterate_entries(container, path, "envFrom"):
        kind, name = _read_source(source)
        if name:
            message = (
                f"{where} takes variables from {kind} {name}, which inject cannot see. If it has access keys or other "
                f"variables that hide the endpoint, such as {HIDING_VARIABLES[0]} or {PROFILE_VARIABLES[0]}, remove "
                "them there"
            )
            yield Finding(message=message, path=place)


def _read_source(source: Any) -> tuple[str, str]:  # noqa: ANN401 - a YAML value
    """Return the kind and the name of an `envFrom` source whose variables keep their names."""
    for key, kind in (("secretRef", "Secret"), ("configMapRef", "ConfigMap")):
        reference = source.get(key) if isinstance(source, dict) and not source.get("prefix") else None
        if isinstance(reference, dict):
            return kind, str(reference.get("name"))
    return "", ""


def _find_region_warnings(container: Tree, path: Path) -> Iterator[Finding]:
    given = {str(each.get("name")): place for place, each in iterate_entries(container, path, "env")}
    present = [name for name in REGION_VARIABLES if name in given]
    if len(present) != 1:
        return
    (missing,) = set(REGION_VARIABLES) - set(present)
    message = (
        f"container {container.get('name')} has its own Region in {present[0]}, which inject keeps. {missing}, which "
        f"{_REGION_READERS[missing]} read, stays absent. Set both to the same Region"
    )
    yield Finding(message=message, path=given[present[0]])


def _find_init_warnings(container: Tree, path: Path) -> Iterator[Finding]:
    """Yield an init container that seems to use AWS. It gets the endpoint only on request."""
    names = [str(each.get("name")) for each in container.get("env") or ()]
    has_mount = any(each.get("name") == CREDENTIALS_VOLUME for each in container.get("volumeMounts") or ())
    uses_aws = "aws" in str(container.get("image")) or any(name.startswith("AWS_") for name in names)
    if uses_aws and not has_mount:
        message = (
            f"init container {container.get('name')} seems to use AWS, but init containers get the endpoint only if "
            "--container names them. Name it and the other containers that need credentials"
        )
        yield Finding(message=message, path=path)
