"""Pods that request the sidecar by annotation, each with the verdict that all deliveries must give.

`sts-broker inject` and the admission policies are tested with this table, so that they accept and refuse the same pods.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

FITS: Final = "fits"


@dataclass(frozen=True, slots=True, kw_only=True)
class InjectionCase:
    """A pod as YAML text. `verdict` is "fits", or text that each message about the pod has in common."""

    name: str
    manifest: str
    verdict: str


ROLE: Final = "arn:aws:iam::123456789012:role/app"
_ANNOTATIONS: Final = {"sts-broker/role-arn": ROLE, "sts-broker/region": "eu-west-1"}
_APP: Final = "containers: [{name: app, image: x}]"


def _format_pod(annotations: dict[str, str], spec: str) -> str:
    metadata = json.dumps({"name": "app", "annotations": annotations})
    return f"apiVersion: v1\nkind: Pod\nmetadata: {metadata}\nspec: {{{spec}}}\n"


def _annotate(name: str, verdict: str, **annotations: str) -> InjectionCase:
    """Return a pod with these annotations (`_` for `-`) besides role and Region, which "" removes."""
    changes = {f"sts-broker/{key.replace('_', '-')}": value for key, value in annotations.items()}
    wanted = {key: value for key, value in (_ANNOTATIONS | changes).items() if value}
    return InjectionCase(name=name, manifest=_format_pod(wanted, _APP), verdict=verdict)


def _specify(name: str, verdict: str, *fields: str) -> InjectionCase:
    """Return a pod whose spec has these fields, in flow style, and a container unless they have some."""
    has_containers = any(each.startswith("containers:") for each in fields)
    spec = ", ".join(fields if has_containers else (*fields, _APP))
    return InjectionCase(name=name, manifest=_format_pod(_ANNOTATIONS, spec), verdict=verdict)


def _equip(name: str, verdict: str, fields: str) -> InjectionCase:
    """Return a pod whose only container has these fields."""
    return _specify(name, verdict, f"containers: [{{name: app, image: x, {fields}}}]")


def _prepare(name: str, verdict: str, fields: str) -> InjectionCase:
    """Return a pod whose only init container has these fields."""
    return _specify(name, verdict, f"initContainers: [{{name: migrate, image: m, {fields}}}]")


def _set_variable(variable: str, verdict: str, source: str, name: str = "") -> InjectionCase:
    return _equip(name or f"{variable} in a container", verdict, f"env: [{{name: {variable}, {source}}}]")


def _write_role(length: int) -> str:
    return f"{ROLE}/".ljust(length, "r")


def _write_containers(count: int) -> str:
    return f"containers: [{', '.join(f'{{name: c{number}, image: x}}' for number in range(count))}]"


_ROLE, _REGION = "annotation sts-broker/role-arn", "annotation sts-broker/region"
_DURATION, _AUDIENCE = "annotation sts-broker/duration-seconds", "annotation sts-broker/audience"
_PROFILE, _CONFIG_MAP = "annotation sts-broker/profile", "annotation sts-broker/config-map"
_ANNOTATION_CASES: Final = (
    _annotate("role and Region", FITS),
    _annotate("no role", "have no effect without", role_arn=""),
    _annotate("no Region", _REGION, region=""),
    _annotate("a role of 2,048 characters", FITS, role_arn=_write_role(2048)),
    _annotate("a role of 2,049 characters", _ROLE, role_arn=_write_role(2049)),
    _annotate("a role with a trailing newline", _ROLE, role_arn=f"{ROLE}\n"),
    _annotate("a role with a leading space", _ROLE, role_arn=f" {ROLE}"),
    _annotate("a role with a space inside", _ROLE, role_arn="arn:aws:iam::123456789012:role/my app"),
    _annotate("a role with a sign", _ROLE, role_arn=f"+{ROLE}"),
    _annotate("a user", _ROLE, role_arn="arn:aws:iam::123456789012:user/app"),
    _annotate("a role of another partition than the Region's", _ROLE, role_arn=ROLE.replace("aws", "aws-cn", 1)),
    _annotate("a Region of another partition than the role's", _ROLE, region="us-gov-west-1"),
    _annotate(
        "another partition with a settings file, which may name its own endpoint",
        FITS,
        role_arn=ROLE.replace("aws", "aws-cn", 1),
        config_map="c",
    ),
    _annotate("a Region with a trailing newline", _REGION, region="eu-west-1\n"),
    _annotate("a Region in capital letters", _REGION, region="EU-WEST-1"),
    _annotate("a duration with a trailing newline", _DURATION, duration_seconds="900\n"),
    _annotate("a duration with a plus sign", _DURATION, duration_seconds="+900"),
    _annotate("a duration with a minus sign", _DURATION, duration_seconds="-900"),
    _annotate("a duration with a space", _DURATION, duration_seconds="900 "),
    _annotate("a duration with an underscore", _DURATION, duration_seconds="1_800"),
    _annotate("a duration with a fraction", _DURATION, duration_seconds="900.0"),
    _annotate("a duration with an exponent", _DURATION, duration_seconds="1e3"),
    _annotate("a duration of six digits", _DURATION, duration_seconds="000900"),
    _annotate("an audience with a trailing newline", _AUDIENCE, audience="sts.amazonaws.com\n"),
    _annotate("an audience with a newline inside", _AUDIENCE, audience="sts\namazonaws"),
    _annotate("an audience with a space and a sign", FITS, audience="my +audience"),
    _annotate("a profile with a trailing newline", _PROFILE, profile="p\n", config_map="c"),
    _annotate("a profile with a sign", _PROFILE, profile="+p", config_map="c"),
    _annotate("the default profile with a newline", _PROFILE, profile="default\n"),
    _annotate("a ConfigMap with a trailing newline", _CONFIG_MAP, config_map="c\n"),
    _annotate("a ConfigMap with a minus sign at the start", _CONFIG_MAP, config_map="-c"),
)

_REQUEST, _LIMIT = "annotation sts-broker/cpu-request", "annotation sts-broker/cpu-limit"
_MEMORY_REQUEST, _MEMORY_LIMIT = "annotation sts-broker/memory-request", "annotation sts-broker/memory-limit"
_RESOURCE_CASES: Final = (
    _annotate("a CPU limit", FITS, cpu_limit="200m"),
    _annotate("CPU as a decimal", FITS, cpu_request="0.1", cpu_limit="1"),
    _annotate("equal requests and limits", FITS, cpu_request="100m", cpu_limit="0.1", memory_request="64Mi"),
    _annotate("more memory", FITS, memory_request="65536Ki", memory_limit="128M"),
    _annotate("a CPU request with a sign", _REQUEST, cpu_request="+100m"),
    _annotate("a CPU request with a trailing newline", _REQUEST, cpu_request="100m\n"),
    _annotate("a CPU limit in words", _LIMIT, cpu_limit="1 core"),
    _annotate("a CPU limit of a unit for memory", _LIMIT, cpu_limit="1Gi"),
    _annotate("a negative CPU limit", _LIMIT, cpu_limit="-1"),
    _annotate("a CPU limit of zero", _LIMIT, cpu_limit="0"),
    _annotate("a memory limit in MB", _MEMORY_LIMIT, memory_limit="128MB"),
    _annotate("a memory limit in lower case", _MEMORY_LIMIT, memory_limit="128mi"),
    _annotate("a memory request in millibytes", _MEMORY_REQUEST, memory_request="24m"),
    _annotate("a memory request without a number", _MEMORY_REQUEST, memory_request="Mi"),
    _annotate("a CPU request above the limit", _REQUEST, cpu_request="1", cpu_limit="500m"),
    _annotate("a CPU limit below the default request", _REQUEST, cpu_limit="5m"),
    _annotate("a memory request above the default limit", _MEMORY_REQUEST, memory_request="128Mi"),
    _annotate("a memory limit below the default request", _MEMORY_REQUEST, memory_limit="16Mi"),
)

_WINDOWS: Final = "no image for Windows"
_TERM: Final = "{matchExpressions: [{key: kubernetes.io/os, operator: In, values: [%s]}]}"
_AFFINITY: Final = (
    "affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [%s]}}}"
)
_POD_CASES: Final = (
    _specify("spec.os is windows", _WINDOWS, "os: {name: windows}"),
    _specify("spec.os is linux", FITS, "os: {name: linux}", "nodeSelector: {kubernetes.io/os: linux}"),
    _specify("a node selector for Windows", _WINDOWS, "nodeSelector: {kubernetes.io/os: windows}"),
    _specify("the old node selector for Windows", _WINDOWS, "nodeSelector: {beta.kubernetes.io/os: windows}"),
    _specify("an affinity for Windows nodes only", _WINDOWS, _AFFINITY % (_TERM % "windows")),
    _specify("an affinity for both kinds of nodes", FITS, _AFFINITY % (_TERM % "linux, windows")),
    _specify("windowsOptions of the pod", _WINDOWS, "securityContext: {windowsOptions: {runAsUserName: user}}"),
    _equip("windowsOptions of a container", _WINDOWS, "securityContext: {windowsOptions: {runAsUserName: user}}"),
    _specify("32 containers", FITS, _write_containers(32)),
    _specify("33 containers", "more than 32 containers", _write_containers(33)),
    _specify("a pod that runs as root", "runAsUser: 0", "securityContext: {runAsUser: 0}"),
)

_MOUNT: Final = "name: sts-broker-credentials, mountPath: /var/run/aws"
_READ_ONLY: Final = f"volumeMounts: [{{{_MOUNT}, readOnly: true}}]"
_TOKEN: Final = "volumeMounts: [{name: sts-broker-token, mountPath: /t}]"
_PRIVATE: Final = "mounts sts-broker-token, which only the broker may read"
_SUBPATH: Final = "mounts sts-broker-credentials by subPath"
_ELSEWHERE, _WRITABLE = "Mount it at /var/run/aws", "mounts sts-broker-credentials without readOnly: true"
_OCCUPIED, _PORT = "at /var/run/aws, where the broker publishes", ", which the broker needs. Use another port"
_MOUNT_CASES: Final = (
    _equip("the token volume in a container", _PRIVATE, _TOKEN),
    _prepare(
        "the token volume in an init container", _PRIVATE, "volumeMounts: [{name: sts-broker-token, mountPath: /t}]"
    ),
    _equip("the published volume, read-only", FITS, _READ_ONLY),
    _prepare(
        "the published volume in an init container, read-only", FITS, f"volumeMounts: [{{{_MOUNT}, readOnly: true}}]"
    ),
    _equip("the published volume, writable", _WRITABLE, f"volumeMounts: [{{{_MOUNT}}}]"),
    _equip("the published volume, explicitly writable", _WRITABLE, f"volumeMounts: [{{{_MOUNT}, readOnly: false}}]"),
    _prepare("the published volume in an init container, writable", _WRITABLE, f"volumeMounts: [{{{_MOUNT}}}]"),
    _equip("the published volume by subPath", _SUBPATH, _READ_ONLY.replace("true", "true, subPath: config")),
    _equip(
        "the published volume by subPathExpr",
        _SUBPATH,
        _READ_ONLY.replace("true", "true, subPathExpr: $(X)"),
    ),
    _prepare(
        "the published volume in an init container by subPath",
        _SUBPATH,
        _READ_ONLY.replace("true", "true, subPath: config"),
    ),
    _equip(
        "the published volume at another path",
        _ELSEWHERE,
        "volumeMounts: [{name: sts-broker-credentials, mountPath: /aws, readOnly: true}]",
    ),
    _prepare(
        "the published volume in an init container at another path",
        _ELSEWHERE,
        "volumeMounts: [{name: sts-broker-credentials, mountPath: /aws, readOnly: true}]",
    ),
    _specify(
        "another volume at the publish directory",
        _OCCUPIED,
        "volumes: [{name: aws, emptyDir: {}}]",
        "containers: [{name: app, image: x, volumeMounts: [{name: aws, mountPath: /var/run/aws}]}]",
    ),
    _specify(
        "another volume at the publish directory of an init container, which gets no endpoint",
        FITS,
        "volumes: [{name: aws, emptyDir: {}}]",
        "initContainers: [{name: migrate, image: m, volumeMounts: [{name: aws, mountPath: /var/run/aws}]}]",
    ),
    _equip("the broker's port in a container", _PORT, "ports: [{containerPort: 9910}]"),
    _prepare("the endpoint's port in an init container", _PORT, "ports: [{containerPort: 9911}]"),
    _specify(
        "another volume with the name of the token's",
        "the sidecar needs",
        "volumes: [{name: sts-broker-token, emptyDir: {}}]",
    ),
    _specify(
        "an init container with the sidecar's name",
        "container sts-broker is not the sidecar",
        "initContainers: [{name: sts-broker, image: y}]",
    ),
)

_HIDES: Final = "which SDKs prefer to the endpoint"
_OPTIONAL: Final = "valueFrom: {secretKeyRef: {name: s, key: k, optional: true}}"
_VARIABLE_CASES: Final = (
    *(
        _set_variable(variable, _HIDES, "value: v")
        for variable in (
            *("AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY", "AMAZON_ACCESS_KEY_ID"),
            *("AWS_SECRET_ACCESS_KEY", "AWS_SECRET_KEY", "AMAZON_SECRET_ACCESS_KEY"),
            *("AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN", "AMAZON_SESSION_TOKEN"),
            *("AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"),
            "AWS_CONTAINER_AUTHORIZATION_TOKEN",
        )
    ),
    _set_variable("AWS_ACCESS_KEY", FITS, 'value: ""', "an empty old key name"),
    _set_variable(
        "AWS_ACCESS_KEY_ID", _HIDES, "valueFrom: {secretKeyRef: {name: s, key: k}}", "an access key from a Secret"
    ),
    _set_variable("AWS_ACCESS_KEY_ID", FITS, _OPTIONAL, "an access key from an optional Secret"),
    _set_variable(
        "AWS_SECRET_KEY",
        FITS,
        "valueFrom: {configMapKeyRef: {name: c, key: k, optional: true}}",
        "a secret key from an optional ConfigMap",
    ),
    _set_variable(
        "AWS_ACCESS_KEY_ID", _HIDES, _OPTIONAL.replace("true", "false"), "an access key that is not optional"
    ),
    _set_variable("AWS_PROFILE", "SDKs read credentials from files instead of the", "value: p"),
    _set_variable("AWS_PROFILE", FITS, _OPTIONAL, "a profile from an optional Secret"),
    _set_variable(
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "sets AWS_CONTAINER_CREDENTIALS_FULL_URI to",
        _OPTIONAL,
        "the endpoint from an optional Secret, which would leave the app without one",
    ),
    _set_variable("AWS_SHARED_CREDENTIALS_FILE", FITS, "value: /etc/app/aws", "a credentials file of the app"),
    _set_variable("AWS_CONFIG_FILE", FITS, "value: /etc/app/aws", "a config file of the app"),
    _set_variable("AWS_ROLE_ARN", FITS, f'value: "{ROLE}"', "a role in a container, which has no effect alone"),
    _set_variable("AWS_REGION", FITS, "value: us-east-1", "a Region of the app"),
    _prepare(
        "access keys in an init container, which gets no endpoint", FITS, "env: [{name: AWS_ACCESS_KEY_ID, value: v}]"
    ),
)

CASES: Final = (*_ANNOTATION_CASES, *_RESOURCE_CASES, *_POD_CASES, *_MOUNT_CASES, *_VARIABLE_CASES)
"""The table. Each name is unique."""
