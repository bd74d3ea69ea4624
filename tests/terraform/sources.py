"""What the modules say in their own files: variables, validations, outputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import hcl2

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """A variable; `default` is HCL text, None where it must be given."""

    name: str
    type: str
    description: str
    default: str | None
    messages: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """An output."""

    name: str
    description: str
    is_sensitive: bool


def blocks(directory: Path, kind: str) -> list[dict[str, Any]]:
    """Return all blocks of a kind in a folder's files."""
    return [block for file in sorted(directory.glob("*.tf")) for block in hcl2.loads(file.read_text()).get(kind, [])]


def variables(directory: Path) -> list[Variable]:
    """Read the variables of a module, as they stand in the file."""
    return [
        Variable(
            name=plain(name),
            type=_expression(body.get("type", "")),
            description=plain(body.get("description", "")),
            default=_value(body["default"]) if "default" in body else None,
            messages=tuple(plain(one["error_message"]) for one in body.get("validation", [])),
        )
        for block in blocks(directory, "variable")
        for name, body in _named(block)
    ]


def outputs(directory: Path) -> list[Output]:
    """Read the outputs of a module, as they stand in the file."""
    return [
        Output(
            name=plain(name),
            description=plain(body.get("description", "")),
            is_sensitive=body.get("sensitive", False) is True,
        )
        for block in blocks(directory, "output")
        for name, body in _named(block)
    ]


def _named(block: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [(name, body) for name, body in block.items() if isinstance(body, dict)]


def plain(text: str) -> str:
    """Take the quotes off a text that was written in HCL."""
    return text.removeprefix('"').removesuffix('"').replace('\\"', '"')


def _expression(text: str) -> str:
    return " ".join(text.removeprefix("${").removesuffix("}").split())


def _value(value: object) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, dict):
        return "{}"
    if isinstance(value, bool):
        return str(value).lower()
    return "null" if value is None else str(value)
