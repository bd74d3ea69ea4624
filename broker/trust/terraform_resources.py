"""List the resources of a Terraform plan, of a state in the format of `terraform show -json`, and of a raw state file.

Of a plan, only future values count: it also has the former values of resources, and those of resources that it
destroys. The format of raw state files (version 4) is that of Terraform 0.12 and later, and of OpenTofu
(hashicorp/terraform, internal/states/statefile/version4.go). The code is pure.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from broker.policy.document import Node

STATE_VERSION = 4
"""The version of the raw state files that can be read."""
_FUTURE_PARTS = ("planned_values", "resource_changes", "values")
"""The parts of a plan with future values, and the part of a state with the current ones."""
_FORMER_PART = "prior_state"
_PLAN_KEYS = (*_FUTURE_PARTS, _FORMER_PART, "terraform_version", "format_version")
_STATE_KEYS = ("serial", "lineage")


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """A resource or data source: its values with their lines, and `unknown`, the part of them that is not known yet."""

    address: str
    type: str
    values: Mapping[str, Node]
    unknown: Mapping[str, Any] = field(default_factory=dict)

    def read(self, key: str) -> str:
        """Return a value that is a string, "" for any other."""
        node = self.values.get(key)
        return node.value if node and isinstance(node.value, str) else ""


def is_terraform(root: Node) -> bool:
    """Return whether a JSON document is a Terraform plan or state."""
    return any(key in root.members for key in (*_PLAN_KEYS, *_STATE_KEYS))


def find_state_fault(root: Node) -> str:
    """Return why a raw state file cannot be read, or "" where it can, or is none."""
    if "encrypted_data" in root.members:
        return "the state is encrypted; pass the output of `tofu show -json`"
    version = root.members.get("version")
    if not is_raw_state(root) or (version is not None and version.value == STATE_VERSION):
        return ""
    found = "no version" if version is None else f"version {version.value}"
    return f"a state file of {found}, not {STATE_VERSION}; pass the output of `terraform show -json`"


def is_raw_state(root: Node) -> bool:
    """Return whether a document is a state file as Terraform stores it."""
    return "format_version" not in root.members and any(key in root.members for key in _STATE_KEYS)


def list_resources(root: Node) -> Iterator[Resource]:
    """Yield the resources of a plan or state. A resource can appear twice: as a planned value and as a change."""
    if is_raw_state(root):
        yield from _list_stored_resources(root)
        return
    for part in (*_FUTURE_PARTS, _FORMER_PART):
        for one in root.members[part].walk() if part in root.members else ():
            is_resource = "address" in one.members and "type" in one.members
            if is_resource and (part != _FORMER_PART or _read_member(one, "mode") == "data"):
                yield _read_planned_resource(one)


def _read_planned_resource(node: Node) -> Resource:
    """Return a resource with its values: those planned or current, or those after its change."""
    change = node.members.get("change")
    holder = node.members.get("values") or (change and change.members.get("after"))
    unknown = change.members.get("after_unknown") if change else None
    return Resource(
        address=_read_member(node, "address"),
        type=_read_member(node, "type"),
        values=holder.members if holder else {},
        unknown=unknown.value if unknown and isinstance(unknown.value, dict) else {},
    )


def _list_stored_resources(root: Node) -> Iterator[Resource]:
    """Yield the resources of a raw state file. A deposed instance is one that the next apply destroys."""
    stored = root.members.get("resources")
    for one in stored.items if stored else ():
        kind, name, module = (_read_member(one, key) for key in ("type", "name", "module"))
        prefix = "data." if _read_member(one, "mode") == "data" else ""
        instances = one.members.get("instances")
        for instance in instances.items if instances else ():
            attributes = instance.members.get("attributes")
            if attributes is None or "deposed" in instance.members:
                continue
            index = instance.members.get("index_key")
            suffix = "" if index is None else f"[{_quote_index(index.value)}]"
            address = ".".join(filter(None, (module, f"{prefix}{kind}.{name}{suffix}")))
            yield Resource(address=address, type=kind, values=attributes.members)


def _quote_index(index: object) -> str:
    return f'"{index}"' if isinstance(index, str) else str(index)


def _read_member(node: Node, key: str) -> str:
    member = node.members.get(key)
    return member.value if member and isinstance(member.value, str) else ""
