"""Find the pods in Kubernetes manifests: which kinds have one, at which path, and how to name each in messages.

Knows the workloads of Kubernetes' own API groups and `kind: List`. Every other document is passed through unread.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import yaml

from broker.inject.yaml_text import UneditableYaml, find_entry, find_node, get_line, read_value

if TYPE_CHECKING:
    from collections.abc import Iterator

_IN_SPEC = ("spec", "template")
_POD_BY_KIND: Final = {
    ("", "Pod"): (),
    ("apps", "Deployment"): _IN_SPEC,
    ("apps", "StatefulSet"): _IN_SPEC,
    ("apps", "DaemonSet"): _IN_SPEC,
    ("apps", "ReplicaSet"): _IN_SPEC,
    ("batch", "Job"): _IN_SPEC,
    ("batch", "CronJob"): ("spec", "jobTemplate", "spec", "template"),
}
"""The path of the pod, or of the pod template, by API group and kind."""
KINDS: Final = tuple(kind for _, kind in _POD_BY_KIND)
_DOCUMENT_START = re.compile(r"^(---)(?=[ \t\r\n]|\Z)|^\.\.\.(?=[ \t\r\n]).*\n", re.MULTILINE)
"""A document begins with `---`, and after `...`."""
_ONLY_DIRECTIVES = re.compile(r"(?:[ \t]*(?:#.*)?\r?\n|%.*\r?\n)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotation:
    """The value of an annotation, and the line of its key, from 1."""

    value: Any
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """A pod, or an object with a pod template.

    `name` identifies it in messages. `annotations` are those of the pod; `outer_annotations` are those of the object
    around the pod template, which its pods do not inherit. `spec` is the value of `spec_node`, the pod's spec.
    """

    name: str
    annotations: dict[str, Annotation]
    outer_annotations: dict[str, Annotation]
    spec_key: yaml.Node
    spec_node: yaml.Node
    spec: dict[str, Any]
    kind: str = ""
    namespace: str = ""
    labels: dict[str, Annotation] = field(default_factory=dict)
    """Those of the pod."""


def split_documents(text: str) -> Iterator[str]:
    """Yield the documents of a YAML stream, unchanged: joined, they are the stream again.

    A document marker cannot be part of a scalar, so no scalar is cut in two.
    """
    start = 0
    for begin in (match.end() - len(match[1] or "") for match in _DOCUMENT_START.finditer(text)):
        if begin > start and not _ONLY_DIRECTIVES.fullmatch(text[start:begin]):
            yield text[start:begin]
            start = begin
    yield text[start:]


def can_have_pod(text: str) -> bool:
    """Return whether a document mentions a known kind. This is a fast check before the document is composed."""
    return re.search(rf"\b({'|'.join(KINDS)}|List)\b", text) is not None


def find_workloads(root: yaml.Node) -> Iterator[Workload]:
    """Yield the workloads of one document. Raises UneditableYaml."""
    kind = _read_text(find_node(root, "kind"))
    if kind == "List" and _read_text(find_node(root, "apiVersion")) == "v1":
        items = find_node(root, "items")
        for item in items.value if isinstance(items, yaml.SequenceNode) else ():
            yield from find_workloads(item)
        return
    group, _, _ = _read_text(find_node(root, "apiVersion")).rpartition("/")
    path = _POD_BY_KIND.get((group, kind))
    if path is None:
        return
    pod = find_node(root, *path)
    name = _format_name(root, kind)
    spec_key, spec_node = find_entry(pod, "spec")
    if spec_key is None or spec_node is None:
        raise UneditableYaml(f"{name} has no {'.'.join((*path, 'spec'))}. Write the pod's spec there", get_line(root))
    yield Workload(
        name=name,
        annotations=_read_annotations(pod),
        outer_annotations=_read_annotations(root) if path else {},
        spec_key=spec_key,
        spec_node=spec_node,
        spec=_read_spec(spec_node, name),
        kind=kind,
        namespace=_read_text(find_node(root, "metadata", "namespace")),
        labels=_read_annotations(pod, "labels"),
    )


def _read_annotations(node: yaml.Node | None, kind: str = "annotations") -> dict[str, Annotation]:
    annotations = find_node(node, "metadata", kind)
    values = read_value(annotations) if annotations is not None else None
    if not isinstance(values, dict):
        return {}
    found = {}
    for name, value in values.items():
        key, _ = find_entry(annotations, name)
        assert key is not None, "read_value() has just returned this key"
        found[name] = Annotation(value=value, line=get_line(key))
    return found


def _read_spec(node: yaml.Node, name: str) -> dict[str, Any]:
    """Return a pod's spec whose containers, volumes, variables, mounts and ports are lists of mappings.

    Raises UneditableYaml.
    """
    spec = read_value(node)
    if not isinstance(spec, dict) or not spec.get("containers"):
        raise UneditableYaml(f"{name} has no containers. Write at least one", get_line(node))
    _check_lists(spec, ("containers", "initContainers", "volumes"), name, node)
    for each in (*spec["containers"], *(spec.get("initContainers") or ())):
        _check_lists(each, ("env", "volumeMounts", "ports"), name, node)
    if not isinstance(spec.get("securityContext") or {}, dict):
        raise UneditableYaml(f"{name}: securityContext is not a mapping", get_line(node))
    return spec


def _check_lists(part: dict[str, Any], keys: tuple[str, ...], name: str, node: yaml.Node) -> None:
    for key in keys:
        items = part.get(key) or []
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise UneditableYaml(f"{name}: {key} is not a list of mappings", get_line(node))


def _format_name(root: yaml.Node, kind: str) -> str:
    metadata = find_node(root, "metadata")
    name = _read_text(find_node(metadata, "name")) or _read_text(find_node(metadata, "generateName")) or "(unnamed)"
    namespace = _read_text(find_node(metadata, "namespace"))
    return f"{kind} {namespace}/{name}" if namespace else f"{kind} {name}"


def _read_text(node: yaml.Node | None) -> str:
    return str(node.value) if isinstance(node, yaml.ScalarNode) else ""
