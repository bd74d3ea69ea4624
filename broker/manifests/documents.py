"""Split text into its documents as kubectl does, and describe the places that are not valid YAML.

Knows YAML's markers, byte order marks, and JSON values that follow each other without a marker.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    import yaml

BYTE_ORDER_MARK: Final = "\ufeff"
_DOCUMENT_START = re.compile(r"^(\ufeff?---)(?=[ \t\r\n]|\Z)|^\.\.\.(?=[ \t\r\n]).*\n", re.MULTILINE)
"""A document begins with `---`, and after `...`. Joined files can have a byte order mark above each `---`."""
_ONLY_DIRECTIVES = re.compile(r"\ufeff?(?:[ \t]*(?:#.*)?\r?\n|%.*\r?\n)*")
_BLANKS = re.compile(r"[ \t\r\n]*")


def split_documents(text: str) -> Iterator[str]:
    """Yield the documents of a stream, unchanged: joined, they are the stream again.

    A document marker cannot be part of a scalar, so no scalar is cut in two.
    """
    start = 0
    for begin in (match.end() - len(match[1] or "") for match in _DOCUMENT_START.finditer(text)):
        if begin > start and not _ONLY_DIRECTIVES.fullmatch(text[start:begin]):
            yield from _split_json(text[start:begin])
            start = begin
    yield from _split_json(text[start:])


def _split_json(text: str) -> Iterator[str]:
    """Yield the JSON values of a text, each with the blanks above it. Any other text stays whole."""
    ends: list[int] = []
    position = _skip_blanks(text, len(BYTE_ORDER_MARK) if text.startswith(BYTE_ORDER_MARK) else 0)
    while text.startswith("{", position):
        try:
            _, end = json.JSONDecoder().raw_decode(text, position)
        except (ValueError, RecursionError):
            break
        ends.append(end)
        position = _skip_blanks(text, end)
    if not ends[1:] or position < len(text):  # one value, or YAML
        yield text
        return
    ends[-1] = len(text)
    for start, end in zip([0, *ends], ends, strict=False):
        yield text[start:end]


def _skip_blanks(text: str, position: int) -> int:
    match = _BLANKS.match(text, position)
    return match.end() if match else position


def describe_syntax_error(error: yaml.YAMLError, part: str, line: int) -> str:
    """Return the place and the problem of a document that is not valid YAML.

    `line` is the number of lines above the document.
    """
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    if mark is None:  # a character that YAML does not allow; libyaml counts bytes
        position = getattr(error, "position", 0)
        above = part.encode()[:position].count(b"\n")
        return f"line {line + above + 1}: not valid YAML: {getattr(error, 'reason', problem)}"
    found = part.split("\n")[mark.line] if mark.line <= part.count("\n") else ""
    if "{{" in part:
        problem = f"{problem}. If this is a template, render it first"
    elif "\t" in found[: len(found) - len(found.lstrip())]:
        problem = f"{problem}. YAML cannot be indented with tabs. Use spaces"
    elif BYTE_ORDER_MARK in part[1:]:
        problem = f"{problem}. Remove the byte order marks (U+FEFF) that are not at the start of the file"
    return f"line {line + mark.line + 1}, column {mark.column + 1}: not valid YAML: {problem}"
