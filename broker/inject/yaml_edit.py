"""Changes single places of a YAML text, and leaves every other character as it is.

What is added is written in the manner of its surroundings: in block style with the text's own indentation, or as JSON
within `{}` and `[]`, so that a JSON text stays one. Comments, quotes, order, blank lines and line ends are never read
into values, so they cannot get lost on the way. Refuses where an anchor would let one place change two.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from broker.inject.yaml_text import Alias, Unchangeable, line_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broker.inject.yaml_text import Document

_PLAIN = re.compile(r"[A-Za-z/]([A-Za-z0-9_./-]|:(?=[A-Za-z0-9_./:]))*|\d+(m|Mi)")
"""Text that needs no quotes, if no reader takes it for something else."""
_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})


class Edit(NamedTuple):
    """From `start` to `end` stands what `text` replaces."""

    start: int
    end: int
    text: str


def applied(text: str, edits: list[Edit]) -> str:
    """Return the text with these changes; of those at one place, the first comes first."""
    newline = "\r\n" if "\r\n" in text else "\n"
    parts, position = [], 0
    for edit in sorted(edits, key=lambda each: each.start):
        parts += [text[position : edit.start], edit.text.replace("\n", newline)]
        position = edit.end
    return "".join([*parts, text[position:]])


def changes(document: Document, node: yaml.Node, key: yaml.Node, values: tuple[Any, Any]) -> list[Edit]:
    """Return the edits that make the old of two values, which stands at `key` in the document, the new.

    Raises Unchangeable.
    """
    changer = _Changer(document)
    return list(changer.change(node, *values, None if changer.is_flow(key) else key))


class _Changer:
    def __init__(self, document: Document) -> None:
        self._text = document.text
        self._aliased, self._in_flow = document.aliased, document.in_flow
        manners = [manner for root in document.roots for manner in _manners(root)]
        self._step = next((step for kind, step in manners if kind is yaml.MappingNode and step > 0), 2)
        self._offset = next((step for kind, step in manners if kind is yaml.SequenceNode and step >= 0), self._step)

    def change(self, node: yaml.Node, old: Any, new: Any, key: yaml.Node | None = None) -> Iterator[Edit]:  # noqa: ANN401
        """Yield the edits of one value; `key` is what it belongs to in a mapping of block style."""
        if old == new and type(old) is type(new):
            return
        if isinstance(node, Alias) or id(node) in self._aliased:
            raise Unchangeable("an anchor (&) or alias (*) is not taken here: write the value out", line_of(node))
        if old in (None, {}, []) and key is not None:
            yield from self._fill(node, new, key)
        elif old and isinstance(old, dict) and isinstance(new, dict) and old.keys() <= new.keys():
            yield from self._change_mapping(node, old, new, key)
        elif old and isinstance(old, list) and isinstance(new, list):
            yield from self._change_sequence(node, old, new, key)
        else:
            yield self._replacement(node, new)

    def _change_mapping(
        self, node: yaml.Node, old: dict[str, Any], new: dict[str, Any], key: yaml.Node | None
    ) -> Iterator[Edit]:
        index = 0
        for name, wanted in new.items():
            if name in old:
                name_node, item = next(pair for pair in node.value if pair[0].value == name)
                yield from self.change(item, old[name], wanted, None if self.is_flow(node) else name_node)
                index += 1
            elif self.is_flow(node):
                yield self._flow_addition(node, index, f"{json.dumps(name)}: ", wanted)
            else:
                before = node.value[index - 1][1] if index else key
                yield self._lines(before, node, self._block({name: wanted}), node.value[0][0].start_mark.column)

    def _change_sequence(
        self, node: yaml.Node, old: list[Any], new: list[Any], key: yaml.Node | None
    ) -> Iterator[Edit]:
        edits: list[Edit] = []
        index = 0
        for wanted in new:
            if index < len(old) and _is_same(old[index], wanted):
                edits += self.change(node.value[index], old[index], wanted)
                index += 1
            elif self.is_flow(node):
                edits.append(self._flow_addition(node, index, "", wanted))
            else:
                before = node.value[index - 1] if index else key
                edits.append(self._lines(before, node, self._block([wanted]), node.start_mark.column))
        yield from edits if index == len(old) else [self._replacement(node, new)]

    def _fill(self, node: yaml.Node, new: Any, key: yaml.Node) -> Iterator[Edit]:  # noqa: ANN401
        """Yield what puts something in the place of nothing, `{}` or `[]`: below its line, which may have a comment."""
        start, end = node.start_mark.index, node.end_mark.index
        if start < end:  # and the line that it has to itself
            start = len(self._text[:start].rstrip(" \t").removesuffix("\n").removesuffix("\r"))
        yield Edit(start, end, "")
        column = key.start_mark.column + (self._offset if isinstance(new, list) else self._step)
        yield self._lines(node, node, self._block(new), column)

    def _replacement(self, node: yaml.Node, new: Any) -> Edit:  # noqa: ANN401
        start, end = node.start_mark.index, _end(node)
        if self._text[start : start + 1] in ("&", "!"):
            raise Unchangeable("an anchor (&) or tag (!) is not taken here: write the plain value", line_of(node))
        if self.is_flow(node) or not isinstance(new, dict | list):
            blank = " " if start == end else ""  # behind a key that has nothing
            return Edit(start, end, blank + (json.dumps(new) if self.is_flow(node) else _scalar(new)))
        text = ("\n" + " " * node.start_mark.column).join(self._block(new))
        return Edit(start, end, text + ("\n" if self._text[end - 1] == "\n" else ""))

    def _lines(self, before: yaml.Node | None, near: yaml.Node, lines: list[str], column: int) -> Edit:
        """Return the edit that puts lines behind the line on which `before` ends, above the comments that follow."""
        if before is None:
            raise Unchangeable("nothing can be added here: write it in plain block style", line_of(near))
        position = _end(before)
        if position == 0 or self._text[position - 1] != "\n":  # behind `|` text it is a line's begin already
            newline = self._text.find("\n", position)
            position = len(self._text) if newline < 0 else newline + 1
        text = "".join(f"{' ' * column}{line}\n" for line in lines)
        if self._text[position - 1] != "\n":  # the text's last line has no end
            text = "\n" + text.removesuffix("\n")
        return Edit(position, position, text)

    def _flow_addition(self, node: yaml.Node, index: int, prefix: str, wanted: Any) -> Edit:  # noqa: ANN401
        """Return the edit that adds to `{…}` or `[…]` that has something: on lines of its own if those have lines."""
        entries = [entry[0] if isinstance(entry, tuple) else entry for entry in node.value]
        beside = entries[min(index, len(entries) - 1)].start_mark
        before = self._text[beside.index - beside.column : beside.index]
        has_lines = not before.strip() and beside.line > node.start_mark.line
        separator = f"\n{before}" if has_lines else " "
        text = prefix + json.dumps(wanted, indent=2 if has_lines else None).replace("\n", separator)
        if index < len(entries):
            return Edit(beside.index, beside.index, f"{text},{separator}")
        last = node.value[-1]
        end = _end(last[1] if isinstance(last, tuple) else last)
        return Edit(end, end, f",{separator}{text}")

    def is_flow(self, node: yaml.Node) -> bool:
        """Return whether a node is `{…}` or `[…]`, or stands in such."""
        return id(node) in self._in_flow

    def _block(self, value: Any) -> list[str]:  # noqa: ANN401
        """Return the lines of a value in block style."""
        lines: list[str] = []
        if not value or not isinstance(value, dict | list):
            return [_scalar(value)]
        if isinstance(value, list):
            for item in value:
                first, *rest = self._block(item)
                lines += [f"- {first}", *(f"  {line}" for line in rest)]
            return lines
        for key, item in value.items():
            if item and isinstance(item, dict | list):
                indent = " " * (self._step if isinstance(item, dict) else self._offset)
                lines += [f"{key}:", *(f"{indent}{line}" for line in self._block(item))]
            else:
                lines.append(f"{key}: {_scalar(item)}")
        return lines


def _is_same(old: Any, new: Any) -> bool:  # noqa: ANN401
    """Return whether an item of a list is the other, changed: lists of Kubernetes go by name."""
    if isinstance(old, dict) and isinstance(new, dict) and "name" in old:
        return bool(old["name"] == new.get("name"))
    return bool(old == new)


def _end(node: yaml.Node) -> int:
    """Return where the last character of a node's own stands, and one: block style's marks include what follows."""
    while isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        node = last[1] if isinstance(last, tuple) else last
    index: int = node.end_mark.index
    return index


def _manners(node: yaml.Node) -> Iterator[tuple[type[yaml.Node], int]]:
    """Yield how far mappings and sequences of block style are indented under their keys."""
    if isinstance(node, yaml.MappingNode) and not node.flow_style:
        for key, item in node.value:
            if isinstance(item, yaml.CollectionNode) and not item.flow_style:
                yield type(item), item.start_mark.column - key.start_mark.column
            yield from _manners(item)
    elif isinstance(node, yaml.SequenceNode) and not node.flow_style:
        for item in node.value:
            yield from _manners(item)


def _scalar(value: Any) -> str:  # noqa: ANN401
    """Return a plain scalar where every reader takes it for text, otherwise JSON."""
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    return json.dumps(value)
