"""What an API server does with the policies of deploy/admission when a pod is created: CEL by Google's own cel-cpp.

What stands in for the API server's own parts, and how it differs:

- `Object.a.b{…}` and `JSONPatch{…}` are types of Kubernetes' that cel-cpp does not know. They are rewritten to maps
  with their type's name in `TYPE`; afterwards the names are checked as the API server checks them (each must be the
  path of its field), lists must be of one type (Kubernetes' compiler demands it), and the patch is applied.
- `object` is of type dyn, as it is there; an absent field is an error unless `has()` asked for it.
- Costs are not counted. Admission plugins before the policies, and defaulting, are the tests' business.
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

cel = pytest.importorskip("cel_expr_python.cel", reason="SKIPPED: there is no cel-expr-python for this Python")

TYPE = "__type__"
_CONSTRUCTED = re.compile(r"\b((?:Object(?:\.\w+)*)|JSONPatch)\{")
_FIELD = re.compile(r"([{,]\s*)([A-Za-z_]\w*):")
_TEXT = re.compile(r"'[^']*'|//[^\n]*")


class Refused(Exception):
    """The API server does not create the pod; the messages say why."""

    def __init__(self, *messages: str) -> None:
        super().__init__("; ".join(messages))
        self.messages = messages


def admission() -> list[Document]:
    """Return the policies and their bindings."""
    files = ("injection.yaml", "validation.yaml")
    return [each for file in files for each in yaml.safe_load_all((DEPLOY / "admission" / file).read_text())]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ApiServer:
    """Creates pods under these policies and bindings."""

    documents: list[Document]

    def create(self, pod: Document, *, labels: dict[str, str] | None = None) -> Document:
        """Return the pod as it is stored, in a namespace with these labels. Raises Refused."""
        labels = {"sts-broker/injection": "enabled"} if labels is None else labels
        pod = self.mutated(pod, labels)
        messages = [
            validation["message"]
            for policy in self._bound("ValidatingAdmissionPolicy", pod, labels)
            for validation in policy["spec"]["validations"]
            if not _evaluated(validation["expression"], pod, _Variables(policy, pod))
        ]
        if messages:
            raise Refused(*messages)
        return pod

    def mutated(self, pod: Document, labels: dict[str, str]) -> Document:
        """Return the pod as the mutating policies leave it."""
        for policy in self._bound("MutatingAdmissionPolicy", pod, labels):
            for mutation in policy["spec"]["mutations"]:
                assert mutation["patchType"] == "JSONPatch"
                patch = _evaluated(mutation["jsonPatch"]["expression"], pod, _Variables(policy, pod))
                pod = _applied(pod, patch)
        return pod

    def _bound(self, kind: str, pod: Document, labels: dict[str, str]) -> list[Document]:
        """Return the policies that a binding brings to this namespace, and whose conditions the pod meets."""
        policies = {each["metadata"]["name"]: each for each in self.documents if each["kind"] == kind}
        bound = []
        for binding in (each["spec"] for each in self.documents if each["kind"] == f"{kind}Binding"):
            policy = policies[binding["policyName"]]
            (rule,) = policy["spec"]["matchConstraints"]["resourceRules"]
            assert rule == {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
            wanted = binding["matchResources"]["namespaceSelector"]["matchLabels"]
            conditions = policy["spec"]["matchConditions"]
            results = [_evaluated(each["expression"], pod, {}) for each in conditions]  # all: none may be an error
            if wanted.items() <= labels.items() and all(results):
                bound.append(policy)
        return bound


class _Variables(dict[str, Any]):
    """The variables of a policy, each with those before it."""

    def __init__(self, policy: Document, pod: Document) -> None:
        super().__init__()
        for variable in policy["spec"].get("variables", ()):
            self[variable["name"]] = _evaluated(variable["expression"], pod, self)


@cache
def _compiled(expression: str) -> Any:  # noqa: ANN401 - the library's own
    environment = cel.NewEnv(variables={"object": cel.Type.DYN, "variables": cel.Type.DYN})
    return environment.compile(_in_plain_cel(expression))


def _in_plain_cel(expression: str) -> str:
    """Rewrite the construction of Kubernetes' types to that of maps; texts and comments are left alone."""
    kept: list[str] = []

    def keep(match: re.Match[str]) -> str:
        kept.append(match[0])
        return f"'{len(kept) - 1}'" if match[0].startswith("'") else ""

    plain = _TEXT.sub(keep, expression)
    plain = _FIELD.sub(r'\1"\2":', plain)
    plain = _CONSTRUCTED.sub(rf'{{"{TYPE}": "\1", ', plain)
    return re.sub(r"'(\d+)'", lambda match: kept[int(match[1])], plain)


def _evaluated(expression: str, pod: Document, variables: dict[str, Any]) -> Any:  # noqa: ANN401 - whatever CEL gives
    result = _compiled(expression).eval(data={"object": pod, "variables": dict(variables)})
    assert result.type() != cel.Type.ERROR, f"{result.value()} in {expression}"
    return result.plain_value()


def _applied(pod: Document, patch: list[Document]) -> Document:
    """Return the pod with a JSON Patch of additions (RFC 6902, 4.1)."""
    pod = json.loads(json.dumps(pod))  # nothing in it is shared
    for operation in patch:
        assert operation.keys() == {TYPE, "op", "path", "value"}
        assert (operation[TYPE], operation["op"]) == ("JSONPatch", "add")
        value = operation["value"]
        if isinstance(value, dict):
            assert value[TYPE] == "Object" + re.sub(r"/(?:\d+|-)(?=/|$)", "", operation["path"]).replace("/", ".")
        value = _plain(value, value[TYPE] if isinstance(value, dict) else "")
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


def _plain(value: Any, type_name: str) -> Any:  # noqa: ANN401 - any JSON
    """Return a value without type names, each of which must be the path of its field."""
    if isinstance(value, list):
        assert len({item.get(TYPE) if isinstance(item, dict) else type(item) for item in value}) <= 1
        return [_plain(item, type_name) for item in value]
    if isinstance(value, dict):
        assert value.get(TYPE, type_name) == type_name
        if TYPE not in value:
            assert len({type(item) for item in value.values()}) <= 1, "a map literal has values of one type"
        return {key: _plain(item, f"{type_name}.{key}") for key, item in value.items() if key != TYPE}
    return value
