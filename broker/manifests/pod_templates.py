"""Find the pods and pod templates of a manifest, whatever its kind, and what looks like one but cannot be reached.

Kubernetes' own kinds have their pod at a known path. In every other kind, a pod template is a mapping below the object
itself with a `spec` that has `containers`, at any depth and under any name. An object inside another, such as the items
of a List, is searched as an object of its own.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import yaml

from broker.manifests.yaml_text import find_entry, find_node, get_line, resolve_alias

if TYPE_CHECKING:
    from collections.abc import Iterator

_IN_SPEC = ("spec", "template")
_POD_BY_KIND: Final = {
    ("", "Pod"): (),
    ("", "PodTemplate"): ("template",),
    ("", "ReplicationController"): _IN_SPEC,
    ("apps", "Deployment"): _IN_SPEC,
    ("apps", "StatefulSet"): _IN_SPEC,
    ("apps", "DaemonSet"): _IN_SPEC,
    ("apps", "ReplicaSet"): _IN_SPEC,
    ("batch", "Job"): _IN_SPEC,
    ("batch", "CronJob"): ("spec", "jobTemplate", "spec", "template"),
}
"""The path of the pod, or of the pod template, by API group and kind."""
KINDS: Final = tuple(kind for _, kind in _POD_BY_KIND)
_POLICY_GROUPS: Final = ("kyverno.io", "gatekeeper.sh", "apiextensions.k8s.io")
"""API groups, with those below them, whose objects describe parts of other objects. Their containers run nowhere."""
WARNINGS_BY_GROUP: Final = {
    "serving.knative.dev": (
        "Knative refuses init containers, such as the sidecar, and fsGroup unless its ConfigMap config-features has "
        "kubernetes.podspec-init-containers and kubernetes.podspec-securitycontext set to enabled"
    ),
}
"""What the API of a group requires of pods with the sidecar. Source: https://knative.dev/docs/serving/configuration/feature-flags/"""
_CONTAINER_KEYS: Final = ("containers", "container", "steps")
"""Fields of pods, Argo's templates and Tekton's tasks that have containers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PodPlace:
    """The place of a pod or a pod template.

    `name` identifies it in messages. `owner` is the object that has it, of kind `kind`, and `path` its fields down to
    the pod. `pod` has the pod's `metadata` and `spec`; it is None if an object of a known kind lacks it.
    """

    name: str
    kind: str
    namespace: str
    owner: yaml.Node
    path: tuple[str, ...]
    pod: yaml.Node | None


def find_pods(root: yaml.Node, kind_of_item: tuple[str, str] = ("", "")) -> Iterator[PodPlace]:
    """Yield the pods and pod templates of one object, and of the objects inside it.

    `kind_of_item` is the API group and the kind of an object that lacks them because it is in a typed list.
    """
    group, kind = read_kind(root, kind_of_item)
    path = _POD_BY_KIND.get((group, kind))
    if path is not None:
        pod = find_node(root, *path)
        yield PodPlace(
            name=format_name(root, kind), kind=kind, namespace=read_namespace(root), owner=root, path=path, pod=pod
        )
        return
    is_list = kind.endswith("List")
    kind_of_item = (group, kind.removesuffix("List"))
    for item in iterate_items(root) if is_list else ():
        yield from find_pods(item, kind_of_item)
    if not _is_policy(group):
        yield from _search(root, root, (), without=("items",) if is_list else ())


def iterate_items(root: yaml.Node) -> Iterator[yaml.Node]:
    """Yield the items of a List."""
    items = resolve_alias(find_node(root, "items"))
    yield from items.value if isinstance(items, yaml.SequenceNode) else ()


def _search(
    node: yaml.Node, owner: yaml.Node, path: tuple[str, ...], without: tuple[str, ...] = ()
) -> Iterator[PodPlace]:
    """Yield the pod templates below a node of the object `owner`."""
    for key, item in _iterate_children(node):
        below = (*path, key)
        if key in without:
            continue
        if _is_object(item):
            yield from find_pods(item)
        elif _has_containers(find_node(item, "spec", "containers")):
            _, kind = read_kind(owner)
            name = format_name(owner, kind)
            yield PodPlace(
                name=name if below == _IN_SPEC else f"{name} ({_format_path(below)})",
                kind=kind,
                namespace=read_namespace(owner),
                owner=owner,
                path=below,
                pod=item,
            )
        else:
            yield from _search(item, owner, below)


def _iterate_children(node: yaml.Node | None) -> Iterator[tuple[str, yaml.Node]]:
    """Yield the entries of a mapping with their keys, or the items of a sequence with their numbers."""
    node = resolve_alias(node)
    if isinstance(node, yaml.MappingNode):
        for key, item in node.value:
            yield read_text(key), item
    elif isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            yield f"[{number}]", item


def _is_object(node: yaml.Node) -> bool:
    """Return whether a node is an object, not a mere reference to one."""
    has_kind = bool(read_text(find_node(node, "apiVersion")) and read_text(find_node(node, "kind")))
    return has_kind and any(find_node(node, key) is not None for key in ("metadata", "spec", "items"))


def _has_containers(node: yaml.Node | None) -> bool:
    node = resolve_alias(node)
    items = node.value if isinstance(node, yaml.SequenceNode) else ()
    return bool(items) and all(any(read_text(find_node(item, key)) for key in ("name", "image")) for item in items)


def _is_policy(group: str) -> bool:
    return any(group == each or group.endswith(f".{each}") for each in _POLICY_GROUPS)


def find_other_containers(root: yaml.Node) -> Iterator[tuple[str, str, int]]:
    """Yield kind, name and line of each object that has containers, but none in a pod or a pod template."""
    owners = {id(place.owner) for place in find_pods(root)}
    for each in _iterate_objects(root):
        group, kind = read_kind(each)
        if id(each) not in owners and not _is_policy(group) and not kind.endswith("List"):
            line = next(_find_container_lines(each), None)
            if line is not None:
                yield kind, format_name(each, kind), line


def _iterate_objects(root: yaml.Node) -> Iterator[yaml.Node]:
    """Yield an object and the objects inside it."""
    yield root
    if read_kind(root)[1].endswith("List"):
        for item in iterate_items(root):
            yield from _iterate_objects(item)
        return
    pending = deque(item for _, item in _iterate_children(root))
    while pending:
        node = pending.popleft()
        if _is_object(node):
            yield from _iterate_objects(node)
        else:
            pending += [item for _, item in _iterate_children(node)]


def _find_container_lines(node: yaml.Node) -> Iterator[int]:
    """Yield the lines of the containers of an object, without those of the objects inside it."""
    for key, item in _iterate_children(node):
        inner = resolve_alias(item)
        candidates = inner.value if isinstance(inner, yaml.SequenceNode) else (item,)
        if key in _CONTAINER_KEYS and any(read_text(find_node(each, "image")) for each in candidates):
            key_node, _ = find_entry(node, key)
            yield get_line(key_node or item)
        elif not _is_object(item):
            yield from _find_container_lines(item)


def find_annotations(node: yaml.Node, prefix: str) -> Iterator[tuple[yaml.Node, yaml.Node]]:
    """Yield the annotations whose names have a prefix, anywhere in an object: the mapping and the key of each."""
    for key, item in _iterate_children(node):
        mapping = resolve_alias(item)
        if key.lower().endswith("annotations") and isinstance(mapping, yaml.MappingNode):
            yield from ((mapping, name) for name, _ in mapping.value if read_text(name).startswith(prefix))
        yield from find_annotations(item, prefix)


def read_kind(node: yaml.Node, otherwise: tuple[str, str] = ("", "")) -> tuple[str, str]:
    """Return the API group and the kind of an object, or `otherwise` if it has no kind."""
    kind = read_text(find_node(node, "kind"))
    if not kind:
        return otherwise
    group, _, _ = read_text(find_node(node, "apiVersion")).rpartition("/")
    return group, kind


def format_name(root: yaml.Node, kind: str) -> str:
    """Return the kind and the name of an object, with its namespace if it has one."""
    metadata = find_node(root, "metadata")
    name = read_text(find_node(metadata, "name")) or read_text(find_node(metadata, "generateName")) or "(unnamed)"
    namespace = read_namespace(root)
    return f"{kind or 'object'} {namespace}/{name}" if namespace else f"{kind or 'object'} {name}"


def read_namespace(root: yaml.Node) -> str:
    """Return the namespace that an object names, or ""."""
    return read_text(find_node(root, "metadata", "namespace"))


def read_text(node: yaml.Node | None) -> str:
    """Return the text of a scalar, and "" for everything else."""
    node = resolve_alias(node)
    return str(node.value) if isinstance(node, yaml.ScalarNode) else ""


def _format_path(path: tuple[str, ...]) -> str:
    return ".".join(path).replace(".[", "[")
