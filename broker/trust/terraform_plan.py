"""Find the trust policies in the resources of a Terraform plan or state.

A policy that the plan knows only in parts is returned with what is known of it. What cannot be judged at all is listed,
so that it is never mistaken for a policy without findings. The code is pure.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from broker.policy.document import PolicyMalformedError, read_json
from broker.trust.planned_document import build_policy
from broker.trust.terraform_resources import list_resources

if TYPE_CHECKING:
    from collections.abc import Iterable

    from broker.policy.document import Node
    from broker.trust.terraform_resources import Resource

_ROLE, _DOCUMENT = "aws_iam_role", "aws_iam_policy_document"
_ROLE_ARN = re.compile(r"arn:aws[a-z-]*:iam::(\d{12}):role/.+")
_MERGED_DOCUMENTS = ("source_policy_documents", "override_policy_documents")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedPolicy:
    """A trust policy in a plan.

    `address` is that of its resource; `line` is where its text begins in the plan. `account` is that of the role, ""
    where it is unknown. `is_partial` is true where the plan knows the policy in parts only.
    """

    text: str
    address: str
    line: int
    account: str = ""
    is_partial: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The trust policies of a plan. `unknown` has what cannot be judged before the plan is applied, in sentences."""

    policies: tuple[PlannedPolicy, ...]
    unknown: tuple[str, ...]


def read_plan(root: Node) -> Plan:
    """Return the trust policy of each role, and the trust policy documents that no role in the plan uses."""
    resources = list(list_resources(root))
    account = _find_account(resources)
    roles: dict[str, PlannedPolicy] = {}
    documents: dict[str, PlannedPolicy] = {}
    for one in resources:
        if one.type == _ROLE and one.read("assume_role_policy"):
            found = _ROLE_ARN.fullmatch(one.read("arn"))
            policy = _make_policy(one, "assume_role_policy", found[1] if found else account)
            roles.setdefault(one.address, policy)
        elif one.type == _DOCUMENT and _is_trust_policy(one.read("json")):
            documents.setdefault(one.address, _make_policy(one, "json", account))
    partial = {one.address: one for one in map(_read_partial_document, resources) if one is not None}
    missing = _find_roles_without_text(resources, roles)
    used = [_parse_json(role.text) for role in roles.values()]
    unused = [document for document in documents.values() if _parse_json(document.text) not in used]
    return Plan(
        policies=(*roles.values(), *unused, *partial.values()),
        unknown=tuple(dict.fromkeys((*itertools.chain(*(_find_unknown(one, partial) for one in resources)), *missing))),
    )


def _make_policy(resource: Resource, key: str, account: str) -> PlannedPolicy:
    line = resource.values[key].line
    return PlannedPolicy(text=resource.read(key), address=resource.address, line=line, account=account)


def _read_partial_document(resource: Resource) -> PlannedPolicy | None:
    """Return what is known of a trust policy document that Terraform reads during the apply."""
    if resource.type != _DOCUMENT or not resource.unknown.get("json"):
        return None
    text = build_policy({key: node.value for key, node in resource.values.items()}, resource.unknown)
    if text is None or not _is_trust_policy(text):
        return None
    line = resource.values["statement"].line if "statement" in resource.values else 1
    return PlannedPolicy(text=text, address=resource.address, line=line, is_partial=True)


def _find_unknown(resource: Resource, partial: Iterable[str]) -> list[str]:
    """Return a sentence for each part of a resource that cannot be judged."""
    if resource.type == _ROLE and resource.unknown.get("assume_role_policy"):
        return [f"the trust policy of {resource.address} is unknown until the plan is applied"]
    if resource.address not in partial:
        return []
    merged = [
        key
        for key in _MERGED_DOCUMENTS
        if resource.unknown.get(key) or (key in resource.values and resource.values[key].value)
    ]
    return [f"{key} of {resource.address} is merged when the plan is applied" for key in merged]


def _find_roles_without_text(resources: Iterable[Resource], roles: Iterable[str]) -> list[str]:
    """Return a sentence for each role that has values but no policy among them. One that is destroyed has none."""
    listed = {one.address for one in resources if one.type == _ROLE and one.values} - set(roles)
    unknown = {one.address for one in resources if one.type == _ROLE and one.unknown.get("assume_role_policy")}
    return [f"{address} has no trust policy here" for address in sorted(listed - unknown)]


def _find_account(resources: Iterable[Resource]) -> str:
    known = {one.read("account_id") for one in resources if one.type == "aws_caller_identity"} - {""}
    return known.pop() if len(known) == 1 else ""


def _is_trust_policy(text: str) -> bool:
    """Return whether a rendered document is a trust policy: it has a statement with a principal and an STS action."""
    policy = _parse_json(text)
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
