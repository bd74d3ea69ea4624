"""Parse YAML into nodes that keep their position in the text, so that `yaml_edit` can change single places.

Aliases stay aliases instead of being replaced by their target. Constructs that YAML readers interpret differently
(merge keys, duplicate keys) raise `UneditableYaml`; this module never guesses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_SIMPLE_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("int", "bool", "null", "str")}
_MERGE_TAG = "tag:yaml.org,2002:merge"


class UneditableYaml(Exception):
    """A place of the text that cannot be edited safely. The message says why; `line` says where, from 1."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


class Alias(yaml.Node):
    """An alias (`*name`) at its position in the text. `value` is the node that it refers to."""

    id = "alias"

    def __init__(self, name: str, target: yaml.Node, start: yaml.Mark, end: yaml.Mark) -> None:
        super().__init__(name, target, start, end)


class _Loader(yaml.SafeLoader):
    """Compose aliases as `Alias` nodes and collect the ids of the nodes that they refer to."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.aliased: set[int] = set()

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if not self.check_event(yaml.AliasEvent):
            return super().compose_node(parent, index)
        event = self.peek_event()  # type: ignore[no-untyped-call]
        target = super().compose_node(parent, index)
        assert target is not None, "PyYAML raises ComposerError for an undefined alias"
        self.aliased.add(id(target))
        return Alias(event.anchor, target, event.start_mark, event.end_mark)


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A composed text.

    `roots` are the root nodes of its documents. `aliased` has the ids of the nodes that aliases refer to, `in_flow`
    the ids of the nodes in flow style (`{…}`, `[…]`).
    """

    text: str
    roots: tuple[yaml.Node, ...]
    aliased: frozenset[int]
    in_flow: frozenset[int]


def compose(text: str) -> Document:
    """Return the documents of a text. Raises yaml.YAMLError, RecursionError."""
    loader = _Loader(text)
    roots: list[yaml.Node] = []
    while loader.check_node():
        root = loader.get_node()
        assert root is not None, "check_node() returned True"
        roots.append(root)
    in_flow = {id(node) for root in roots for node in _iterate_flow_nodes(root, is_inside=False)}
    return Document(text=text, roots=tuple(roots), aliased=frozenset(loader.aliased), in_flow=frozenset(in_flow))


def _iterate_flow_nodes(node: yaml.Node, *, is_inside: bool) -> Iterator[yaml.Node]:
    """Yield the nodes in flow style, with all nodes inside them."""
    if isinstance(node, yaml.CollectionNode):
        is_inside = is_inside or bool(node.flow_style)
        for entry in node.value:
            for each in entry if isinstance(entry, tuple) else (entry,):
                yield from _iterate_flow_nodes(each, is_inside=is_inside)
    if is_inside:
        yield node


def find_entry(node: yaml.Node | None, key: str) -> tuple[yaml.Node | None, yaml.Node | None]:
    """Return the key node and the value node of a mapping's key, or (None, None) if the key is absent."""
    while isinstance(node, Alias):
        node = node.value
    pairs = node.value if isinstance(node, yaml.MappingNode) else ()
    return next((pair for pair in pairs if pair[0].value == key), (None, None))


def find_node(node: yaml.Node | None, *path: str) -> yaml.Node | None:
    """Return the node at a path of keys, or None if there is none."""
    for key in path:
        _, node = find_entry(node, key)
    return node


def read_value(node: yaml.Node) -> Any:  # noqa: ANN401 - any YAML value
    """Return the value of a node.

    Raises UneditableYaml for merge keys, duplicate keys and keys that are not scalars.
    """
    if isinstance(node, Alias):
        return read_value(node.value)
    if isinstance(node, yaml.SequenceNode):
        return [read_value(item) for item in node.value]
    if isinstance(node, yaml.MappingNode):
        result: dict[str, Any] = {}
        for key, item in node.value:
            if key.tag == _MERGE_TAG:
                raise UneditableYaml("merge keys (<<) are not supported here. Write out the keys", get_line(key))
            if not isinstance(key, yaml.ScalarNode):  # YAML parses an unquoted {{ }} as a mapping
                raise UneditableYaml("a key is not plain text. If this is a template, render it first", get_line(key))
            if key.value in result:
                raise UneditableYaml(f"duplicate key {key.value:.40}. Remove one of the two", get_line(key))
            result[key.value] = read_value(item)
        return result
    if node.tag not in _SIMPLE_TAGS:
        return (node.tag, node.value)  # a date or a custom tag: copied, never interpreted
    try:
        return yaml.SafeLoader("").construct_object(node)
    except (ValueError, KeyError):  # an explicit !!int or !!bool tag on other text
        kind = node.tag.rpartition(":")[2]
        raise UneditableYaml(f"{node.value!s:.40} does not match its tag !!{kind}", get_line(node)) from None


def build_comparable(node: yaml.Node, without: Sequence[yaml.Node] = ()) -> object:
    """Return the content of a node in a form that `==` compares, with the nodes in `without` left out."""
    if any(node is each for each in without):
        return None
    if isinstance(node, Alias):
        return ("alias", node.tag)
    if isinstance(node, yaml.MappingNode):
        pairs = ((build_comparable(key, without), build_comparable(item, without)) for key, item in node.value)
        return (node.tag, tuple(pairs))
    if isinstance(node, yaml.SequenceNode):
        return (node.tag, tuple(build_comparable(item, without) for item in node.value))
    return (node.tag, node.value)


def get_line(node: yaml.Node) -> int:
    """Return the line on which a node begins, from 1."""
    line: int = node.start_mark.line
    return line + 1
