"""Read variables, validations, outputs, resources and requirements from the files of a module."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import hcl2

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """A variable. `default` is HCL text, or None where the variable must be set."""

    name: str
    type: str
    description: str
    default: str | None
    messages: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """An output of a module."""

    name: str
    description: str
    is_sensitive: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """A resource or data source. `number` is "1", or the HCL text of its count or for_each."""

    type: str
    name: str
    is_data: bool
    number: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """A version constraint. `source` is that of a provider; Terraform itself has none."""

    name: str
    source: str
    version: str


def blocks(directory: Path, kind: str) -> list[dict[str, Any]]:
    """Return all blocks of a kind in the files of a folder."""
    return [block for file in sorted(directory.glob("*.tf")) for block in hcl2.loads(file.read_text()).get(kind, [])]


def variables(directory: Path) -> list[Variable]:
    """Return the variables of a module, in the order of the files."""
    return [
        Variable(
            name=plain(name),
            type=_format_expression(body.get("type", "")),
            description=plain(body.get("description", "")),
            default=_format_value(body["default"]) if "default" in body else None,
            messages=tuple(plain(one["error_message"]) for one in body.get("validation", [])),
        )
        for block in blocks(directory, "variable")
        for name, body in _list_named(block)
    ]


def outputs(directory: Path) -> list[Output]:
    """Return the outputs of a module, in the order of the files."""
    return [
        Output(
            name=plain(name),
            description=plain(body.get("description", "")),
            is_sensitive=body.get("sensitive", False) is True,
        )
        for block in blocks(directory, "output")
        for name, body in _list_named(block)
    ]


def resources(directory: Path) -> list[Resource]:
    """Return the resources, then the data sources of a module, each sorted by type and name."""
    found = [
        Resource(type=plain(kind), name=plain(name), is_data=source == "data", number=_format_number(body))
        for source in ("resource", "data")
        for block in blocks(directory, source)
        for kind, named in block.items()
        for name, body in _list_named(named)
    ]
    return sorted(found, key=lambda each: (each.is_data, each.type, each.name))


def requirements(directory: Path) -> list[Requirement]:
    """Return the constraint for Terraform, then those for providers."""
    (settings,) = blocks(directory, "terraform")
    (providers,) = settings["required_providers"]
    return [
        Requirement(name="terraform", source="", version=plain(settings["required_version"])),
        *(
            Requirement(name=plain(name), source=plain(body["source"]), version=plain(body["version"]))
            for name, body in _list_named(providers)
        ),
    ]


def _format_number(body: dict[str, Any]) -> str:
    for key in ("count", "for_each"):
        if key in body:
            return f"{key} = {_format_expression(str(body[key]))}"
    return "1"


def _list_named(block: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [(name, body) for name, body in block.items() if isinstance(body, dict)]


def plain(text: str) -> str:
    """Remove the quotes of an HCL string."""
    return text.removeprefix('"').removesuffix('"').replace('\\"', '"')


def _format_expression(text: str) -> str:
    return " ".join(text.removeprefix("${").removesuffix("}").split())


def _format_value(value: object) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_format_value, value))}]"
    if isinstance(value, dict):
        return "{}"
    if isinstance(value, bool):
        return str(value).lower()
    return "null" if value is None else str(value)
