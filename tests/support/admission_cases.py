"""More pods for `sts-broker inject` and the admission policies: the limits of what fits, and names that are taken."""

from __future__ import annotations

import json
from typing import Any, Final

from tests.support.injection_cases import FITS, ROLE, InjectionCase

_APP: Final = {"name": "app", "image": "x"}
_TERMS: Final = "requiredDuringSchedulingIgnoredDuringExecution"


def _write_case(name: str, verdict: str, spec: dict[str, Any] | None = None, **annotations: str) -> InjectionCase:
    """Return a case with these annotations (`_` for `-`) besides role and Region. JSON is YAML."""
    values = {"sts-broker/role-arn": ROLE, "sts-broker/region": "eu-west-1"}
    values |= {f"sts-broker/{key.replace('_', '-')}": value for key, value in annotations.items()}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "app", "annotations": values},
        "spec": {"containers": [_APP], **(spec or {})},
    }
    return InjectionCase(name=name, manifest=json.dumps(pod), verdict=verdict)


def _require(*systems: str) -> dict[str, Any]:
    """Return a pod that runs on nodes of any of these systems, each in a term of its own."""
    terms = [
        {"matchExpressions": [{"key": "kubernetes.io/os", "operator": "In", "values": [system]}]} for system in systems
    ]
    return {"affinity": {"nodeAffinity": {_TERMS: {"nodeSelectorTerms": terms}}}}


def _mount_at(path: str) -> dict[str, Any]:
    mounts = [{"name": "aws", "mountPath": path}]
    return {"volumes": [{"name": "aws", "emptyDir": {}}], "containers": [_APP | {"volumeMounts": mounts}]}


def _name_volume(name: str, **source: Any) -> dict[str, Any]:  # noqa: ANN401 - any Kubernetes field
    return {"volumes": [{"name": name, **source}]}


_OCCUPIED, _WINDOWS, _VOLUME = (
    "at /var/run/aws, where the broker publishes",
    "no image for Windows",
    "the sidecar needs",
)
_DURATION, _MEMORY_LIMIT = "annotation sts-broker/duration-seconds", "annotation sts-broker/memory-limit"
_ROLE = "annotation sts-broker/role-arn"
CASES: Final = (
    _write_case("a volume at the publish directory with a slash at its end", _OCCUPIED, _mount_at("/var/run/aws/")),
    _write_case("a volume below the publish directory", FITS, _mount_at("/var/run/aws/own")),
    _write_case(
        "a volume at the publish directory of the second container",
        _OCCUPIED,
        {"containers": [_APP | {"name": "first"}, *_mount_at("/var/run/aws")["containers"]]},
    ),
    _write_case(
        "the empty volume of the broker", FITS, _name_volume("sts-broker-no-api-token", emptyDir={"medium": "Memory"})
    ),
    _write_case(
        "a Secret in place of the empty volume",
        _VOLUME,
        _name_volume("sts-broker-no-api-token", secret={"secretName": "s"}),
    ),
    _write_case(
        "the name of the credentials volume on disk", _VOLUME, _name_volume("sts-broker-credentials", emptyDir={})
    ),
    _write_case(
        "the broker's port on the node's network",
        "Use another port",
        {"hostNetwork": True, "containers": [_APP | {"ports": [{"containerPort": 9910}]}]},
    ),
    _write_case(
        "a persistent volume, whose group changes at most once",
        FITS,
        _name_volume("data", persistentVolumeClaim={"claimName": "data"}),
    ),
    _write_case(
        "a persistent volume with a change policy of its own",
        FITS,
        {
            **_name_volume("data", persistentVolumeClaim={"claimName": "data"}),
            "securityContext": {"fsGroupChangePolicy": "Always"},
        },
    ),
    _write_case(
        "a persistent volume with a group of its own",
        FITS,
        {**_name_volume("data", ephemeral={}), "securityContext": {"fsGroup": 1000}},
    ),
    _write_case("affinity for either system", FITS, _require("windows", "linux")),
    _write_case("affinity for Windows in every term", _WINDOWS, _require("windows", "windows")),
    _write_case(
        "a Linux pod with a node selector for Windows, which never starts",
        FITS,
        {"os": {"name": "linux"}, "nodeSelector": {"kubernetes.io/os": "windows"}},
    ),
    _write_case(
        "windowsOptions of an init container",
        _WINDOWS,
        {"initContainers": [_APP | {"name": "m", "securityContext": {"windowsOptions": {}}}]},
    ),
    _write_case("a Windows pod with other faults", _WINDOWS, {"os": {"name": "windows"}, **_mount_at("/var/run/aws")}),
    _write_case("a duration with zeros before it", FITS, duration_seconds="00900"),
    _write_case("a duration of five digits above the maximum", _DURATION, duration_seconds="99999"),
    _write_case("an audience of 255 letters of two bytes", FITS, audience="ä" * 255),
    _write_case("a role without an account", FITS, role_arn="arn:aws:iam:::role/app"),
    _write_case("a role without a partition", _ROLE, role_arn="arn::iam:::role/application"),
    _write_case("memory with a fraction", FITS, memory_limit="1.5Gi"),
    _write_case("memory in bytes", FITS, memory_limit="134217728"),
    _write_case("memory in exbibytes", _MEMORY_LIMIT, memory_limit="1Ei"),
    _write_case("a memory limit of zero", _MEMORY_LIMIT, memory_limit="0.0Gi"),
    _write_case("all resources", FITS, cpu_request="1", cpu_limit="1", memory_request="1Gi", memory_limit="1024Mi"),
)
"""Each name is unique, also among those of `injection_cases`."""
