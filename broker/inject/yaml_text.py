"""Reads a YAML text and keeps where each part stands: what `yaml_edit` changes it by.

Aliases stay what they are. A value is plain, or Unchangeable: what another reader may take for something else (merge
keys, a key twice) is not guessed at.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_SIMPLE_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("int", "bool", "null", "str")}
_MERGE = "tag:yaml.org,2002:merge"


class Unchangeable(Exception):
    """This place of the text cannot be changed; the message says why, `line` where (from 1)."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


class Alias(yaml.Node):
    """`*name` as it stands in the text."""

    id = "alias"

    def __init__(self, name: str, target: yaml.Node, start: yaml.Mark, end: yaml.Mark) -> None:
        super().__init__(name, target, start, end)


class _Loader(yaml.SafeLoader):
    """Composes aliases as what they are, and remembers what they stand for."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.aliased: set[int] = set()

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if not self.check_event(yaml.AliasEvent):
            return super().compose_node(parent, index)
        event = self.peek_event()  # type: ignore[no-untyped-call]
        target = super().compose_node(parent, index)
        assert target is not None, "PyYAML knows the anchor, or it would have said so"
        self.aliased.add(id(target))
        return Alias(event.anchor, target, event.start_mark, event.end_mark)


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One text, composed: the roots of its documents, and the ids of nodes that aliases stand for, or in flow style."""

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
        assert root is not None, "it has just been seen"
        roots.append(root)
    in_flow = {id(node) for root in roots for node in _in_flow(root, is_inside=False)}
    return Document(text=text, roots=tuple(roots), aliased=frozenset(loader.aliased), in_flow=frozenset(in_flow))


def _in_flow(node: yaml.Node, *, is_inside: bool) -> Iterator[yaml.Node]:
    """Yield the nodes that are `{…}` or `[…]`, and all within them."""
    if isinstance(node, yaml.CollectionNode):
        is_inside = is_inside or bool(node.flow_style)
        for entry in node.value:
            for each in entry if isinstance(entry, tuple) else (entry,):
                yield from _in_flow(each, is_inside=is_inside)
    if is_inside:
        yield node


def entry(node: yaml.Node | None, key: str) -> tuple[yaml.Node | None, yaml.Node | None]:
    """Return a key of a mapping, and what stands there, as nodes; None, None where there is no such key."""
    while isinstance(node, Alias):
        node = node.value
    pairs = node.value if isinstance(node, yaml.MappingNode) else ()
    return next((pair for pair in pairs if pair[0].value == key), (None, None))


def child(node: yaml.Node | None, *path: str) -> yaml.Node | None:
    """Return the node at a path of keys; None where there is none."""
    for key in path:
        _, node = entry(node, key)
    return node


def value(node: yaml.Node) -> Any:  # noqa: ANN401 - whatever YAML holds
    """Return what a node says. Raises Unchangeable where that is not plain: a merge key, a key twice or of no text."""
    if isinstance(node, Alias):
        return value(node.value)
    if isinstance(node, yaml.SequenceNode):
        return [value(item) for item in node.value]
    if isinstance(node, yaml.MappingNode):
        result: dict[str, Any] = {}
        for key, item in node.value:
            if key.tag == _MERGE:
                raise Unchangeable("a merge key (<<) is not taken here: write its keys out", line_of(key))
            if not isinstance(key, yaml.ScalarNode):  # also what `{{ }}` is to YAML
                raise Unchangeable("a key is no plain text; is this a template? Render it first", line_of(key))
            if key.value in result:
                raise Unchangeable(f"{key.value:.40} stands there twice", line_of(key))
            result[key.value] = value(item)
        return result
    if node.tag not in _SIMPLE_TAGS:
        return (node.tag, node.value)  # a date, or somebody's own: kept, never looked into
    try:
        return yaml.SafeLoader("").construct_object(node)
    except (ValueError, KeyError):  # a text with the tag of a number, or of a boolean
        raise Unchangeable(f"{node.value!s:.40} is no value of its type", line_of(node)) from None


def shape(node: yaml.Node, without: Sequence[yaml.Node] = ()) -> object:
    """Return all that a node says in a form that compares, but for some nodes in it."""
    if any(node is each for each in without):
        return None
    if isinstance(node, Alias):
        return ("alias", node.tag)
    if isinstance(node, yaml.MappingNode):
        return (node.tag, tuple((shape(key, without), shape(item, without)) for key, item in node.value))
    if isinstance(node, yaml.SequenceNode):
        return (node.tag, tuple(shape(item, without) for item in node.value))
    return (node.tag, node.value)


def line_of(node: yaml.Node) -> int:
    """Return the line on which a node begins, from 1."""
    line: int = node.start_mark.line
    return line + 1
