"""Check that a ConfigMap which the sidecar mounts can be in the pod's namespace, as far as the manifests show it.

A pod mounts ConfigMaps only from its own namespace, and a missing one keeps it in ContainerCreating. Source:
https://kubernetes.io/docs/concepts/configuration/configmap/
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import yaml

from broker.inject.sidecar import CONFIG_FILE
from broker.manifests.pod_templates import iterate_items, read_kind, read_namespace, read_text
from broker.manifests.yaml_text import find_node, get_line, resolve_alias

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigMap:
    """A ConfigMap of the manifests, and its keys. `namespace` is "" if they name none. `place` is its document."""

    name: str
    namespace: str
    keys: frozenset[str]
    place: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A pod that mounts a ConfigMap with the settings file. `place` identifies the pod in messages."""

    name: str
    namespace: str
    place: str


def find_config_maps(root: yaml.Node, place: str, line: int) -> Iterator[ConfigMap]:
    """Yield the ConfigMaps of one document, also those in a List. `line` is the number of lines above it."""
    group, kind = read_kind(root)
    for item in iterate_items(root) if kind in ("List", "ConfigMapList") else ():
        yield from find_config_maps(item, place, line)
    if (group, kind) == ("", "ConfigMap"):
        values = (resolve_alias(find_node(root, key)) for key in ("data", "binaryData"))
        mappings = [each for each in values if isinstance(each, yaml.MappingNode)]
        yield ConfigMap(
            name=read_text(find_node(root, "metadata", "name")),
            namespace=read_namespace(root),
            keys=frozenset(read_text(key) for each in mappings for key, _ in each.value),
            place=f"{place}, line {line + get_line(root)}",
        )


def find_reference_faults(references: Iterable[Reference], config_maps: Iterable[ConfigMap]) -> Iterator[str]:
    """Yield the pods whose ConfigMap is in the manifests, but in another namespace or without the settings file.

    A manifest without a namespace gets one when it is applied, so it can be the pod's. A ConfigMap that the manifests
    do not have may be in the cluster.
    """
    by_name: dict[str, list[ConfigMap]] = {}
    for each in config_maps:
        by_name.setdefault(each.name, []).append(each)
    for reference in references:
        given = by_name.get(reference.name, [])
        reachable = [each for each in given if _can_share_namespace(each, reference)]
        if given and not reachable:
            namespaces = ", ".join(sorted({each.namespace for each in given}))
            yield (
                f"{reference.place}: ConfigMap {reference.name} is in namespace {namespaces} ({given[0].place}), but "
                f"the pod is in {reference.namespace}. Add the ConfigMap to the pod's namespace"
            )
        elif reachable and not any(CONFIG_FILE in each.keys for each in reachable):
            yield (
                f"{reference.place}: ConfigMap {reference.name} ({reachable[0].place}) has no key {CONFIG_FILE}. "
                "Write the settings file under that key"
            )


def _can_share_namespace(config_map: ConfigMap, reference: Reference) -> bool:
    return not config_map.namespace or not reference.namespace or config_map.namespace == reference.namespace
