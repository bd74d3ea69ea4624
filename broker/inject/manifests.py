"""Finds the pods in Kubernetes manifests: which kinds have one, where it stands in them, and what to call each.

Knows workloads of Kubernetes' own groups, and `kind: List`; all else has no pod that it knows of.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import yaml

from broker.inject.yaml_text import Unchangeable, child, entry, line_of, value

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
KINDS: Final = tuple(kind for _, kind in _POD_BY_KIND)
_BEGIN = re.compile(r"^(---)(?=[ \t\r\n]|\Z)|^\.\.\.(?=[ \t\r\n]).*\n", re.MULTILINE)
"""Documents begin with `---`, and after `...`."""
_ONLY_DIRECTIVES = re.compile(r"(?:[ \t]*(?:#.*)?\r?\n|%.*\r?\n)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What has a pod: its name for people, annotations, and the pod's spec, as nodes and as a value.

    `annotations` are the pod's, `outer_annotations` those of what makes the pod, which never reach it.
    """

    name: str
    annotations: dict[str, Any]
    outer_annotations: dict[str, Any]
    spec_key: yaml.Node
    spec_node: yaml.Node
    spec: dict[str, Any]


def split(text: str) -> Iterator[str]:
    """Yield the documents of a stream as they stand; joined, they are the stream. No document ends within a scalar."""
    start = 0
    for begin in (match.end() - len(match[1] or "") for match in _BEGIN.finditer(text)):
        if begin > start and not _ONLY_DIRECTIVES.fullmatch(text[start:begin]):
            yield text[start:begin]
            start = begin
    yield text[start:]


def may_have_pod(text: str) -> bool:
    """Return whether a document names a kind that is known here: a fast look, before it is read in earnest."""
    return re.search(rf"\b({'|'.join(KINDS)}|List)\b", text) is not None


def workloads(root: yaml.Node) -> Iterator[Workload]:
    """Yield what has a pod in one document. Raises Unchangeable."""
    kind = _text(child(root, "kind"))
    if kind == "List" and _text(child(root, "apiVersion")) == "v1":
        items = child(root, "items")
        for item in items.value if isinstance(items, yaml.SequenceNode) else ():
            yield from workloads(item)
        return
    group, _, _ = _text(child(root, "apiVersion")).rpartition("/")
    path = _POD_BY_KIND.get((group, kind))
    if path is None:
        return
    pod = child(root, *path)
    spec_key, spec_node = entry(pod, "spec")
    if spec_key is None or spec_node is None:
        place = ".".join((*path, "spec"))
        raise Unchangeable(f"{_name(root, kind)} has no {place}: write the pod there", line_of(root))
    yield Workload(
        name=_name(root, kind),
        annotations=_annotations(pod),
        outer_annotations=_annotations(root) if path else {},
        spec_key=spec_key,
        spec_node=spec_node,
        spec=_spec(spec_node, _name(root, kind)),
    )


def _annotations(node: yaml.Node | None) -> dict[str, Any]:
    annotations = child(node, "metadata", "annotations")
    return (value(annotations) or {}) if annotations is not None else {}


def _spec(node: yaml.Node, name: str) -> dict[str, Any]:
    """Return the spec of a pod whose lists hold what has a name. Raises Unchangeable."""
    spec = value(node)
    if not isinstance(spec, dict) or not spec.get("containers"):
        raise Unchangeable(f"{name} has no containers: write the pod's spec", line_of(node))
    _check(spec, ("containers", "initContainers", "volumes"), name, node)
    for each in (*spec["containers"], *(spec.get("initContainers") or ())):
        _check(each, ("env", "volumeMounts", "ports"), name, node)
    if not isinstance(spec.get("securityContext") or {}, dict):
        raise Unchangeable(f"{name}: securityContext is no mapping", line_of(node))
    return spec


def _check(part: dict[str, Any], keys: tuple[str, ...], name: str, node: yaml.Node) -> None:
    for key in keys:
        items = part.get(key) or []
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise Unchangeable(f"{name}: {key} is no list of mappings", line_of(node))


def _name(root: yaml.Node, kind: str) -> str:
    metadata = child(root, "metadata")
    name = _text(child(metadata, "name")) or _text(child(metadata, "generateName")) or "without a name"
    namespace = _text(child(metadata, "namespace"))
    return f"{kind} {namespace}/{name}" if namespace else f"{kind} {name}"


def _text(node: yaml.Node | None) -> str:
    return str(node.value) if isinstance(node, yaml.ScalarNode) else ""
