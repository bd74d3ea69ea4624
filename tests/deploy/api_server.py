"""A fake API server that applies the policies of deploy/admission to new pods. Google's cel-cpp evaluates the CEL.

Where it differs from a real API server:

- cel-cpp does not know the Kubernetes types `Object.a.b{…}` and `JSONPatch{…}`. They are rewritten to maps that have
  the name of the type in `TYPE`. After the evaluation, the names are checked as the API server checks them (each must
  be the path of its field), lists must have items of one type (as Kubernetes' compiler requires), and the patch is
  applied.
- `object` has type dyn, as in Kubernetes: an absent field is an error unless `has()` checks it first.
- cel-cpp has no library for quantities. Here, `quantity()` returns a number, and `compareTo()` compares two of them.
- Costs are not counted. Of the other admission plugins, there is only the one that mounts the Kubernetes API token, and
  of the API's validation only what an added sidecar can violate. Defaulting is left out.

The order is that of kube-apiserver 1.36: the mutating policies, the API's validation, and the validating policies.
"""

from __future__ import annotations

import copy
import json
import re
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.deploy.rendering import DEPLOY, Document

if TYPE_CHECKING:
    from collections.abc import Iterator

cel = pytest.importorskip("cel_expr_python.cel", reason="SKIPPED: cel-expr-python is not available for this Python")

TYPE = "__type__"
_CONSTRUCTED = re.compile(r"\b((?:Object(?:\.\w+)*)|JSONPatch)\{")
_FIELD = re.compile(r"([{,]\s*)([A-Za-z_]\w*):")
_TEXT = re.compile(r"'[^']*'|//[^\n]*")
API_TOKEN_DIRECTORY = "/var/run/secrets/kubernetes.io/serviceaccount"
_UNITS = {"m": Decimal("0.001"), "": Decimal(1), "k": Decimal(10) ** 3}
_UNITS |= {unit: Decimal(1000) ** (power + 2) for power, unit in enumerate("MGTPE")}
_UNITS |= {f"{unit}i": Decimal(1024) ** (power + 1) for power, unit in enumerate("KMGTPE")}
_QUANTITY = re.compile(r"([+-]?[0-9]+(?:\.[0-9]*)?)([a-zA-Z]*)")
_LINUX_FIELDS_OF_PODS = ("fsGroup", "fsGroupChangePolicy", "runAsUser", "runAsGroup", "seccompProfile")
_LINUX_FIELDS_OF_CONTAINERS = (
    *("allowPrivilegeEscalation", "capabilities", "privileged", "readOnlyRootFilesystem"),
    *("runAsUser", "runAsGroup", "seccompProfile"),
)


class Refused(Exception):
    """The API server refuses to create the pod. `messages` has the reasons."""

    def __init__(self, *messages: str) -> None:
        super().__init__("; ".join(messages))
        self.messages = messages


def read_policies() -> list[Document]:
    """Return the policies and their bindings."""
    files = ("injection.yaml", "validation.yaml")
    return [each for file in files for each in yaml.safe_load_all((DEPLOY / "admission" / file).read_text())]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ApiServer:
    """An API server with these policies and bindings.

    `mounts_api_token` is true if the pods' service account has `automountServiceAccountToken: true`.
    """

    documents: list[Document]
    mounts_api_token: bool = False

    def create(self, pod: Document, *, labels: dict[str, str] | None = None) -> Document:
        """Return the pod as it is stored. `labels` are those of its namespace. Raises Refused."""
        labels = {"sts-broker/injection": "enabled"} if labels is None else labels
        if self.mounts_api_token:
            pod = _mount_api_token(pod)
        pod = self.mutate(pod, labels)
        if self.mounts_api_token:  # built-in plugins run again after a policy has changed the pod
            pod = _mount_api_token(pod)
        if faults := list(find_api_faults(pod)):
            raise Refused(*faults)
        messages = []
        for policy in self._find_policies("ValidatingAdmissionPolicy", pod, labels):
            variables = _Variables(policy, pod)
            messages += [
                validation["message"]
                for validation in policy["spec"]["validations"]
                if not _evaluate(validation["expression"], pod, variables)
            ]
        if messages:
            raise Refused(*messages)
        return pod

    def mutate(self, pod: Document, labels: dict[str, str]) -> Document:
        """Return the pod after the mutating policies."""
        for policy in self._find_policies("MutatingAdmissionPolicy", pod, labels):
            for mutation in policy["spec"]["mutations"]:
                assert mutation["patchType"] == "JSONPatch"
                patch = _evaluate(mutation["jsonPatch"]["expression"], pod, _Variables(policy, pod))
                pod = _apply_patch(pod, patch)
        return pod

    def _find_policies(self, kind: str, pod: Document, labels: dict[str, str]) -> list[Document]:
        """Return the policies that are bound to this namespace and whose match conditions the pod meets."""
        policies = {each["metadata"]["name"]: each for each in self.documents if each["kind"] == kind}
        bound = []
        for binding in (each["spec"] for each in self.documents if each["kind"] == f"{kind}Binding"):
            policy = policies[binding["policyName"]]
            (rule,) = policy["spec"]["matchConstraints"]["resourceRules"]
            assert rule == {
                "apiGroups": [""],
                "apiVersions": ["v1"],
                "operations": ["CREATE"],
                "resources": ["pods"],
                "scope": "*",
            }
            selector = binding["matchResources"]["namespaceSelector"]["matchLabels"]
            conditions = policy["spec"]["matchConditions"]
            results = [
                _evaluate(each["expression"], pod, {}) for each in conditions
            ]  # evaluates all, because none may be an error
            if selector.items() <= labels.items() and all(results):
                bound.append(policy)
        return bound


def find_api_faults(pod: Document) -> Iterator[str]:
    """Yield the messages with which the API server refuses a pod that a mutation has made invalid.

    Source: kubernetes pkg/apis/core/validation/validation.go (ValidateVolumeMounts, validateContainers,
    validateWindows).
    """
    spec = pod["spec"]
    containers = [*spec.get("initContainers", ()), *spec["containers"]]
    for key, items in (("volumes", spec.get("volumes", ())), ("containers", containers)):
        names = Counter(each["name"] for each in items)
        yield from (f"spec.{key}.name: Duplicate value: {name}" for name, count in names.items() if count > 1)
    for container in containers:
        paths = Counter(mount["mountPath"] for mount in container.get("volumeMounts", ()))
        yield from (f"mountPath: Invalid value: {path}: must be unique" for path, count in paths.items() if count > 1)
    if spec.get("os", {}).get("name") == "windows":
        fields = [(spec, _LINUX_FIELDS_OF_PODS), *((each, _LINUX_FIELDS_OF_CONTAINERS) for each in containers)]
        for owner, fields_of_linux in fields:
            found = owner.get("securityContext", {}).keys() & set(fields_of_linux)
            yield from (f"securityContext.{name}: Forbidden: cannot be set for a windows pod" for name in sorted(found))


def _mount_api_token(pod: Document) -> Document:
    """Return the pod after the ServiceAccount admission plugin: an existing mount at the path prevents its own.

    Source: kubernetes plugin/pkg/admission/serviceaccount/admission.go (mountServiceAccountToken).
    """
    pod = copy.deepcopy(pod)
    spec = pod["spec"]
    needs_volume = False
    for container in (*spec.get("initContainers", ()), *spec["containers"]):
        mounts = container.setdefault("volumeMounts", [])
        if not any(mount["mountPath"] == API_TOKEN_DIRECTORY for mount in mounts):
            mounts.append({"name": "kube-api-access-x", "mountPath": API_TOKEN_DIRECTORY, "readOnly": True})
            needs_volume = True
    volumes = spec.setdefault("volumes", [])
    if needs_volume and not any(volume["name"] == "kube-api-access-x" for volume in volumes):
        volumes.append({"name": "kube-api-access-x", "projected": {"sources": []}})
    return pod


class _Variables(dict[str, Any]):
    """The variables of a policy. Each expression can use the variables before it."""

    def __init__(self, policy: Document, pod: Document) -> None:
        super().__init__()
        for variable in policy["spec"].get("variables", ()):
            self[variable["name"]] = _evaluate(variable["expression"], pod, self)


@cache
def _compile(expression: str) -> Any:  # noqa: ANN401 - a type of cel-cpp
    number, text = cel.Type.DOUBLE, cel.Type.STRING
    functions = [
        cel.FunctionDecl("quantity", [cel.Overload("quantity", number, [text], impl=_parse_quantity)]),
        cel.FunctionDecl(
            "compareTo",
            [
                cel.Overload(
                    "compare", cel.Type.INT, [number, number], is_member=True, impl=lambda a, b: (a > b) - (a < b)
                )
            ],
        ),
    ]
    environment = cel.NewEnv(variables={"object": cel.Type.DYN, "variables": cel.Type.DYN}, functions=functions)
    return environment.compile(_rewrite_types(expression))


def _parse_quantity(text: str) -> float:
    parts = _QUANTITY.fullmatch(text)
    if parts is None or parts[2] not in _UNITS:
        raise ValueError(f"{text!r} is not a quantity")
    return float(Decimal(parts[1]) * _UNITS[parts[2]])


def _rewrite_types(expression: str) -> str:
    """Return the expression with Kubernetes types rewritten to maps. String literals are kept; comments are removed."""
    kept: list[str] = []

    def keep(match: re.Match[str]) -> str:
        kept.append(match[0])
        return f"'{len(kept) - 1}'" if match[0].startswith("'") else ""

    plain = _TEXT.sub(keep, expression)
    plain = _FIELD.sub(r'\1"\2":', plain)
    plain = _CONSTRUCTED.sub(rf'{{"{TYPE}": "\1", ', plain)
    return re.sub(r"'(\d+)'", lambda match: kept[int(match[1])], plain)


def _evaluate(expression: str, pod: Document, variables: dict[str, Any]) -> Any:  # noqa: ANN401 - any CEL value
    result = _compile(expression).eval(data={"object": pod, "variables": dict(variables)})
    assert result.type() != cel.Type.ERROR, f"{result.value()} in {expression}"
    return result.plain_value()


def _apply_patch(pod: Document, patch: list[Document]) -> Document:
    """Return the pod with a JSON Patch applied that has only additions (RFC 6902, section 4.1)."""
    pod = json.loads(json.dumps(pod))  # a deep copy
    for operation in patch:
        assert operation.keys() == {TYPE, "op", "path", "value"}
        assert (operation[TYPE], operation["op"]) == ("JSONPatch", "add")
        value = operation["value"]
        if isinstance(value, dict):
            assert value[TYPE] == "Object" + re.sub(r"/(?:\d+|-)(?=/|$)", "", operation["path"]).replace("/", ".")
        value = _remove_type_names(value, value[TYPE] if isinstance(value, dict) else "")
        *path, last = operation["path"].removeprefix("/").split("/")
        target: Any = pod
        for part in path:
            target = target[int(part)] if isinstance(target, list) else target[part]
        if isinstance(target, list):
            index = len(target) if last == "-" else int(last)
            assert index <= len(target)
            target.insert(index, value)
        else:
            target[last] = value
    return pod


def _remove_type_names(value: Any, type_name: str) -> Any:  # noqa: ANN401 - any JSON
    """Return a value without type names. Each of them must be the path of its field."""
    if isinstance(value, list):
        assert len({item.get(TYPE) if isinstance(item, dict) else type(item) for item in value}) <= 1
        return [_remove_type_names(item, type_name) for item in value]
    if isinstance(value, dict):
        assert value.get(TYPE, type_name) == type_name
        if TYPE not in value:
            assert len({type(item) for item in value.values()}) <= 1, "the values of a map literal have one type"
        return {key: _remove_type_names(item, f"{type_name}.{key}") for key, item in value.items() if key != TYPE}
    return value
