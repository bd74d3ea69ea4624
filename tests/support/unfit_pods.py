"""Pods that cannot take the sidecar, each with what `sts-broker inject` and the admission policy say of it."""

from __future__ import annotations

from typing import Any, NamedTuple

_ENDPOINT = "http://127.0.0.1:9911/v1/credentials"
ENDPOINT_VARIABLE = "AWS_CONTAINER_CREDENTIALS_FULL_URI"


class Unfit(NamedTuple):
    """The spec of a pod, and a part of what is said of it."""

    spec: dict[str, Any]
    told_by_inject: str
    told_by_policy: str


def _pod(**spec: Any) -> dict[str, Any]:  # noqa: ANN401 - Kubernetes' own
    return {"containers": [{"name": "app", "image": "x"}], **spec}


def _app(**more: Any) -> dict[str, Any]:  # noqa: ANN401 - likewise
    return _pod(containers=[{"name": "app", "image": "x", **more}])


def _mounting(name: str, path: str, **more: str) -> dict[str, Any]:
    return _app(volumeMounts=[{"name": name, "mountPath": path, **more}])


def _having(name: str, value: str) -> dict[str, Any]:
    return _app(env=[{"name": name, "value": value}])


def _from_elsewhere(name: str) -> dict[str, Any]:
    return _app(env=[_of_config_map(name)])


def _of_config_map(name: str) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}}


_MOUNTS = [{"name": "data", "mountPath": "/data"}]
_SOURCE = {"serviceAccountToken": {"path": "token", "audience": "sts.amazonaws.com"}}


def _token(**changes: str) -> dict[str, Any]:
    source = {"serviceAccountToken": {"path": "token", **changes}}
    return _pod(volumes=[{"name": "sts-broker-token", "projected": {"sources": [source]}}])


_NAMED = "container named sts-broker"
UNFIT = {
    "a container named broker": Unfit(
        _pod(containers=[{"name": "app", "image": "x"}, {"name": "sts-broker", "image": "y"}]),
        _NAMED,
        "is named sts-broker",
    ),
    "an init container named broker": Unfit(
        _pod(initContainers=[{"name": "sts-broker", "image": "y"}]), _NAMED, "is named sts-broker"
    ),
    "a broker of which no port is named": Unfit(
        _pod(initContainers=[{"name": "sts-broker", "image": "y", "ports": [{"containerPort": 9912}]}]),
        _NAMED,
        "is named sts-broker",
    ),
    "another volume sts-broker-credentials": Unfit(
        _pod(volumes=[{"name": "sts-broker-credentials", "secret": {"secretName": "s"}}]),
        "volume sts-broker-credentials is no emptyDir",
        "volume named sts-broker-credentials",
    ),
    "another volume sts-broker-token": Unfit(
        _pod(volumes=[{"name": "sts-broker-token", "emptyDir": {}}]),
        "volume sts-broker-token is no projected",
        "sts-broker-token",
    ),
    "an aws on a disk": Unfit(
        _pod(volumes=[{"name": "sts-broker-credentials", "emptyDir": {}}]),
        "another than",
        "volume named sts-broker-credentials",
    ),
    "a token of another audience": Unfit(_token(audience="other"), "another than", "sts-broker-token"),
    "a token for the API": Unfit(_token(), "another than", "sts-broker-token"),
    "a token at another path": Unfit(
        _token(audience="sts.amazonaws.com", path="t"), "another than", "sts-broker-token"
    ),
    "two sources": Unfit(
        _pod(volumes=[{"name": "sts-broker-token", "projected": {"sources": [_SOURCE, {"secret": {"name": "s"}}]}}]),
        "another than",
        "sts-broker-token",
    ),
    "a source of another kind": Unfit(
        _pod(volumes=[{"name": "sts-broker-token", "projected": {"sources": [{"secret": {"name": "s"}}]}}]),
        "another than",
        "sts-broker-token",
    ),
    "no sources": Unfit(
        _pod(volumes=[{"name": "sts-broker-token", "projected": {}}]), "another than", "sts-broker-token"
    ),
    "port 9910": Unfit(_app(ports=[{"containerPort": 9910}]), "port 9910", "ports 9910"),
    "port 9911": Unfit(_app(ports=[{"containerPort": 80}, {"containerPort": 9911}]), "port 9911", "and 9911"),
    "a port of one of two": Unfit(
        _pod(containers=[{"name": "a", "image": "x"}, {"name": "b", "image": "y", "ports": [{"containerPort": 9910}]}]),
        "container b has port 9910",
        "ports 9910",
    ),
    "a port of an init container": Unfit(
        _pod(initContainers=[{"name": "m", "image": "m", "ports": [{"containerPort": 9911}]}]), "port 9911", "9911"
    ),
    "subPath": Unfit(_mounting("sts-broker-credentials", "/var/run/aws", subPath="config"), "by subPath", "by subPath"),
    "subPathExpr": Unfit(
        _mounting("sts-broker-credentials", "/var/run/aws", subPathExpr="$(X)"), "by subPath", "by subPath"
    ),
    "aws elsewhere": Unfit(
        _mounting("sts-broker-credentials", "/aws"), "its place is /var/run/aws", "not at /var/run/aws"
    ),
    "another volume in its place": Unfit(_mounting("b", "/var/run/aws/"), "move it", "another volume at /var/run/aws"),
    "another volume exactly there": Unfit(_mounting("b", "/var/run/aws"), "move it", "another volume at /var/run/aws"),
    "the token in the app": Unfit(_mounting("sts-broker-token", "/t"), "the broker's token", "the broker's alone"),
    "the token in one of two": Unfit(
        _pod(
            containers=[
                {"name": "a", "image": "x", "volumeMounts": _MOUNTS},
                *_mounting("sts-broker-token", "/t")["containers"],
            ]
        ),
        "the broker's token",
        "the broker's alone",
    ),
    "one mount of two": Unfit(
        _app(volumeMounts=[*_MOUNTS, {"name": "sts-broker-credentials", "mountPath": "/var/run/aws", "subPath": "x"}]),
        "by subPath",
        "by subPath",
    ),
    "a key": Unfit(
        _app(env=[{"name": "AWS_ACCESS_KEY_ID", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]),
        "AWS_ACCESS_KEY_ID",
        "has keys",
    ),
    "another key": Unfit(_having("AWS_SECRET_ACCESS_KEY", "x"), "AWS_SECRET_ACCESS_KEY", "has keys"),
    "a session's token": Unfit(_having("AWS_SESSION_TOKEN", "x"), "AWS_SESSION_TOKEN", "has keys"),
    "EKS's variable": Unfit(
        _having("AWS_WEB_IDENTITY_TOKEN_FILE", "/var/run/secrets/eks.amazonaws.com/serviceaccount/token"),
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
    ),
    "a relative URI": Unfit(_having("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/x"), "RELATIVE_URI", "RELATIVE_URI"),
    "a profile": Unfit(_having("AWS_PROFILE", "p"), "AWS_PROFILE", "AWS_PROFILE"),
    "a profile from elsewhere": Unfit(_from_elsewhere("AWS_PROFILE"), "AWS_PROFILE", "AWS_PROFILE"),
    "a profile of a file from elsewhere": Unfit(
        _app(env=[*_having("AWS_PROFILE", "p")["containers"][0]["env"], _of_config_map("AWS_CONFIG_FILE")]),
        "AWS_PROFILE",
        "AWS_PROFILE",
    ),
    "another profile variable": Unfit(_having("AWS_DEFAULT_PROFILE", "p"), "AWS_DEFAULT_PROFILE", "AWS_PROFILE"),
    "another endpoint": Unfit(
        _having(ENDPOINT_VARIABLE, "http://169.254.170.23/v1/credentials"), "169.254.170.23", "for another endpoint"
    ),
    "an endpoint from elsewhere": Unfit(_from_elsewhere(ENDPOINT_VARIABLE), "from elsewhere", "for another endpoint"),
    "an endpoint's token from elsewhere": Unfit(
        _from_elsewhere("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"), "from elsewhere", "TOKEN_FILE for another endpoint"
    ),
    "root": Unfit(_pod(securityContext={"runAsUser": 0}), "runAsUser: 0", "runAsUser: 0"),
    "another endpoint's token": Unfit(
        _having("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "/x"),
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE /x",
        "TOKEN_FILE for another endpoint",
    ),
}
"""Each by what is wrong with it, and nothing else is."""

FIT = {
    "variables that are nothing": _app(
        env=[
            {"name": "AWS_WEB_IDENTITY_TOKEN_FILE"},
            {"name": "AWS_ACCESS_KEY_ID", "value": ""},
            {"name": "AWS_PROFILE"},
            {"name": "AWS_DEFAULT_PROFILE", "value": ""},
            {"name": "AWS_ROLE_ARN", "value": ""},
        ]
    ),
    "a profile of the broker's file": _app(
        env=[{"name": "AWS_PROFILE", "value": "p"}, {"name": "AWS_CONFIG_FILE", "value": "/var/run/aws/config"}]
    ),
    "a profile of the broker's other file": _app(
        env=[
            {"name": "AWS_DEFAULT_PROFILE", "value": "p"},
            {"name": "AWS_SHARED_CREDENTIALS_FILE", "value": "/var/run/aws/credentials"},
        ]
    ),
    "root in its own container": _app(securityContext={"runAsUser": 0}),
    "another user": _pod(securityContext={"runAsUser": 1}),
    "a mount with a slash": _mounting("sts-broker-credentials", "/var/run/aws/", readOnly="true"),
    "some of each": _pod(
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
                    {"name": "sts-broker-credentials", "mountPath": "/var/run/aws"},
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
"""Pods that can take it, although they look a little like those above."""

ROLE = "arn:aws:iam::123456789012:role/app"
ANNOTATIONS = {"sts-broker/role-arn": ROLE, "sts-broker/region": "eu-west-1"}
UNFIT_ANNOTATIONS = {
    "no ARN of a role": {**ANNOTATIONS, "sts-broker/role-arn": "app"},
    "an empty role": {**ANNOTATIONS, "sts-broker/role-arn": ""},
    "no Region": {"sts-broker/role-arn": ROLE},
    "no name of a Region": {**ANNOTATIONS, "sts-broker/region": "Ireland"},
    "far too short": {**ANNOTATIONS, "sts-broker/duration-seconds": "60"},
    "too short": {**ANNOTATIONS, "sts-broker/duration-seconds": "899"},
    "too long": {**ANNOTATIONS, "sts-broker/duration-seconds": "43201"},
    "no number": {**ANNOTATIONS, "sts-broker/duration-seconds": "1h"},
    "an audience of 256 characters": {**ANNOTATIONS, "sts-broker/audience": "a" * 256},
    "an empty audience": {**ANNOTATIONS, "sts-broker/audience": ""},
    "a profile of no file": {**ANNOTATIONS, "sts-broker/profile": "p"},
    "no name of a profile": {**ANNOTATIONS, "sts-broker/profile": "a/b", "sts-broker/config-map": "c"},
    "no name of a ConfigMap": {**ANNOTATIONS, "sts-broker/config-map": "A_b"},
    "a name of a ConfigMap of 254 characters": {**ANNOTATIONS, "sts-broker/config-map": "c" * 254},
    "an annotation that is not known": {**ANNOTATIONS, "sts-broker/role_arn": ROLE},
    "only one that is not known": {"sts-broker/role_arn": ROLE},
    "nothing but a Region": {"sts-broker/region": "eu-west-1"},
}
"""Annotations that both refuse, naming the annotation."""
FIT_ANNOTATIONS = {
    "the shortest": {**ANNOTATIONS, "sts-broker/duration-seconds": "900"},
    "the longest": {**ANNOTATIONS, "sts-broker/duration-seconds": "43200"},
    "an audience of 255 characters": {**ANNOTATIONS, "sts-broker/audience": "a" * 255},
    "a name of a ConfigMap of 253 characters": {**ANNOTATIONS, "sts-broker/config-map": "c" * 253},
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
    "others beside them": {**ANNOTATIONS, "other": "x"},
    "profiles alone": {"sts-broker/config-map": "9c.c9", "sts-broker/region": "eu-west-1"},
}
