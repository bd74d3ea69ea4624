"""Reads JSON strictly and remembers where each part stands, so that a finding can name its line.

Rules: what JSON forbids is refused (trailing commas, NaN, text after the end), with line and column; a key that an
object has twice is no fault of the grammar, but `duplicates` tells it: readers differ in which of the two counts.
It refuses to know what a policy is, and where texts come from.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from json.decoder import JSONDecodeError, JSONDecoder
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_DEEPEST = 100
"""Levels of objects and lists in each other; a policy has seven, a Terraform plan some twenty."""
_STRINGS = JSONDecoder()
"""Used where a string begins, and for nothing else."""
_SPACE = re.compile(r"[ \t\n\r]*")
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?", re.ASCII)
_WORDS = {"true": True, "false": False, "null": None}
_SPACE_OUTSIDE_STRINGS = re.compile(r'("(?:[^"\\]|\\.)*")|[ \t\n\r]+', re.DOTALL)


class PolicyMalformedError(ValueError):
    """The text is no JSON, or no policy: it cannot be judged at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One JSON value: `value` as Python has it, `line` where it begins; `members` or `items` where it has parts."""

    value: Any
    line: int
    members: Mapping[str, Node]
    items: tuple[Node, ...]

    def walk(self) -> Iterator[Node]:
        """Yield this value and all that is in it, in the order of the text."""
        yield self
        for part in (*self.members.values(), *self.items):
            yield from part.walk()


@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicate:
    """A key that an object has a second time, there."""

    key: str
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A JSON text that was read."""

    root: Node
    duplicates: tuple[Duplicate, ...]


def read_json(text: str) -> Document:
    """Read one JSON text. PolicyMalformedError: it is none, and where."""
    reader = _Reader(text)
    try:
        root, end = reader.value(reader.skip(0), depth=0)
        end = reader.skip(end)
    except JSONDecodeError as error:
        raise reader.fault(error.pos, error.msg) from None
    except PolicyMalformedError:
        raise
    except ValueError:  # what Python does not count: a number of thousands of digits
        raise PolicyMalformedError("no JSON: a number has too many digits") from None
    if end != len(text):
        raise reader.fault(end, "text after the end of the value")
    return Document(root=root, duplicates=tuple(reader.duplicates))


def length_without_space(text: str) -> int:
    """Count the characters of a JSON text, less the white space between its parts."""
    return len(_SPACE_OUTSIDE_STRINGS.sub(lambda found: found[1] or "", text))


class _Reader:
    """One pass over a text. Every reading method takes a position and returns what it read, and where that ends."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.duplicates: list[Duplicate] = []
        self._position, self._line = 0, 1

    def fault(self, position: int, what: str) -> PolicyMalformedError:
        line = self._text.count("\n", 0, position) + 1
        column = position - self._text.rfind("\n", 0, position)
        return PolicyMalformedError(f"no JSON at line {line}, column {column}: {what}")

    def skip(self, at: int) -> int:
        found = _SPACE.match(self._text, at)
        return found.end() if found else at

    def value(self, at: int, *, depth: int) -> tuple[Node, int]:
        line = self._line_of(at)
        if depth > _DEEPEST:
            raise self.fault(at, f"more than {_DEEPEST} levels deep")
        match self._text[at : at + 1]:
            case "{":
                return self._object(at, line, depth)
            case "[":
                return self._list(at, line, depth)
            case '"':
                text, end = _STRINGS.raw_decode(self._text, at)
                return _leaf(text, line), end
        for word, meaning in _WORDS.items():
            if self._text.startswith(word, at):
                return _leaf(meaning, line), at + len(word)
        number = _NUMBER.match(self._text, at)
        if number is None:
            raise self.fault(at, "a value was expected")
        digits = number[0]
        return _leaf(int(digits) if digits.lstrip("-").isdigit() else float(digits), line), number.end()

    def _object(self, at: int, line: int, depth: int) -> tuple[Node, int]:
        members: dict[str, Node] = {}
        at = self.skip(at + 1)
        while self._text[at : at + 1] != "}":
            if members:
                at = self._after_comma(at, "}")
            if self._text[at : at + 1] != '"':
                raise self.fault(at, "a key in double quotes was expected")
            start = self._line_of(at)
            key, at = _STRINGS.raw_decode(self._text, at)
            at = self.skip(at)
            if self._text[at : at + 1] != ":":
                raise self.fault(at, "a colon was expected")
            if key in members:
                self.duplicates.append(Duplicate(key=key, line=start))
            members[key], at = self.value(self.skip(at + 1), depth=depth + 1)
            at = self.skip(at)
        plain = {key: member.value for key, member in members.items()}
        return Node(value=plain, line=line, members=members, items=()), at + 1

    def _list(self, at: int, line: int, depth: int) -> tuple[Node, int]:
        items: list[Node] = []
        at = self.skip(at + 1)
        while self._text[at : at + 1] != "]":
            if items:
                at = self._after_comma(at, "]")
            item, at = self.value(at, depth=depth + 1)
            items.append(item)
            at = self.skip(at)
        return Node(value=[item.value for item in items], line=line, members={}, items=tuple(items)), at + 1

    def _after_comma(self, at: int, closing: str) -> int:
        if self._text[at : at + 1] != ",":
            raise self.fault(at, f"a comma or {closing} was expected")
        return self.skip(at + 1)

    def _line_of(self, position: int) -> int:
        """Tell the line of a position that is never before the last one asked for."""
        self._line += self._text.count("\n", self._position, position)
        self._position = position
        return self._line


def _leaf(value: object, line: int) -> Node:
    return Node(value=value, line=line, members={}, items=())
