"""A fault or a warning about a pod, with its place in the manifest.

Knows YAML nodes only to find the line of a place. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import yaml

from broker.manifests.yaml_text import Alias, find_entry, get_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broker.inject.sidecar import Tree

Path = tuple[str | int, ...]
"""Keys and indexes that lead from a pod's spec to a field."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What was found and what to change. `path` is the field in the pod's spec; () if there is none."""

    message: str
    path: Path = ()


def iterate_containers(pod: Tree) -> Iterator[tuple[Path, Tree]]:
    """Yield the path and the content of each container of a pod's spec, init containers first."""
    for key in ("initContainers", "containers"):
        for index, container in enumerate(pod.get(key) or ()):
            yield (key, index), container


def iterate_entries(container: Tree, path: Path, key: str) -> Iterator[tuple[Path, Tree]]:
    """Yield the path and the content of each entry in one of a container's lists, such as `env`."""
    entries = container.get(key)
    for index, entry in enumerate(entries if isinstance(entries, list) else ()):
        yield (*path, key, index), entry


def find_line(node: yaml.Node, path: Path) -> int:
    """Return the line of the field at a path below a node, from 1, or that of the nearest field around it."""
    line = get_line(node)
    for step in path:
        while isinstance(node, Alias):
            node = node.value
        if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            node = node.value[step]
            line = get_line(node)
            continue
        key, value = find_entry(node, str(step))
        if key is None or value is None:
            return line
        node, line = value, get_line(key)
    return line
