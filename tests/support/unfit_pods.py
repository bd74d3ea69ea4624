"""Pods that cannot take the sidecar, each with the reason that `sts-broker inject` and the admission policy give."""

from __future__ import annotations

from typing import Any, NamedTuple

_ENDPOINT = "http://127.0.0.1:9911/v1/credentials"
ENDPOINT_VARIABLE = "AWS_CONTAINER_CREDENTIALS_FULL_URI"


class Unfit(NamedTuple):
    """The spec of a pod, and a part of each message about it."""

    spec: dict[str, Any]
    inject_message: str
    policy_message: str


def _make_pod(**spec: Any) -> dict[str, Any]:  # noqa: ANN401 - any Kubernetes field
    return {"containers": [{"name": "app", "image": "x"}], **spec}


def _make_app(**more: Any) -> dict[str, Any]:  # noqa: ANN401 - likewise
    return _make_pod(containers=[{"name": "app", "image": "x", **more}])


def _make_app_with_mount(name: str, path: str, **more: str | bool) -> dict[str, Any]:
    return _make_app(volumeMounts=[{"name": name, "mountPath": path, **more}])


def _make_app_with_variable(name: str, value: str) -> dict[str, Any]:
    return _make_app(env=[{"name": name, "value": value}])


def _make_app_with_value_from(name: str) -> dict[str, Any]:
    return _make_app(env=[_make_variable_from_config_map(name)])


def _make_variable_from_config_map(name: str) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}}


_MOUNTS = [{"name": "data", "mountPath": "/data"}]
_SOURCE = {"serviceAccountToken": {"path": "token", "audience": "sts.amazonaws.com"}}


def _make_pod_with_token(**changes: str) -> dict[str, Any]:
    source = {"serviceAccountToken": {"path": "token", **changes}}
    return _make_pod(volumes=[{"name": "sts-broker-token", "projected": {"sources": [source]}}])


_MOUNT = {"name": "sts-broker-credentials", "mountPath": "/var/run/aws"}
_TOKEN_MOUNT = {"name": "sts-broker-token", "mountPath": "/var/run/secrets/sts.amazonaws.com", "readOnly": True}
_BROKER = {
    "name": "sts-broker",
    "image": "y",
    "env": [{"name": "AWS_WEB_IDENTITY_TOKEN_FILE", "value": "/var/run/secrets/sts.amazonaws.com/token"}],
    "ports": [{"name": "sts-broker-http", "containerPort": 9910}],
    "volumeMounts": [_TOKEN_MOUNT, _MOUNT],
}
_NOT_THE_SIDECAR = "container sts-broker is not the sidecar"
_DIFFERS = "differs from the one that the sidecar needs"
UNFIT = {
    "a container with the sidecar's name": Unfit(
        _make_pod(containers=[{"name": "app", "image": "x"}, {"name": "sts-broker", "image": "y"}]),
        _NOT_THE_SIDECAR,
        _NOT_THE_SIDECAR,
    ),
    "an init container with the sidecar's name": Unfit(
        _make_pod(initContainers=[{"name": "sts-broker", "image": "y"}]), _NOT_THE_SIDECAR, _NOT_THE_SIDECAR
    ),
    "a container with the sidecar's name and another port": Unfit(
        _make_pod(initContainers=[{"name": "sts-broker", "image": "y", "ports": [{"containerPort": 9912}]}]),
        _NOT_THE_SIDECAR,
        _NOT_THE_SIDECAR,
    ),
    "the broker as a regular container": Unfit(
        _make_pod(
            initContainers=[{"name": "sts-broker-once", "image": "y", "volumeMounts": [_TOKEN_MOUNT, _MOUNT]}],
            containers=[{"name": "app", "image": "x", "volumeMounts": [{**_MOUNT, "readOnly": True}]}, _BROKER],
        ),
        "sts-broker runs as a regular container",
        "sts-broker runs as a regular container",
    ),
    "a secret volume named sts-broker-credentials": Unfit(
        _make_pod(volumes=[{"name": "sts-broker-credentials", "secret": {"secretName": "s"}}]),
        "volume sts-broker-credentials is not of type emptyDir",
        "volume named sts-broker-credentials",
    ),
    "an emptyDir volume named sts-broker-token": Unfit(
        _make_pod(volumes=[{"name": "sts-broker-token", "emptyDir": {}}]),
        "volume sts-broker-token is not of type projected",
        "sts-broker-token",
    ),
    "sts-broker-credentials on disk": Unfit(
        _make_pod(volumes=[{"name": "sts-broker-credentials", "emptyDir": {}}]),
        _DIFFERS,
        "volume named sts-broker-credentials",
    ),
    "a token with another audience": Unfit(_make_pod_with_token(audience="other"), _DIFFERS, "sts-broker-token"),
    "a token for the API": Unfit(_make_pod_with_token(), _DIFFERS, "sts-broker-token"),
    "a token at another path": Unfit(
        _make_pod_with_token(audience="sts.amazonaws.com", path="t"), _DIFFERS, "sts-broker-token"
    ),
    "a token volume with two sources": Unfit(
        _make_pod(
            volumes=[{"name": "sts-broker-token", "projected": {"sources": [_SOURCE, {"secret": {"name": "s"}}]}}]
        ),
        _DIFFERS,
        "sts-broker-token",
    ),
    "a token volume with a secret": Unfit(
        _make_pod(volumes=[{"name": "sts-broker-token", "projected": {"sources": [{"secret": {"name": "s"}}]}}]),
        _DIFFERS,
        "sts-broker-token",
    ),
    "a token volume without sources": Unfit(
        _make_pod(volumes=[{"name": "sts-broker-token", "projected": {}}]), _DIFFERS, "sts-broker-token"
    ),
    "port 9910": Unfit(_make_app(ports=[{"containerPort": 9910}]), "uses port 9910", "uses port 9910 or 9911"),
    "port 9911": Unfit(
        _make_app(ports=[{"containerPort": 80}, {"containerPort": 9911}]), "uses port 9911", "uses port 9910 or 9911"
    ),
    "a port of the second container": Unfit(
        _make_pod(
            containers=[{"name": "a", "image": "x"}, {"name": "b", "image": "y", "ports": [{"containerPort": 9910}]}]
        ),
        "container b uses port 9910",
        "uses port 9910 or 9911",
    ),
    "a port of an init container": Unfit(
        _make_pod(initContainers=[{"name": "m", "image": "m", "ports": [{"containerPort": 9911}]}]),
        "container m uses port 9911",
        "uses port 9910 or 9911",
    ),
    "a subPath mount": Unfit(
        _make_app_with_mount("sts-broker-credentials", "/var/run/aws", subPath="config"), "by subPath", "by subPath"
    ),
    "a subPathExpr mount": Unfit(
        _make_app_with_mount("sts-broker-credentials", "/var/run/aws", subPathExpr="$(X)"), "by subPath", "by subPath"
    ),
    "sts-broker-credentials at another path": Unfit(
        _make_app_with_mount("sts-broker-credentials", "/aws"),
        "at /aws. Mount it at /var/run/aws",
        "not at /var/run/aws",
    ),
    "another volume at the publish directory, with a slash": Unfit(
        _make_app_with_mount("b", "/var/run/aws/"),
        "mounts b at /var/run/aws, where the broker publishes",
        "another volume at /var/run/aws",
    ),
    "another volume at the publish directory": Unfit(
        _make_app_with_mount("b", "/var/run/aws"),
        "mounts b at /var/run/aws, where the broker publishes",
        "another volume at /var/run/aws",
    ),
    "the token mounted into the app": Unfit(
        _make_app_with_mount("sts-broker-token", "/t"),
        "mounts sts-broker-token, which only the broker may read",
        "only the broker may read",
    ),
    "the token mounted into the second container": Unfit(
        _make_pod(
            containers=[
                {"name": "a", "image": "x", "volumeMounts": _MOUNTS},
                *_make_app_with_mount("sts-broker-token", "/t")["containers"],
            ]
        ),
        "mounts sts-broker-token, which only the broker may read",
        "only the broker may read",
    ),
    "the token mounted into an init container": Unfit(
        _make_pod(initContainers=[{"name": "m", "image": "m", "volumeMounts": [_TOKEN_MOUNT]}]),
        "container m mounts sts-broker-token, which only the broker may read",
        "only the broker may read",
    ),
    "the second mount by subPath": Unfit(
        _make_app(
            volumeMounts=[
                *_MOUNTS,
                {"name": "sts-broker-credentials", "mountPath": "/var/run/aws", "subPath": "x"},
            ]
        ),
        "by subPath",
        "by subPath",
    ),
    "an access key from a Secret": Unfit(
        _make_app(env=[{"name": "AWS_ACCESS_KEY_ID", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]),
        "AWS_ACCESS_KEY_ID",
        "sets access keys",
    ),
    "a secret access key": Unfit(
        _make_app_with_variable("AWS_SECRET_ACCESS_KEY", "x"), "AWS_SECRET_ACCESS_KEY", "sets access keys"
    ),
    "a session token": Unfit(
        _make_app_with_variable("AWS_SESSION_TOKEN", "x"), "AWS_SESSION_TOKEN", "sets access keys"
    ),
    "the variable of EKS's webhook": Unfit(
        _make_app_with_variable(
            "AWS_WEB_IDENTITY_TOKEN_FILE", "/var/run/secrets/eks.amazonaws.com/serviceaccount/token"
        ),
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
    ),
    "a relative URI": Unfit(
        _make_app_with_variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/x"), "RELATIVE_URI", "RELATIVE_URI"
    ),
    "a profile": Unfit(_make_app_with_variable("AWS_PROFILE", "p"), "AWS_PROFILE", "AWS_PROFILE"),
    "a profile from a ConfigMap": Unfit(_make_app_with_value_from("AWS_PROFILE"), "AWS_PROFILE", "AWS_PROFILE"),
    "a profile with the config file from a ConfigMap": Unfit(
        _make_app(
            env=[
                *_make_app_with_variable("AWS_PROFILE", "p")["containers"][0]["env"],
                _make_variable_from_config_map("AWS_CONFIG_FILE"),
            ]
        ),
        "AWS_PROFILE",
        "AWS_PROFILE",
    ),
    "a default profile": Unfit(
        _make_app_with_variable("AWS_DEFAULT_PROFILE", "p"), "AWS_DEFAULT_PROFILE", "AWS_PROFILE"
    ),
    "another endpoint": Unfit(
        _make_app_with_variable(ENDPOINT_VARIABLE, "http://169.254.170.23/v1/credentials"),
        "169.254.170.23",
        "FULL_URI to another endpoint",
    ),
    "an endpoint from a ConfigMap": Unfit(
        _make_app_with_value_from(ENDPOINT_VARIABLE), "a valueFrom source", "FULL_URI to another endpoint"
    ),
    "an endpoint's token file from a ConfigMap": Unfit(
        _make_app_with_value_from("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"),
        "a valueFrom source",
        "TOKEN_FILE to another file",
    ),
    "a pod that runs as root": Unfit(_make_pod(securityContext={"runAsUser": 0}), "runAsUser: 0", "runAsUser: 0"),
    "another endpoint's token file": Unfit(
        _make_app_with_variable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "/x"),
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE to /x",
        "TOKEN_FILE to another file",
    ),
}
"""By the fault of each. No pod has a second fault."""

FIT = {
    "empty variables": _make_app(
        env=[
            {"name": "AWS_WEB_IDENTITY_TOKEN_FILE"},
            {"name": "AWS_ACCESS_KEY_ID", "value": ""},
            {"name": "AWS_PROFILE"},
            {"name": "AWS_DEFAULT_PROFILE", "value": ""},
            {"name": "AWS_ROLE_ARN", "value": ""},
        ]
    ),
    "a profile in the broker's config file": _make_app(
        env=[{"name": "AWS_PROFILE", "value": "p"}, {"name": "AWS_CONFIG_FILE", "value": "/var/run/aws/config"}]
    ),
    "a profile in the broker's credentials file": _make_app(
        env=[
            {"name": "AWS_DEFAULT_PROFILE", "value": "p"},
            {"name": "AWS_SHARED_CREDENTIALS_FILE", "value": "/var/run/aws/credentials"},
        ]
    ),
    "one container that runs as root": _make_app(securityContext={"runAsUser": 0}),
    "a pod that runs as another user": _make_pod(securityContext={"runAsUser": 1}),
    "a mount path with a trailing slash": _make_app_with_mount(
        "sts-broker-credentials", "/var/run/aws/", readOnly=True
    ),
    "a part of everything": _make_pod(
        volumes=[
            {"name": "data", "emptyDir": {}},
            {"name": "sts-broker-credentials", "emptyDir": {"medium": "Memory"}},
            {"name": "sts-broker-token", "projected": {"sources": [_SOURCE]}},
            {"name": "sts-broker-profiles", "configMap": {"name": "c"}},
        ],
        containers=[
            {
                "name": "app",
                "image": "x",
                "env": [{"name": "OWN", "value": "1"}, {"name": "AWS_REGION", "value": "us-east-1"}],
                "volumeMounts": [
                    {"name": "data", "mountPath": "/data"},
                    {"name": "sts-broker-credentials", "mountPath": "/var/run/aws", "readOnly": True},
                ],
                "ports": [{"containerPort": 8080}],
            },
            {"name": "b", "image": "y", "env": [{"name": ENDPOINT_VARIABLE, "value": _ENDPOINT}, {"name": "Z"}]},
            {
                "name": "c",
                "image": "z",
                "env": [
                    {"name": "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "value": "/var/run/aws/endpoint-token"},
                    {"name": "Z"},
                ],
            },
        ],
    ),
}
"""Pods that can take the sidecar, although they resemble those above."""

ROLE = "arn:aws:iam::123456789012:role/app"
ANNOTATIONS = {"sts-broker/role-arn": ROLE, "sts-broker/region": "eu-west-1"}
UNFIT_ANNOTATIONS = {
    "a role that is not an ARN": {**ANNOTATIONS, "sts-broker/role-arn": "app"},
    "an empty role": {**ANNOTATIONS, "sts-broker/role-arn": ""},
    "a missing Region": {"sts-broker/role-arn": ROLE},
    "an invalid Region": {**ANNOTATIONS, "sts-broker/region": "Ireland"},
    "a duration of one minute": {**ANNOTATIONS, "sts-broker/duration-seconds": "60"},
    "a duration below the minimum": {**ANNOTATIONS, "sts-broker/duration-seconds": "899"},
    "a duration above the maximum": {**ANNOTATIONS, "sts-broker/duration-seconds": "43201"},
    "a duration that is not a number": {**ANNOTATIONS, "sts-broker/duration-seconds": "1h"},
    "an audience of 256 characters": {**ANNOTATIONS, "sts-broker/audience": "a" * 256},
    "an empty audience": {**ANNOTATIONS, "sts-broker/audience": ""},
    "a profile without a ConfigMap": {**ANNOTATIONS, "sts-broker/profile": "p"},
    "an invalid profile name": {**ANNOTATIONS, "sts-broker/profile": "a/b", "sts-broker/config-map": "c"},
    "an invalid ConfigMap name": {**ANNOTATIONS, "sts-broker/config-map": "A_b"},
    "a ConfigMap name of 254 characters": {**ANNOTATIONS, "sts-broker/config-map": "c" * 254},
    "an unknown annotation": {**ANNOTATIONS, "sts-broker/role_arn": ROLE},
    "only an unknown annotation": {"sts-broker/role_arn": ROLE},
    "only a Region": {"sts-broker/region": "eu-west-1"},
}
"""Annotations that inject and the policy refuse by name."""
FIT_ANNOTATIONS = {
    "the shortest duration": {**ANNOTATIONS, "sts-broker/duration-seconds": "900"},
    "the longest duration": {**ANNOTATIONS, "sts-broker/duration-seconds": "43200"},
    "an audience of 255 characters": {**ANNOTATIONS, "sts-broker/audience": "a" * 255},
    "a ConfigMap name of 253 characters": {**ANNOTATIONS, "sts-broker/config-map": "c" * 253},
    "a profile of 64 characters": {
        **ANNOTATIONS,
        "sts-broker/config-map": "c.0-d",
        "sts-broker/profile": "9" + "-" * 63,
    },
    "the default profile": {**ANNOTATIONS, "sts-broker/profile": "default"},
    "another partition": {
        "sts-broker/role-arn": "arn:aws-us-gov:iam::123456789012:role/path/app+=,.@_-",
        "sts-broker/region": "us-gov-west-9",
    },
    "another annotation": {**ANNOTATIONS, "other": "x"},
    "only a ConfigMap and a Region": {"sts-broker/config-map": "9c.c9", "sts-broker/region": "eu-west-1"},
}
