"""Parse YAML into nodes that keep their position in the text, so that `yaml_edit` can change single places.

libyaml scans the text. kubectl reads YAML with a port of libyaml, so both accept the same tabs; PyYAML's own scanner
refuses tabs that they accept, and is used only where PyYAML was built without libyaml. Aliases stay aliases instead of
being replaced by their target. Merge keys are read as kubectl reads them. Constructs that readers interpret differently
(duplicate keys) raise `UneditableYaml`; this module never guesses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml
from yaml.composer import Composer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_SIMPLE_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("int", "bool", "null", "str")}
_MERGE_TAG = "tag:yaml.org,2002:merge"
_MAX_NODES = 1_000_000
"""Of one document, with each alias counted as a copy of its target. kubectl also refuses excessive aliases."""
_SCANNER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_BASES: Any = (Composer, _SCANNER) if yaml.__with_libyaml__ else (_SCANNER,)
"""libyaml's own composer replaces aliases and ends the process at deep nesting; PyYAML's is a Python class."""


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


class _Loader(*_BASES):  # type: ignore[misc]  # the bases depend on how PyYAML was built
    """Compose aliases as `Alias` nodes, and collect the ids of the nodes that they refer to."""

    def __init__(self, text: str) -> None:
        _SCANNER.__init__(self, text)
        Composer.__init__(self)
        self.aliased: set[int] = set()
        self._sizes: dict[int, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        node: yaml.Node | None
        if not self.check_event(yaml.AliasEvent):
            node = super().compose_node(parent, index)
        else:
            event = self.peek_event()
            target = super().compose_node(parent, index)
            assert target is not None, "PyYAML raises ComposerError for an undefined alias"
            self.aliased.add(id(target))
            node = Alias(event.anchor, target, event.start_mark, event.end_mark)
        self._check_size(node)
        return node

    def _check_size(self, node: yaml.Node | None) -> None:
        """Raise UneditableYaml if the aliases in a node make it too large to be read."""
        if node is None:
            return
        if isinstance(node, Alias):
            size = self._sizes.get(id(node.value), 1)
        else:
            entries = node.value if isinstance(node, yaml.CollectionNode) else ()
            parts = (part for entry in entries for part in (entry if isinstance(entry, tuple) else (entry,)))
            size = 1 + sum(self._sizes[id(part)] for part in parts)
        self._sizes[id(node)] = size
        if size > _MAX_NODES:
            raise UneditableYaml(
                f"aliases (*) make this more than {_MAX_NODES} values. Write out the values", get_line(node)
            )


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
    """Return the documents of a text that has no byte order mark.

    Raises yaml.YAMLError, RecursionError, UneditableYaml.
    """
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


def resolve_alias(node: yaml.Node | None) -> yaml.Node | None:
    """Return the node that an alias refers to, and any other node itself."""
    while isinstance(node, Alias):
        node = node.value
    return node


def is_merge(key: yaml.Node) -> bool:
    """Return whether a key is `<<`, which adds the entries of other mappings."""
    return bool(key.tag == _MERGE_TAG)


def find_entry(node: yaml.Node | None, key: str) -> tuple[yaml.Node | None, yaml.Node | None]:
    """Return the key node and the value node of a mapping's key, or (None, None) if the key is absent.

    An entry of the mapping itself takes precedence over the entries that merge keys add.
    """
    node = resolve_alias(node)
    pairs: Sequence[tuple[yaml.Node, yaml.Node]] = node.value if isinstance(node, yaml.MappingNode) else ()
    own = next((pair for pair in pairs if pair[0].value == key and not is_merge(pair[0])), None)
    if own is not None:
        return own
    merged = (find_entry(source, key) for source in _iterate_merged(node))
    return next((entry for entry in merged if entry[0] is not None), (None, None))


def _iterate_merged(node: yaml.Node | None) -> Iterator[yaml.Node]:
    """Yield the mappings that the merge keys of a mapping name, the one that takes precedence first.

    Raises UneditableYaml for anything else.
    """
    for key, item in node.value if isinstance(node, yaml.MappingNode) else ():
        if is_merge(key):
            source = resolve_alias(item)
            for each in source.value if isinstance(source, yaml.SequenceNode) else (source,):
                mapping = resolve_alias(each)
                if not isinstance(mapping, yaml.MappingNode):
                    raise UneditableYaml("a merge key (<<) names something other than a mapping", get_line(key))
                yield mapping


def find_node(node: yaml.Node | None, *path: str) -> yaml.Node | None:
    """Return the node at a path of keys, or None if there is none."""
    for key in path:
        _, node = find_entry(node, key)
    return node


def read_value(node: yaml.Node) -> Any:  # noqa: ANN401 - any YAML value
    """Return the value of a node.

    The entries that merge keys add come last. Raises UneditableYaml for duplicate keys and keys that are not scalars.
    """
    if isinstance(node, Alias):
        return read_value(node.value)
    if isinstance(node, yaml.SequenceNode):
        return [read_value(item) for item in node.value]
    if isinstance(node, yaml.MappingNode):
        return _read_mapping(node)
    if node.tag not in _SIMPLE_TAGS:
        return (node.tag, node.value)  # a date or a custom tag: copied, never interpreted
    try:
        return yaml.SafeLoader("").construct_object(node)
    except (ValueError, KeyError):  # an explicit !!int or !!bool tag on other text
        kind = node.tag.rpartition(":")[2]
        raise UneditableYaml(f"{node.value!s:.40} does not match its tag !!{kind}", get_line(node)) from None


def _read_mapping(node: yaml.MappingNode) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, item in node.value:
        if is_merge(key):
            continue
        if not isinstance(key, yaml.ScalarNode):  # YAML parses an unquoted {{ }} as a mapping
            raise UneditableYaml("a key is not plain text. If this is a template, render it first", get_line(key))
        if key.value in result:
            raise UneditableYaml(f"duplicate key {key.value:.40}. Remove one of the two", get_line(key))
        result[key.value] = read_value(item)
    for source in _iterate_merged(node):
        result = {**result, **{name: value for name, value in read_value(source).items() if name not in result}}
    return result


def build_comparable(node: yaml.Node, without: Sequence[yaml.Node] = ()) -> object:
    """Return the content of a node in a form that `==` compares, with the nodes in `without` left out.

    An alias has its name and the whole content of its target, so that an edit which changes the target shows here too.
    """
    if any(node is each for each in without):
        return None
    if isinstance(node, Alias):
        return ("alias", node.tag, build_comparable(node.value))
    if isinstance(node, yaml.MappingNode):
        pairs = ((build_comparable(key, without), build_comparable(item, without)) for key, item in node.value)
        return (node.tag, tuple(pairs))
    if isinstance(node, yaml.SequenceNode):
        return (node.tag, tuple(build_comparable(item, without) for item in node.value))
    return (node.tag, node.value)


def find_anchor(document: Document, node: yaml.Node) -> yaml.Node | None:
    """Return the first node that an alias of the document refers to: at or below a node, otherwise around it."""
    below = next((each for each in _iterate_nodes(node) if id(each) in document.aliased), None)
    if below is not None or not document.aliased:
        return below
    aliased = (each for root in document.roots for each in _iterate_nodes(root) if id(each) in document.aliased)
    return next((each for each in aliased if any(inner is node for inner in _iterate_nodes(each))), None)


def _iterate_nodes(node: yaml.Node) -> Iterator[yaml.Node]:
    """Yield a node and the nodes below it, without those that aliases refer to."""
    yield node
    for entry in node.value if isinstance(node, yaml.CollectionNode) else ():
        for each in entry if isinstance(entry, tuple) else (entry,):
            yield from _iterate_nodes(each)


def get_line(node: yaml.Node) -> int:
    """Return the line on which a node begins, from 1."""
    line: int = node.start_mark.line
    return line + 1
