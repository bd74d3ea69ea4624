"""Read the pods of Kubernetes manifests: their specs and their annotations, each with its line.

`pod_templates` finds the pods. Every other document is passed through unread.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from broker.manifests.pod_templates import find_annotations, find_pods, read_kind, read_text
from broker.manifests.yaml_text import UneditableYaml, find_entry, find_node, get_line, read_value, resolve_alias

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import yaml

    from broker.manifests.pod_templates import PodPlace


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
    group: str = ""
    """The API group of the object."""
    kind: str = ""
    namespace: str = ""
    labels: dict[str, Annotation] = field(default_factory=dict)
    """Those of the pod."""


def read_workload(place: PodPlace) -> Workload:
    """Return the workload at a place. Raises UneditableYaml if the pod cannot be read."""
    spec_key, spec_node = find_entry(place.pod, "spec")
    if spec_key is None or spec_node is None:
        missing = ".".join((*place.path, "spec"))
        raise UneditableYaml(f"{place.name} has no {missing}. Write the pod's spec there", get_line(place.owner))
    return Workload(
        name=place.name,
        annotations=_read_annotations(place.pod),
        outer_annotations=_read_annotations(place.owner) if place.path else {},
        spec_key=spec_key,
        spec_node=spec_node,
        spec=_read_spec(spec_node, place.name),
        group=read_kind(place.owner)[0],
        kind=place.kind,
        namespace=place.namespace,
        labels=_read_annotations(place.pod, "labels"),
    )


def find_workloads(root: yaml.Node) -> Iterator[Workload]:
    """Yield the workloads of one document. Raises UneditableYaml."""
    yield from (read_workload(place) for place in find_pods(root))


def find_stray_annotations(root: yaml.Node, places: Iterable[PodPlace], prefix: str) -> dict[int, str]:
    """Return the annotations with a prefix that are neither in a pod's metadata nor in that of the object around it.

    The keys are their lines, from 1.
    """
    read = {
        id(resolve_alias(find_node(node, "metadata", "annotations")))
        for place in places
        for node in (place.pod, place.owner)
    }
    found = find_annotations(root, prefix)
    return {get_line(key): read_text(key) for mapping, key in found if id(mapping) not in read}


def _read_annotations(node: yaml.Node | None, key: str = "annotations") -> dict[str, Annotation]:
    annotations = find_node(node, "metadata", key)
    values = read_value(annotations) if annotations is not None else None
    if not isinstance(values, dict):
        return {}
    found = {}
    for name, value in values.items():
        key_node, _ = find_entry(annotations, name)
        assert key_node is not None, "read_value() has just returned this key"
        found[name] = Annotation(value=value, line=get_line(key_node))
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
    if any(not isinstance(each.get("name", ""), str) or not each.get("name") for each in spec["containers"]):
        found = f"{name}: a container has no name, which Knative allows. Write its name"
        raise UneditableYaml(found, get_line(find_entry(node, "containers")[0] or node))
    return spec


def _check_lists(part: dict[str, Any], keys: tuple[str, ...], name: str, node: yaml.Node) -> None:
    for key in keys:
        items = part.get(key) or []
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise UneditableYaml(f"{name}: {key} is not a list of mappings", get_line(node))
