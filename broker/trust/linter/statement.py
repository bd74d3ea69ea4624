"""A statement of a trust policy as the linter looks at it: principals, actions and conditions, read with their kinds.

Rules: what has the wrong kind is told in `faults`, and read as absent; nothing is guessed at.
It refuses to know what is good or bad about a statement.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from broker.policy.conditions import NotUnderstood, OperatorName, parse_operator
from broker.policy.statements import action_mismatch, name_of, statements_of, texts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broker.policy.document import Document, Node

WEB_IDENTITY = "sts:AssumeRoleWithWebIdentity"
ASSUME_ROLE = "sts:AssumeRole"
_PROVIDER = re.compile(r"arn:aws[a-z-]*:iam::(\d{12}):oidc-provider/(.*)", re.DOTALL)
_KINDS = ("AWS", "CanonicalUser", "Federated", "Service")


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One key under one operator, with its values as texts. `key` is as written; keys are compared in lower case."""

    operator: str
    parsed: OperatorName
    key: str
    values: tuple[str, ...]

    @property
    def is_kept(self) -> bool:
        """Whether it keeps out everybody whose key is absent or has none of the values."""
        plain = not self.parsed.is_negated and not self.parsed.if_exists
        return plain and self.parsed.set_prefix != "ForAllValues:" and self.parsed.bare not in ("Null", "Bool")


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """`principals` maps each kind (AWS, Federated, Service) to its names; `faults` says what cannot be read."""

    name: str
    line: int
    raw: Mapping[str, Any]
    principals: Mapping[str, tuple[str, ...]]
    actions: tuple[str, ...]
    conditions: tuple[Condition, ...]
    faults: tuple[str, ...]

    @property
    def allows(self) -> bool:
        """Whether its effect is Allow."""
        return bool(self.raw.get("Effect") == "Allow")

    @property
    def is_for_web_identities(self) -> bool:
        """Whether it is about tokens: it names federated principals, or an action for them (but for a service)."""
        if "Federated" in self.principals:
            return True
        named = [action for action in self.actions if action.lower() == WEB_IDENTITY.lower()]
        return bool(named) and set(self.principals) != {"Service"}

    @property
    def issuers(self) -> tuple[str, ...]:
        """The issuers of the OIDC providers that it names, without https://, in lower case."""
        found = (provider_of(name) for name in self.principals.get("Federated", ()))
        return tuple(dict.fromkeys(provider[1].lower() for provider in found if provider))

    def covers(self, action: str) -> bool:
        """Say whether it is about this action, wildcards included."""
        try:
            return action_mismatch(self.raw, action) is None
        except NotUnderstood:
            return False


def provider_of(arn: str) -> tuple[str, str] | None:
    """Take the ARN of an OIDC provider apart: account and issuer. None: it is the ARN of something else."""
    found = _PROVIDER.fullmatch(arn)
    return (found[1], found[2]) if found else None


def read_statements(document: Document) -> tuple[Statement, ...]:
    """Read all statements of a policy. PolicyMalformedError: it has none that could be read."""
    statements_of(document.root.value)
    node = document.root.members["Statement"]
    nodes = node.items if isinstance(node.value, list) else (node,)
    return tuple(_read(node, place) for place, node in enumerate(nodes, start=1))


def _read(node: Node, place: int) -> Statement:
    raw, faults = node.value, list[str]()
    if raw.get("Effect") not in ("Allow", "Deny"):
        faults.append(f"Effect is {raw.get('Effect')!r}" if "Effect" in raw else "there is no Effect")
    if not isinstance(raw.get("Sid", ""), str):
        faults.append("Sid is no text")
    if "Action" not in raw and "NotAction" not in raw:
        faults.append("there is no Action")
    principals = dict(_principals(raw, faults))
    actions = _texts(raw.get("Action", []), "Action", faults)
    conditions = tuple(_conditions(raw.get("Condition", {}), faults))
    return Statement(
        name=name_of(raw, place),
        line=node.line,
        raw=raw,
        principals=principals,
        actions=actions,
        conditions=conditions,
        faults=tuple(faults),
    )


def _principals(raw: Mapping[str, Any], faults: list[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    found = raw.get("Principal")
    if found is None and "NotPrincipal" in raw:
        return
    if found == "*":  # IAM reads a bare star so
        yield "AWS", ("*",)
    elif not isinstance(found, Mapping) or not found:
        faults.append("Principal is no object that names somebody" if "Principal" in raw else "there is no Principal")
    else:
        for kind, names in found.items():
            if kind not in _KINDS:
                faults.append(f"{kind} is no kind of principal")
            yield kind, _texts(names, f"Principal {kind}", faults)


def _conditions(found: object, faults: list[str]) -> Iterator[Condition]:
    if not isinstance(found, Mapping):
        faults.append("Condition is no object")
        return
    for operator, block in found.items():
        if not isinstance(block, Mapping):
            faults.append(f"{operator} is no object of keys")
            continue
        for key, value in block.items():
            values = value if isinstance(value, list) else [value]
            told = [str(one).lower() if isinstance(one, bool) else one for one in values]
            place = f"{operator} {key}"
            yield Condition(
                operator=operator, parsed=parse_operator(operator), key=key, values=_texts(told, place, faults)
            )


def _texts(value: object, element: str, faults: list[str]) -> tuple[str, ...]:
    try:
        found = tuple(texts(value, element))
    except NotUnderstood:
        faults.append(f"{element} holds something that is no text")
        return ()
    if not found and value == [] and element != "Action":
        faults.append(f"{element} has no values")
    return found
