"""A fake API server that applies the policies of deploy/admission to new pods. Google's cel-cpp evaluates the CEL.

Where it differs from a real API server:

- cel-cpp does not know the Kubernetes types `Object.a.b{…}` and `JSONPatch{…}`. They are rewritten to maps that have
  the name of the type in `TYPE`. After the evaluation, the names are checked as the API server checks them (each must
  be the path of its field), lists must have items of one type (as Kubernetes' compiler requires), and the patch is
  applied.
- `object` has type dyn, as in Kubernetes: an absent field is an error unless `has()` checks it first.
- Costs are not counted. Other admission plugins and defaulting are left out.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
import yaml

from tests.deploy.rendering import DEPLOY, Document

cel = pytest.importorskip("cel_expr_python.cel", reason="SKIPPED: cel-expr-python is not available for this Python")

TYPE = "__type__"
_CONSTRUCTED = re.compile(r"\b((?:Object(?:\.\w+)*)|JSONPatch)\{")
_FIELD = re.compile(r"([{,]\s*)([A-Za-z_]\w*):")
_TEXT = re.compile(r"'[^']*'|//[^\n]*")


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
    """An API server with these policies and bindings."""

    documents: list[Document]

    def create(self, pod: Document, *, labels: dict[str, str] | None = None) -> Document:
        """Return the pod as it is stored. `labels` are those of its namespace. Raises Refused."""
        labels = {"sts-broker/injection": "enabled"} if labels is None else labels
        pod = self.mutate(pod, labels)
        messages = [
            validation["message"]
            for policy in self._find_policies("ValidatingAdmissionPolicy", pod, labels)
            for validation in policy["spec"]["validations"]
            if not _evaluate(validation["expression"], pod, _Variables(policy, pod))
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
            assert rule == {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
            selector = binding["matchResources"]["namespaceSelector"]["matchLabels"]
            conditions = policy["spec"]["matchConditions"]
            results = [
                _evaluate(each["expression"], pod, {}) for each in conditions
            ]  # evaluates all, because none may be an error
            if selector.items() <= labels.items() and all(results):
                bound.append(policy)
        return bound


class _Variables(dict[str, Any]):
    """The variables of a policy. Each expression can use the variables before it."""

    def __init__(self, policy: Document, pod: Document) -> None:
        super().__init__()
        for variable in policy["spec"].get("variables", ()):
            self[variable["name"]] = _evaluate(variable["expression"], pod, self)


@cache
def _compile(expression: str) -> Any:  # noqa: ANN401 - a type of cel-cpp
    environment = cel.NewEnv(variables={"object": cel.Type.DYN, "variables": cel.Type.DYN})
    return environment.compile(_rewrite_types(expression))


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
