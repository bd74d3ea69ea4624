"""Change single places of a YAML text and leave every other character as it is.

Additions follow the style of their surroundings: block style with the text's own indentation, or JSON inside `{}` and
`[]`, so that JSON stays JSON. Comments, quotes, key order, blank lines and line endings are never parsed into values,
so they cannot get lost.

An alias whose value changes is replaced with the written-out value. A key that a merge key adds is overridden by a key
of the mapping's own. The value of an anchor changes in its place; the caller must compare the result with its plan,
because every alias of the anchor has the new value too.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from broker.manifests.yaml_text import Alias, UneditableYaml, get_line, is_merge

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broker.manifests.yaml_text import Document

_PLAIN = re.compile(r"[A-Za-z/]([A-Za-z0-9_./-]|:(?=[A-Za-z0-9_./:]))*|\d+(m|Mi)")
"""Text that needs no quotes, unless it is one of `_WORDS`."""
_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})
"""Words that some YAML reader parses as a boolean or as null."""


class Edit(NamedTuple):
    """Replace the characters from `start` up to, not including, `end` with `text`."""

    start: int
    end: int
    text: str


def apply_edits(text: str, edits: list[Edit]) -> str:
    """Return the text with the edits applied. Edits at one position are applied in the order of the list."""
    parts, position = [], 0
    for edit in sorted(edits, key=lambda each: each.start):
        parts += [text[position : edit.start], edit.text.replace("\n", _find_line_break(text, edit.start))]
        position = edit.end
    return "".join([*parts, text[position:]])


def _find_line_break(text: str, position: int) -> str:
    """Return the line break of the line above a position; on the first line, that of the line itself."""
    end = text.rfind("\n", 0, position)
    end = end if end >= 0 else text.find("\n")
    return "\r\n" if end > 0 and text[end - 1] == "\r" else "\n"


def compute_edits(document: Document, node: yaml.Node, key: yaml.Node, values: tuple[Any, Any]) -> list[Edit]:
    """Return the edits that change the value at `key` from the first of `values`, its current value, to the second.

    Raises UneditableYaml.
    """
    differ = _Differ(document)
    return list(differ.change_value(node, *values, None if differ.is_flow(key) else key))


class _Differ:
    def __init__(self, document: Document) -> None:
        self._text = document.text
        self._in_flow = document.in_flow
        self._changed_anchors: dict[int, Any] = {}
        self._aliased = document.aliased
        indentations = [each for root in document.roots for each in _iterate_indentations(root)]
        self._mapping_indent = next((size for kind, size in indentations if kind is yaml.MappingNode and size > 0), 2)
        self._sequence_indent = next(
            (size for kind, size in indentations if kind is yaml.SequenceNode and size >= 0), self._mapping_indent
        )

    def change_value(
        self,
        node: yaml.Node,
        old: Any,  # noqa: ANN401 - any YAML value
        new: Any,  # noqa: ANN401 - likewise
        key: yaml.Node | None = None,
    ) -> Iterator[Edit]:
        """Yield the edits of one value. `key` is the value's key, if it belongs to a mapping in block style."""
        if old == new and type(old) is type(new):
            return
        if isinstance(node, Alias):
            if id(node.value) in self._changed_anchors and self._changed_anchors[id(node.value)] == new:
                return  # the edit of the anchor's value is this one, too
            yield from [self._replace_value(node, new)] if key is None else self._fill_empty(node, new, key)
            return
        if id(node) in self._aliased:
            self._changed_anchors[id(node)] = new
        if old in (None, {}, []) and key is not None:
            yield from self._fill_empty(node, new, key)
        elif old and isinstance(old, dict) and isinstance(new, dict) and old.keys() <= new.keys():
            yield from self._change_mapping(node, old, new, key)
        elif old and isinstance(old, list) and isinstance(new, list):
            yield from self._change_sequence(node, old, new, key)
        else:
            yield self._replace_value(node, new)

    def _change_mapping(
        self, node: yaml.Node, old: dict[str, Any], new: dict[str, Any], key: yaml.Node | None
    ) -> Iterator[Edit]:
        """Yield the edits of a mapping whose keys all stay. The text may have the keys in any order."""
        own = {name.value: (name, item) for name, item in node.value if not is_merge(name)}
        previous = next((item for name, item in node.value if is_merge(name)), key)
        index = len(node.value) - len(own)
        for name, value in new.items():
            if name not in own and name in old and old[name] == value:
                continue  # a merge key adds it
            if name in own:
                name_node, item = own[name]
                yield from self.change_value(item, old[name], value, None if self.is_flow(node) else name_node)
                previous = item  # its own edits come first, so that an addition after it is not put inside it
                index += 1
            elif self.is_flow(node):
                yield self._add_to_flow(node, index, f"{json.dumps(name)}: ", value)
            else:
                yield self._insert_lines(
                    previous, node, self._format_block({name: value}), node.value[0][0].start_mark.column
                )

    def _change_sequence(
        self, node: yaml.Node, old: list[Any], new: list[Any], key: yaml.Node | None
    ) -> Iterator[Edit]:
        edits: list[Edit] = []
        index = 0
        for value in new:
            if index < len(old) and _is_same_item(old[index], value):
                edits += self.change_value(node.value[index], old[index], value)
                index += 1
            elif self.is_flow(node):
                edits.append(self._add_to_flow(node, index, "", value))
            else:
                previous = node.value[index - 1] if index else key
                edits.append(self._insert_lines(previous, node, self._format_block([value]), self._find_column(node)))
        yield from edits if index == len(old) else [self._replace_value(node, new)]

    def _find_column(self, node: yaml.Node) -> int:
        """Return the column of the dashes of a block sequence, which itself begins at its anchor if it has one."""
        dash = self._text.rindex("-", 0, node.value[0].start_mark.index)
        return dash - (self._text.rfind("\n", 0, dash) + 1)

    def _fill_empty(self, node: yaml.Node, new: Any, key: yaml.Node) -> Iterator[Edit]:  # noqa: ANN401 - any YAML value
        """Yield the edits that replace an empty value, `{}`, `[]` or an alias. Its line stays if it has a comment."""
        start, end = node.start_mark.index, node.end_mark.index
        if start < end:  # remove the line break too, if the value is on a line of its own
            start = len(self._text[:start].rstrip(" \t").removesuffix("\n").removesuffix("\r"))
        yield Edit(start, end, "")
        indent = self._sequence_indent if isinstance(new, list) else self._mapping_indent
        yield self._insert_lines(node, node, self._format_block(new), key.start_mark.column + indent)

    def _replace_value(self, node: yaml.Node, new: Any) -> Edit:  # noqa: ANN401 - any YAML value
        start, end = node.start_mark.index, _find_end(node)
        if self._text[start : start + 1] in ("&", "!"):
            raise UneditableYaml(
                "anchors (&) and tags (!) are not supported here. Write the plain value", get_line(node)
            )
        if self.is_flow(node) or not isinstance(new, dict | list):
            blank = " " if start == end else ""  # the key has no value yet
            return Edit(start, end, blank + (json.dumps(new) if self.is_flow(node) else _format_scalar(new)))
        text = ("\n" + " " * node.start_mark.column).join(self._format_block(new))
        return Edit(start, end, text + ("\n" if self._text[end - 1] == "\n" else ""))

    def _insert_lines(self, previous: yaml.Node | None, near: yaml.Node, lines: list[str], column: int) -> Edit:
        """Return the edit that inserts lines below the line on which `previous` ends, above any comments that follow.

        Without `previous` there is no such line: raises UneditableYaml for the line of `near`.
        """
        if previous is None:
            raise UneditableYaml("nothing can be added here. Write this part in plain block style", get_line(near))
        position = _find_end(previous)
        if position == 0 or self._text[position - 1] != "\n":  # a block scalar (`|`) ends at the start of a line
            newline = self._text.find("\n", position)
            position = len(self._text) if newline < 0 else newline + 1
        text = "".join(f"{' ' * column}{line}\n" for line in lines)
        if self._text[position - 1] != "\n":  # the last line of the text has no line break
            text = "\n" + text.removesuffix("\n")
        return Edit(position, position, text)

    def _add_to_flow(self, node: yaml.Node, index: int, prefix: str, value: Any) -> Edit:  # noqa: ANN401 - any YAML value
        """Return the edit that adds an entry at `index` to a non-empty `{…}` or `[…]`.

        The entry gets a line of its own if the others have one.
        """
        entries = [entry[0] if isinstance(entry, tuple) else entry for entry in node.value]
        neighbor = entries[min(index, len(entries) - 1)].start_mark
        indent = self._text[neighbor.index - neighbor.column : neighbor.index]
        has_own_lines = not indent.strip() and neighbor.line > node.start_mark.line
        separator = f"\n{indent}" if has_own_lines else " "
        step = "\t" if "\t" in indent else 2
        text = prefix + json.dumps(value, indent=step if has_own_lines else None).replace("\n", separator)
        if index < len(entries):
            return Edit(neighbor.index, neighbor.index, f"{text},{separator}")
        last = node.value[-1]
        end = _find_end(last[1] if isinstance(last, tuple) else last)
        return Edit(end, end, f",{separator}{text}")

    def is_flow(self, node: yaml.Node) -> bool:
        """Return whether a node is `{…}` or `[…]`, or is inside one."""
        return id(node) in self._in_flow

    def _format_block(self, value: Any) -> list[str]:  # noqa: ANN401 - any YAML value
        """Return the lines of a value in block style."""
        lines: list[str] = []
        if not value or not isinstance(value, dict | list):
            return [_format_scalar(value)]
        if isinstance(value, list):
            for item in value:
                first, *rest = self._format_block(item)
                lines += [f"- {first}", *(f"  {line}" for line in rest)]
            return lines
        for key, item in value.items():
            if item and isinstance(item, dict | list):
                indent = " " * (self._mapping_indent if isinstance(item, dict) else self._sequence_indent)
                lines += [f"{key}:", *(f"{indent}{line}" for line in self._format_block(item))]
            else:
                lines.append(f"{key}: {_format_scalar(item)}")
        return lines


def _is_same_item(old: Any, new: Any) -> bool:  # noqa: ANN401 - any YAML value
    """Return whether `new` is `old`, possibly changed. Kubernetes identifies the items of its lists by name."""
    if isinstance(old, dict) and isinstance(new, dict) and "name" in old:
        return bool(old["name"] == new.get("name"))
    return bool(old == new)


def _find_end(node: yaml.Node) -> int:
    """Return the index after a node's last character. The end mark of block style includes what follows the node."""
    while isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        node = last[1] if isinstance(last, tuple) else last
    index: int = node.end_mark.index
    return index


def _iterate_indentations(node: yaml.Node) -> Iterator[tuple[type[yaml.Node], int]]:
    """Yield how many columns each block mapping and block sequence is indented under its key."""
    if isinstance(node, yaml.MappingNode) and not node.flow_style:
        for key, item in node.value:
            is_below = item.start_mark.line > key.start_mark.line  # otherwise it begins with its anchor or tag
            if isinstance(item, yaml.CollectionNode) and not item.flow_style and is_below:
                yield type(item), item.start_mark.column - key.start_mark.column
            yield from _iterate_indentations(item)
    elif isinstance(node, yaml.SequenceNode) and not node.flow_style:
        for item in node.value:
            yield from _iterate_indentations(item)


def _format_scalar(value: Any) -> str:  # noqa: ANN401 - any YAML value
    """Return a plain scalar if every YAML reader parses it as text, otherwise JSON."""
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    return json.dumps(value)
