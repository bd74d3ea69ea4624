"""Build the policy of an `aws_iam_policy_document` that Terraform reads only when it applies the plan.

The plan then has no JSON text, but the statements, as far as their values are known. A value that is unknown becomes
`UNKNOWN`, which the linter does not judge. The result is what the AWS provider renders
(hashicorp/terraform-provider-aws, internal/service/iam/policy_document_data_source.go). The code is pure.
"""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

UNKNOWN = "(known after apply)"
"""Takes the place of a value that a Terraform plan does not know yet. The linter never judges it."""
_LISTS = {
    "actions": "Action",
    "not_actions": "NotAction",
    "resources": "Resource",
    "not_resources": "NotResource",
}


def build_policy(known: Mapping[str, Any], unknown: Mapping[str, Any]) -> str | None:
    """Return the JSON text of a document, or None where no statement of it is known.

    `known` has the values after the change; `unknown` has true in the place of each that is unknown.
    """
    statements = _merge(known.get("statement"), unknown.get("statement"))
    if not isinstance(statements, list):
        return None
    built = [_build_statement(one) for one in statements if isinstance(one, dict)]
    version = known.get("version") or "2012-10-17"
    return json.dumps({"Version": version, "Statement": built}, indent=2) if built else None


def _merge(known: Any, unknown: Any) -> Any:  # noqa: ANN401 - JSON values
    """Return the known value with `UNKNOWN` in each place where `unknown` is true."""
    if unknown is True:
        return UNKNOWN
    if isinstance(unknown, dict):
        block = known if isinstance(known, dict) else {}
        return {**block, **{key: _merge(block.get(key), value) for key, value in unknown.items()}}
    if isinstance(unknown, list):
        items = known if isinstance(known, list) else []
        return [_merge(item, one) for item, one in itertools.zip_longest(items, unknown)]
    return known


def _build_statement(one: Mapping[str, Any]) -> dict[str, Any]:
    # Where Effect is unknown, it is judged as Allow, which is its default.
    statement: dict[str, Any] = {"Effect": "Deny" if one.get("effect") == "Deny" else "Allow"}
    if one.get("sid") and one["sid"] != UNKNOWN:
        statement["Sid"] = one["sid"]
    for key, element in (("principals", "Principal"), ("not_principals", "NotPrincipal")):
        if one.get(key):
            statement[element] = _build_principal(one[key])
    for key, element in _LISTS.items():
        if one.get(key):
            statement[element] = _list_values(one[key])
    if one.get("condition"):
        statement["Condition"] = _build_condition(one["condition"])
    return statement


def _build_principal(blocks: object) -> dict[str, list[str]] | str:
    built: dict[str, list[str]] = {}
    for block in _list_blocks(blocks):
        kind, names = block.get("type") or UNKNOWN, _list_values(block.get("identifiers"))
        if kind == "*" and names == ["*"]:
            return "*"
        built.setdefault(kind, []).extend(names)
    return built


def _build_condition(blocks: object) -> dict[str, dict[str, list[str]]]:
    built: dict[str, dict[str, list[str]]] = {}
    for block in _list_blocks(blocks):
        test, variable = block.get("test") or UNKNOWN, block.get("variable") or UNKNOWN
        built.setdefault(test, {}).setdefault(variable, []).extend(_list_values(block.get("values")))
    return built


def _list_blocks(blocks: object) -> list[Mapping[str, Any]]:
    """Return the blocks of a kind; one without values where they are unknown altogether."""
    if not isinstance(blocks, list):
        return [{"values": UNKNOWN, "identifiers": UNKNOWN}]
    return [one if isinstance(one, dict) else {"values": UNKNOWN, "identifiers": UNKNOWN} for one in blocks]


def _list_values(values: object) -> list[str]:
    """Return the strings of a list, in which Terraform writes a policy variable as `&{name}`."""
    listed = values if isinstance(values, list) else [UNKNOWN]
    return [str(one).replace("&{", "${") for one in listed]
