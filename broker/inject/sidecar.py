"""The single definition of the sidecar: what is added to a pod so that its app gets credentials.

`sts-broker inject` writes it. deploy/component and deploy/admission have their own copies, in kustomize's and CEL's
terms, and tests compare them with this module. Fields that the pod already has are kept; an older sidecar is replaced.

Pure: works on mappings and lists. Does not know YAML text or where pods come from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from broker.core.images import SIDECAR_IMAGE
from broker.core.model import (
    DEFAULT_AUDIENCE,
    DEFAULT_PROFILE,
    DEFAULT_PUBLISH_DIRECTORY,
    DEFAULT_TOKEN_FILE,
    ENDPOINT_TOKEN_FILE,
    SERVICE_ACCOUNT_DIRECTORY,
)
from broker.inject import sidecar_resources

Tree = dict[str, Any]

NAME: Final = "sts-broker"
"""The container."""
HEALTH_PORT: Final = 9910
ENDPOINT_PORT: Final = 9911
PORT_NAME: Final = "sts-broker-http"
"""Identifies a container named `sts-broker` as the broker. The image does not: each registry names it differently."""
CREDENTIALS_VOLUME: Final = "sts-broker-credentials"
TOKEN_VOLUME: Final = "sts-broker-token"  # noqa: S105 - a name
NO_API_TOKEN_VOLUME: Final = "sts-broker-no-api-token"  # noqa: S105 - a name
"""An empty volume at the path of the Kubernetes API token. Kubernetes mounts no token where a container has a mount.

A pod can only have that token in all its containers, or in none. Source: kubernetes
plugin/pkg/admission/serviceaccount/admission.go (mountServiceAccountToken).
"""
PROFILES_VOLUME: Final = "sts-broker-profiles"
CONFIG_FILE: Final = "broker.yaml"
"""The ConfigMap key that holds the settings file."""
_CONFIG_DIRECTORY = "/etc/sts-federation-broker"
_TOKEN_DIRECTORY, _, _TOKEN_NAME = DEFAULT_TOKEN_FILE.rpartition("/")
_TOKEN_LIFETIME_SECONDS = 3600
ENDPOINT: Final = f"http://127.0.0.1:{ENDPOINT_PORT}/v1/credentials"
ENDPOINT_VARIABLE: Final = "AWS_CONTAINER_CREDENTIALS_FULL_URI"
ENDPOINT_TOKEN_VARIABLE: Final = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"  # noqa: S105 - a name
REGION_VARIABLES: Final = ("AWS_REGION", "AWS_DEFAULT_REGION")
"""SDKs for Go, Java, JavaScript and Rust read the first one; boto3 and the AWS CLI read the second one."""
GROUP: Final = 65532
_PERSISTENT: Final = frozenset({"persistentVolumeClaim", "ephemeral", "iscsi", "fc", "rbd"})
"""Types of volumes whose content can be so large that a change of group at each start takes long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SidecarSpec:
    """What one pod requests. "" means the broker's own default."""

    role_arn: str
    region: str
    image: str = SIDECAR_IMAGE
    profile: str = ""
    audience: str = ""
    duration_seconds: str = ""
    config_map: str = ""
    cpu_request: str = ""
    cpu_limit: str = ""
    memory_request: str = ""
    memory_limit: str = ""
    sets_group: bool = True
    """False if the platform chooses the pod's group, as OpenShift does."""
    has_claim_templates: bool = False
    """Whether the workload adds persistent volumes that its pod template does not list, as a StatefulSet can."""

    @property
    def endpoint(self) -> str:
        """The URL at which the app gets the credentials of its profile."""
        return ENDPOINT if self.profile in ("", DEFAULT_PROFILE) else f"{ENDPOINT}/{self.profile}"

    @property
    def resources(self) -> dict[str, str]:
        """The requested quantities by the keys of `sidecar_resources.KEYS`."""
        return {key: getattr(self, key) for key in sidecar_resources.KEYS}


def build_settings(spec: SidecarSpec) -> dict[str, str]:
    """Return the broker's environment, except the path of a mounted settings file."""
    variables = {
        "AWS_ROLE_ARN": spec.role_arn,
        "AWS_REGION": spec.region,
        "BROKER_AUDIENCE": spec.audience,
        "BROKER_DURATION_SECONDS": spec.duration_seconds,
    }
    return {name: value for name, value in variables.items() if value}


def build_container(spec: SidecarSpec) -> Tree:
    """Return the native sidecar container."""
    # EKS's webhook sets neither this variable nor the role in a container that already has the variable.
    own = {"AWS_WEB_IDENTITY_TOKEN_FILE": DEFAULT_TOKEN_FILE}
    mounts = [
        {"name": TOKEN_VOLUME, "mountPath": _TOKEN_DIRECTORY, "readOnly": True},
        {"name": CREDENTIALS_VOLUME, "mountPath": DEFAULT_PUBLISH_DIRECTORY},
        {"name": NO_API_TOKEN_VOLUME, "mountPath": SERVICE_ACCOUNT_DIRECTORY, "readOnly": True},
    ]
    if spec.config_map:
        own["BROKER_CONFIG"] = f"{_CONFIG_DIRECTORY}/{CONFIG_FILE}"
        mounts.append({"name": PROFILES_VOLUME, "mountPath": _CONFIG_DIRECTORY, "readOnly": True})
    return {
        "name": NAME,
        "image": spec.image,
        "restartPolicy": "Always",  # makes it a native sidecar: it starts first, ends last, and lets Jobs complete
        "env": [{"name": name, "value": value} for name, value in (build_settings(spec) | own).items()],
        "ports": [{"name": PORT_NAME, "containerPort": HEALTH_PORT}],
        "startupProbe": _build_probe("/readyz", periodSeconds=1, failureThreshold=120),
        "readinessProbe": _build_probe("/readyz", periodSeconds=10),
        "livenessProbe": _build_probe("/livez", periodSeconds=10, failureThreshold=3),
        "resources": sidecar_resources.build_resources(spec.resources),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {
            "runAsNonRoot": True,
            "readOnlyRootFilesystem": True,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumeMounts": mounts,
    }


def _build_probe(path: str, **numbers: int) -> Tree:
    return {"httpGet": {"path": path, "port": HEALTH_PORT}, **numbers}


def build_volumes(spec: SidecarSpec) -> list[Tree]:
    """Return the volumes to add: the token, the published credentials, an empty one, and the settings file if any."""
    token = {
        "path": _TOKEN_NAME,
        "audience": spec.audience or DEFAULT_AUDIENCE,
        "expirationSeconds": _TOKEN_LIFETIME_SECONDS,
    }
    volumes: list[Tree] = [
        {"name": TOKEN_VOLUME, "projected": {"sources": [{"serviceAccountToken": token}]}},
        {"name": CREDENTIALS_VOLUME, "emptyDir": {"medium": "Memory", "sizeLimit": "8Mi"}},
        {"name": NO_API_TOKEN_VOLUME, "emptyDir": {"sizeLimit": "1Mi"}},
    ]
    if spec.config_map:
        volumes.append({"name": PROFILES_VOLUME, "configMap": {"name": spec.config_map}})
    return volumes


def is_compatible_volume(volume: Tree, spec: SidecarSpec) -> bool:
    """Return whether a volume with a name of the sidecar's serves its purpose. Sizes and token lifetime may differ."""
    if volume["name"] == TOKEN_VOLUME:
        sources = (volume.get("projected") or {}).get("sources") or ()
        tokens = [source.get("serviceAccountToken") or {} for source in sources]
        found = [(token.get("path"), token.get("audience")) for token in tokens]
        return found == [(_TOKEN_NAME, spec.audience or DEFAULT_AUDIENCE)]
    if volume["name"] == PROFILES_VOLUME:
        return bool((volume.get("configMap") or {}).get("name") == spec.config_map)
    if volume["name"] == NO_API_TOKEN_VOLUME:
        return "emptyDir" in volume
    return bool((volume.get("emptyDir") or {}).get("medium") == "Memory")


def build_app_mount() -> Tree:
    """Return the app's mount. It is the whole directory, because a subPath mount never sees a refresh."""
    return {"name": CREDENTIALS_VOLUME, "mountPath": DEFAULT_PUBLISH_DIRECTORY, "readOnly": True}


def build_app_variables(spec: SidecarSpec) -> list[Tree]:
    """Return the app's variables, through which SDKs find the endpoint and their Region."""
    return [
        {"name": ENDPOINT_VARIABLE, "value": spec.endpoint},
        {"name": ENDPOINT_TOKEN_VARIABLE, "value": f"{DEFAULT_PUBLISH_DIRECTORY}/{ENDPOINT_TOKEN_FILE}"},
        *({"name": name, "value": spec.region} for name in REGION_VARIABLES),
    ]


def is_broker(container: Tree) -> bool:
    """Return whether a container runs the broker, whatever its version and settings.

    Among the init containers it is the sidecar. Among the regular containers it is the form for clusters before
    Kubernetes 1.29 (deploy/examples/before-native-sidecars).
    """
    ports = container.get("ports") or ()
    return container.get("name") == NAME and any(port.get("name") == PORT_NAME for port in ports)


def add_sidecar(pod: Tree, spec: SidecarSpec, chosen: frozenset[str]) -> Tree:
    """Return a pod's spec with the sidecar, and with the endpoint's variables and mount in the `chosen` containers.

    Idempotent: applied to its own result, it changes nothing. Call `sidecar_faults.find_faults` first.
    """
    result: Tree = {}
    for key, value in pod.items():
        if key == "containers":
            result.setdefault("initContainers", None)  # above the containers, where people look for it
        result[key] = value
    init_containers = [_add_endpoint(each, spec, chosen) for each in pod.get("initContainers") or ()]
    result["initContainers"] = _put_by_name(init_containers, build_container(spec), first=True)
    result["containers"] = [_add_endpoint(each, spec, chosen) for each in pod["containers"]]
    result["volumes"] = list(pod.get("volumes") or ())
    for volume in build_volumes(spec):
        present = [each for each in result["volumes"] if each.get("name") == volume["name"]]
        if not any(is_compatible_volume(each, spec) for each in present):
            result["volumes"] = _put_by_name(result["volumes"], volume)
    if adds_group(pod, spec):  # any group works, as long as broker and app share it
        context = pod.get("securityContext") or {}
        result["securityContext"] = {**context, "fsGroup": GROUP}
        if context.get("fsGroupChangePolicy") is None and find_persistent_volumes(pod, spec):
            result["securityContext"]["fsGroupChangePolicy"] = "OnRootMismatch"  # not all files at each start
    return result


def adds_group(pod: Tree, spec: SidecarSpec) -> bool:
    """Return whether the sidecar brings an fsGroup, because the pod has none."""
    return spec.sets_group and (pod.get("securityContext") or {}).get("fsGroup") is None


def find_persistent_volumes(pod: Tree, spec: SidecarSpec) -> list[str]:
    """Return the names of the pod's volumes that outlive it, or whose files the kubelet can give to an fsGroup."""
    volumes = pod.get("volumes") or ()
    names = [str(each.get("name")) for each in volumes if _PERSISTENT & each.keys()]
    if not spec.has_claim_templates:
        return names
    known = {CREDENTIALS_VOLUME, TOKEN_VOLUME, NO_API_TOKEN_VOLUME, *(each.get("name") for each in volumes)}
    containers = (*pod["containers"], *(pod.get("initContainers") or ()))
    mounted = [str(mount.get("name")) for each in containers for mount in each.get("volumeMounts") or ()]
    return [*names, *dict.fromkeys(name for name in mounted if name not in known)]


def _add_endpoint(container: Tree, spec: SidecarSpec, chosen: frozenset[str]) -> Tree:
    if container.get("name") not in chosen:
        return container
    result = dict(container)
    present = {variable.get("name") for variable in container.get("env") or ()}
    if present.intersection(REGION_VARIABLES):  # the app's own Region stays, and no second one contradicts it
        present.update(REGION_VARIABLES)
    missing = [variable for variable in build_app_variables(spec) if variable["name"] not in present]
    if missing:
        result["env"] = [*(container.get("env") or ()), *missing]
    mounts = container.get("volumeMounts") or ()
    if not any(mount.get("name") == CREDENTIALS_VOLUME for mount in mounts):
        result["volumeMounts"] = [*mounts, build_app_mount()]
    return result


def _put_by_name(items: list[Tree], new: Tree, *, first: bool = False) -> list[Tree]:
    """Return the items with `new` in place of the item with its name; if there is none, as the first or last item."""
    if any(item.get("name") == new["name"] for item in items):
        return [new if item.get("name") == new["name"] else item for item in items]
    return [new, *items] if first else [*items, new]
