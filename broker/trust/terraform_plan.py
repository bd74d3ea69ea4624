"""Find the trust policies in a Terraform plan or state, in the format of `terraform show -json`.

Only future values count: a plan also has the former values of resources, and those of resources that it destroys. The
code is pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from broker.policy.document import Node, PolicyMalformedError, read_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_FUTURE_PARTS = ("planned_values", "resource_changes", "values")
"""The parts of a plan with future values, and the part of a state with the current ones."""
_FORMER_PART = "prior_state"
_PLAN_KEYS = (*_FUTURE_PARTS, _FORMER_PART, "terraform_version")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedPolicy:
    """A trust policy in a plan. `address` is that of its resource; `line` is where the string begins in the plan."""

    text: str
    address: str
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The trust policies of a plan.

    `unknown` has the addresses of the roles whose trust policy is unknown until the plan is applied. `account` is the
    account that the plan is for, "" where it names none or several.
    """

    policies: tuple[PlannedPolicy, ...]
    unknown: tuple[str, ...]
    account: str


def is_plan(root: Node) -> bool:
    """Return whether a JSON document is a Terraform plan or state."""
    return any(key in root.members for key in _PLAN_KEYS)


def read_plan(root: Node) -> Plan:
    """Return the trust policy of each role, and the trust policy documents that no role in the plan uses."""
    resources = list(_list_resources(root))
    roles: dict[str, PlannedPolicy] = {}
    documents: dict[str, PlannedPolicy] = {}
    for resource in resources:
        address, kind, values = (
            _read_member(resource, "address"),
            _read_member(resource, "type"),
            _read_values(resource),
        )
        if kind == "aws_iam_role" and "assume_role_policy" in values:
            _add_policy(roles, values["assume_role_policy"], address)
        elif kind == "aws_iam_policy_document" and "json" in values and _is_trust_policy(values["json"].value):
            _add_policy(documents, values["json"], address)
    used = [_parse_json(role.text) for role in roles.values()]
    unused = [document for document in documents.values() if _parse_json(document.text) not in used]
    return Plan(
        policies=(*roles.values(), *unused),
        unknown=tuple(sorted(_find_unknown_roles(resources))),
        account=_find_account(resources),
    )


def _list_resources(root: Node) -> Iterator[Node]:
    """Yield the future resources, those of nested modules included; of the former state, the data sources only."""
    for part in (*_FUTURE_PARTS, _FORMER_PART):
        for one in root.members[part].walk() if part in root.members else ():
            is_resource = "address" in one.members and "type" in one.members
            if is_resource and (part != _FORMER_PART or _read_string(one.members.get("mode")) == "data"):
                yield one


def _read_values(resource: Node) -> dict[str, Node]:
    """Return a resource's values: those planned or current, or those after its change."""
    change = resource.members.get("change")
    holder = resource.members.get("values") or (change and change.members.get("after"))
    return dict(holder.members) if holder else {}


def _add_policy(found: dict[str, PlannedPolicy], policy: Node, address: str) -> None:
    """Add a policy once for each address: the planned values and the changes both contain it."""
    if isinstance(policy.value, str) and policy.value:
        found.setdefault(address, PlannedPolicy(text=policy.value, address=address, line=policy.line))


def _find_unknown_roles(resources: Iterable[Node]) -> set[str]:
    return {
        _read_member(resource, "address")
        for resource in resources
        if _read_member(resource, "type") == "aws_iam_role" and "change" in resource.members
        if _is_policy_unknown(resource.members["change"].value)
    }


def _is_policy_unknown(change: Any) -> bool:  # noqa: ANN401 - a JSON value
    unknown = change.get("after_unknown") if isinstance(change, dict) else None
    return isinstance(unknown, dict) and bool(unknown.get("assume_role_policy"))


def _find_account(resources: Iterable[Node]) -> str:
    known = {
        _read_string(_read_values(resource).get("account_id"))
        for resource in resources
        if _read_member(resource, "type") == "aws_caller_identity"
    } - {""}
    return known.pop() if len(known) == 1 else ""


def _read_member(resource: Node, key: str) -> str:
    return _read_string(resource.members[key])


def _read_string(node: Node | None) -> str:
    return node.value if node and isinstance(node.value, str) else ""


def _is_trust_policy(text: object) -> bool:
    """Return whether a rendered document is a trust policy: it has a statement with a principal and an STS action."""
    policy = _parse_json(text) if isinstance(text, str) else None
    found = policy.get("Statement") if isinstance(policy, dict) else None
    listed = found if isinstance(found, list) else [found]
    return any(
        isinstance(one, dict) and ("Principal" in one or "NotPrincipal" in one) and "sts:" in repr(one).lower()
        for one in listed
    )


def _parse_json(text: str) -> Any:  # noqa: ANN401 - a JSON value, or the text itself where it is invalid
    try:
        return read_json(text).root.value
    except PolicyMalformedError:
        return text
