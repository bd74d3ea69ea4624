"""Read JSON strictly and keep the line of each value, so that a finding can name its line.

Invalid JSON (trailing commas, NaN, text after the end) is rejected with line and column. A key that appears twice in an
object is valid JSON, but parsers differ in which value they keep, so `Document.duplicates` lists it.
This module does not know what a policy is or where a text comes from.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from json.decoder import JSONDecodeError, JSONDecoder
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_MAXIMUM_DEPTH = 100
"""The maximum nesting of objects and lists. A policy has about seven levels, a Terraform plan about twenty."""
_STRINGS = JSONDecoder()
"""Decodes strings only."""
_SPACE = re.compile(r"[ \t\n\r]*")
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?", re.ASCII)
_WORDS = {"true": True, "false": False, "null": None}
_SPACE_OUTSIDE_STRINGS = re.compile(r'("(?:[^"\\]|\\.)*")|[ \t\n\r]+', re.DOTALL)


class PolicyMalformedError(ValueError):
    """The text is not JSON or not a policy, so it cannot be evaluated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One JSON value: the Python `value`, the `line` where it begins, and the `members` or `items` of a container."""

    value: Any
    line: int
    members: Mapping[str, Node]
    items: tuple[Node, ...]

    def walk(self) -> Iterator[Node]:
        """Yield this value and all values inside it, in the order of the text."""
        yield self
        for part in (*self.members.values(), *self.items):
            yield from part.walk()


@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicate:
    """A key that an object already has, and the line where it appears again."""

    key: str
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A parsed JSON text."""

    root: Node
    duplicates: tuple[Duplicate, ...]


def read_json(text: str) -> Document:
    """Parse one JSON text. Raises PolicyMalformedError with line and column where it is invalid."""
    reader = _Reader(text)
    try:
        root, end = reader.read_value(reader.skip_space(0), depth=0)
        end = reader.skip_space(end)
    except JSONDecodeError as error:
        raise reader.make_fault(error.pos, error.msg) from None
    except PolicyMalformedError:
        raise
    except ValueError:  # Python limits the number of digits that it converts
        raise PolicyMalformedError("not supported JSON: a number has too many digits") from None
    if end != len(text):
        raise reader.make_fault(end, "text after the end of the value")
    return Document(root=root, duplicates=tuple(reader.duplicates))


def count_characters_without_space(text: str) -> int:
    """Count the characters of a JSON text, except the white space between its tokens."""
    return len(_SPACE_OUTSIDE_STRINGS.sub(lambda found: found[1] or "", text))


class _Reader:
    """A single-pass parser. Each reading method takes a position and returns a value and the position after it."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.duplicates: list[Duplicate] = []
        self._position, self._line = 0, 1

    def make_fault(self, position: int, what: str) -> PolicyMalformedError:
        line = self._text.count("\n", 0, position) + 1
        column = position - self._text.rfind("\n", 0, position)
        return PolicyMalformedError(f"invalid JSON at line {line}, column {column}: {what}")

    def skip_space(self, at: int) -> int:
        found = _SPACE.match(self._text, at)
        return found.end() if found else at

    def read_value(self, at: int, *, depth: int) -> tuple[Node, int]:
        line = self._find_line(at)
        if depth > _MAXIMUM_DEPTH:
            raise self.make_fault(at, f"more than {_MAXIMUM_DEPTH} levels deep")
        match self._text[at : at + 1]:
            case "{":
                return self._read_object(at, line, depth)
            case "[":
                return self._read_list(at, line, depth)
            case '"':
                text, end = _STRINGS.raw_decode(self._text, at)
                return _make_leaf(text, line), end
        for word, meaning in _WORDS.items():
            if self._text.startswith(word, at):
                return _make_leaf(meaning, line), at + len(word)
        number = _NUMBER.match(self._text, at)
        if number is None:
            raise self.make_fault(at, "expected a value")
        digits = number[0]
        return _make_leaf(int(digits) if digits.lstrip("-").isdigit() else float(digits), line), number.end()

    def _read_object(self, at: int, line: int, depth: int) -> tuple[Node, int]:
        members: dict[str, Node] = {}
        at = self.skip_space(at + 1)
        while self._text[at : at + 1] != "}":
            if members:
                at = self._skip_comma(at, "}")
            if self._text[at : at + 1] != '"':
                raise self.make_fault(at, "expected a key in double quotes")
            start = self._find_line(at)
            key, at = _STRINGS.raw_decode(self._text, at)
            at = self.skip_space(at)
            if self._text[at : at + 1] != ":":
                raise self.make_fault(at, "expected a colon")
            if key in members:
                self.duplicates.append(Duplicate(key=key, line=start))
            members[key], at = self.read_value(self.skip_space(at + 1), depth=depth + 1)
            at = self.skip_space(at)
        plain = {key: member.value for key, member in members.items()}
        return Node(value=plain, line=line, members=members, items=()), at + 1

    def _read_list(self, at: int, line: int, depth: int) -> tuple[Node, int]:
        items: list[Node] = []
        at = self.skip_space(at + 1)
        while self._text[at : at + 1] != "]":
            if items:
                at = self._skip_comma(at, "]")
            item, at = self.read_value(at, depth=depth + 1)
            items.append(item)
            at = self.skip_space(at)
        return Node(value=[item.value for item in items], line=line, members={}, items=tuple(items)), at + 1

    def _skip_comma(self, at: int, closing: str) -> int:
        if self._text[at : at + 1] != ",":
            raise self.make_fault(at, f"expected a comma or {closing}")
        return self.skip_space(at + 1)

    def _find_line(self, position: int) -> int:
        """Return the line of a position. Positions must not decrease from call to call."""
        self._line += self._text.count("\n", self._position, position)
        self._position = position
        return self._line


def _make_leaf(value: object, line: int) -> Node:
    return Node(value=value, line=line, members={}, items=())
