"""THE sidecar: what a pod gets so that its app has credentials, as Kubernetes' own data.

`sts-broker inject` writes it; deploy/component and deploy/admission say the same in their own languages, and
tests hold them equal to this. What a pod has of its own stays, but for an older sidecar of ours.

Pure: knows mappings and lists, neither YAML's text nor where pods come from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from broker import __version__
from broker.core.model import (
    DEFAULT_AUDIENCE,
    DEFAULT_PROFILE,
    DEFAULT_PUBLISH_DIRECTORY,
    DEFAULT_TOKEN_FILE,
    ENDPOINT_TOKEN_FILE,
)

Tree = dict[str, Any]

NAME: Final = "sts-broker"
DEFAULT_IMAGE: Final = f"sts-federation-broker:{__version__}"
HEALTH_PORT: Final = 9910
ENDPOINT_PORT: Final = 9911
PORT_NAME: Final = "sts-broker-http"
"""By this port a container named `broker` is known as ours, wherever its image comes from."""
PUBLISHED: Final = "sts-broker-credentials"
TOKEN: Final = "sts-broker-token"  # noqa: S105 - a name
PROFILES: Final = "sts-broker-profiles"
"""The volumes."""
CONFIG_FILE: Final = "broker.yaml"
"""The key of a ConfigMap that holds the settings file."""
_CONFIG_DIRECTORY = "/etc/sts-federation-broker"
_TOKEN_DIRECTORY, _, _TOKEN_NAME = DEFAULT_TOKEN_FILE.rpartition("/")
_TOKEN_LIFE_SECONDS = 3600
ENDPOINT: Final = f"http://127.0.0.1:{ENDPOINT_PORT}/v1/credentials"
ENDPOINT_VARIABLE: Final = "AWS_CONTAINER_CREDENTIALS_FULL_URI"
ENDPOINT_TOKEN_VARIABLE: Final = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"  # noqa: S105 - a name
GROUP: Final = 65532


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What one pod asks for. "" stands for the broker's own default."""

    role_arn: str
    region: str
    image: str = DEFAULT_IMAGE
    profile: str = ""
    audience: str = ""
    duration_seconds: str = ""
    config_map: str = ""
    sets_group: bool = True
    """False where the platform chooses the pod's group, as OpenShift does."""

    @property
    def endpoint(self) -> str:
        """Where the app asks for its profile."""
        return ENDPOINT if self.profile in ("", DEFAULT_PROFILE) else f"{ENDPOINT}/{self.profile}"


def settings(wanted: Wanted) -> dict[str, str]:
    """Return the broker's environment, but for the path of a mounted file."""
    variables = {
        "AWS_ROLE_ARN": wanted.role_arn,
        "AWS_REGION": wanted.region,
        "BROKER_AUDIENCE": wanted.audience,
        "BROKER_DURATION_SECONDS": wanted.duration_seconds,
    }
    return {name: value for name, value in variables.items() if value}


def container(wanted: Wanted) -> Tree:
    """Return the native sidecar."""
    # The token's file is said here, so that EKS's webhook, which overwrites no variable, sets neither it nor the role.
    own = {"AWS_WEB_IDENTITY_TOKEN_FILE": DEFAULT_TOKEN_FILE}
    mounts = [
        {"name": TOKEN, "mountPath": _TOKEN_DIRECTORY, "readOnly": True},
        {"name": PUBLISHED, "mountPath": DEFAULT_PUBLISH_DIRECTORY},
    ]
    if wanted.config_map:
        own["BROKER_CONFIG"] = f"{_CONFIG_DIRECTORY}/{CONFIG_FILE}"
        mounts.append({"name": PROFILES, "mountPath": _CONFIG_DIRECTORY, "readOnly": True})
    return {
        "name": NAME,
        "image": wanted.image,
        "restartPolicy": "Always",  # a native sidecar: starts first, ends last, lets Jobs complete
        "env": [{"name": name, "value": value} for name, value in (settings(wanted) | own).items()],
        "ports": [{"name": PORT_NAME, "containerPort": HEALTH_PORT}],
        "startupProbe": _probe("/readyz", periodSeconds=1, failureThreshold=120),
        "readinessProbe": _probe("/readyz", periodSeconds=10),
        "livenessProbe": _probe("/livez", periodSeconds=10, failureThreshold=3),
        "resources": {"requests": {"cpu": "10m", "memory": "40Mi"}, "limits": {"memory": "64Mi"}},
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


def _probe(page: str, **numbers: int) -> Tree:
    return {"httpGet": {"path": page, "port": HEALTH_PORT}, **numbers}


def volumes(wanted: Wanted) -> list[Tree]:
    """Return the pod's volumes: the token, what is published, and the settings file if there is one."""
    token = {
        "path": _TOKEN_NAME,
        "audience": wanted.audience or DEFAULT_AUDIENCE,
        "expirationSeconds": _TOKEN_LIFE_SECONDS,
    }
    wanted_volumes: list[Tree] = [
        {"name": TOKEN, "projected": {"sources": [{"serviceAccountToken": token}]}},
        {"name": PUBLISHED, "emptyDir": {"medium": "Memory", "sizeLimit": "8Mi"}},
    ]
    if wanted.config_map:
        wanted_volumes.append({"name": PROFILES, "configMap": {"name": wanted.config_map}})
    return wanted_volumes


def fits(volume: Tree, wanted: Wanted) -> bool:
    """Return whether a volume by a name of ours does what ours does: its size and its token's life may be others."""
    if volume["name"] == TOKEN:
        sources = (volume.get("projected") or {}).get("sources") or ()
        tokens = [source.get("serviceAccountToken") or {} for source in sources]
        asked = [(token.get("path"), token.get("audience")) for token in tokens]
        return asked == [(_TOKEN_NAME, wanted.audience or DEFAULT_AUDIENCE)]
    if volume["name"] == PROFILES:
        return bool((volume.get("configMap") or {}).get("name") == wanted.config_map)
    return bool((volume.get("emptyDir") or {}).get("medium") == "Memory")


def app_mount() -> Tree:
    """Return the app's mount: the whole directory, since a subPath never sees a refresh."""
    return {"name": PUBLISHED, "mountPath": DEFAULT_PUBLISH_DIRECTORY, "readOnly": True}


def app_variables(wanted: Wanted) -> list[Tree]:
    """Return the app's variables, by which SDKs find the endpoint."""
    return [
        {"name": ENDPOINT_VARIABLE, "value": wanted.endpoint},
        {"name": ENDPOINT_TOKEN_VARIABLE, "value": f"{DEFAULT_PUBLISH_DIRECTORY}/{ENDPOINT_TOKEN_FILE}"},
        {"name": "AWS_REGION", "value": wanted.region},
    ]


def is_ours(candidate: Tree) -> bool:
    """Return whether this init container is a sidecar of ours, of whatever version and settings."""
    ports = candidate.get("ports") or ()
    return candidate.get("name") == NAME and any(port.get("name") == PORT_NAME for port in ports)


def injected(spec: Tree, wanted: Wanted, chosen: frozenset[str]) -> Tree:
    """Return the spec of a pod with the sidecar, in which `chosen` containers find the endpoint.

    Done to its own result, it changes nothing. Whether the pod can take it is for `sidecar_faults` to say.
    """
    result: Tree = {}
    for key, value in spec.items():
        if key == "containers":
            result.setdefault("initContainers", None)  # above the containers, where people look for it
        result[key] = value
    given = [_with_endpoint(each, wanted, chosen) for each in spec.get("initContainers") or ()]
    result["initContainers"] = _with_named(given, container(wanted), first=True)
    result["containers"] = [_with_endpoint(each, wanted, chosen) for each in spec["containers"]]
    result["volumes"] = list(spec.get("volumes") or ())
    for volume in volumes(wanted):
        if not any(fits(each, wanted) for each in result["volumes"] if each.get("name") == volume["name"]):
            result["volumes"] = _with_named(result["volumes"], volume)
    context = spec.get("securityContext") or {}
    if wanted.sets_group and context.get("fsGroup") is None:  # any group will do: broker and app share it
        result["securityContext"] = {**context, "fsGroup": GROUP}
    return result


def _with_endpoint(each: Tree, wanted: Wanted, chosen: frozenset[str]) -> Tree:
    if each.get("name") not in chosen:
        return each
    result = dict(each)
    present = {variable.get("name") for variable in each.get("env") or ()}
    missing = [variable for variable in app_variables(wanted) if variable["name"] not in present]
    if missing:
        result["env"] = [*(each.get("env") or ()), *missing]
    mounts = each.get("volumeMounts") or ()
    if not any(mount.get("name") == PUBLISHED for mount in mounts):
        result["volumeMounts"] = [*mounts, app_mount()]
    return result


def _with_named(items: list[Tree], wanted: Tree, *, first: bool = False) -> list[Tree]:
    """Return the items with this one, in the place of what has its name, else first or last."""
    if any(item.get("name") == wanted["name"] for item in items):
        return [wanted if item.get("name") == wanted["name"] else item for item in items]
    return [wanted, *items] if first else [*items, wanted]
