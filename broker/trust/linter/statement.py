"""A statement of a trust policy as the linter reads it: principals, actions and conditions with their types.

A value of the wrong type is listed in `faults` and treated as absent. This module does not judge statements.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from broker.policy.conditions import NotUnderstood, OperatorName, parse_operator
from broker.policy.provider_claims import BUILT_IN_PROVIDERS, SERVICE_ACCOUNT_PREFIX
from broker.policy.statements import explain_action_mismatch, list_statements, name_statement, read_strings
from broker.trust.planned_document import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broker.policy.document import Document, Node

WEB_IDENTITY = "sts:AssumeRoleWithWebIdentity"
ASSUME_ROLE = "sts:AssumeRole"
_PROVIDER = re.compile(r"arn:aws[a-z-]*:iam::(\d{12}):oidc-provider/(.*)", re.DOTALL)
_SAML_PROVIDER = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:saml-provider/.+")
_SAML = "sts:assumerolewithsaml"
_PRINCIPAL_TYPES = ("AWS", "CanonicalUser", "Federated", "Service")


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One key under one operator, with its values as strings.

    `key` has the case of the policy. Keys are not case-sensitive: compare them in lower case.
    """

    operator: str
    parsed: OperatorName
    key: str
    values: tuple[str, ...]

    @property
    def is_strict(self) -> bool:
        """Whether the condition fails where the key is absent or has none of the values."""
        plain = not self.parsed.is_negated and not self.parsed.if_exists
        return plain and self.parsed.set_prefix != "ForAllValues:" and self.parsed.bare not in ("Null", "Bool")


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One statement.

    `principals` maps each principal type (AWS, Federated, Service) to its names. `faults` describes what is malformed.
    """

    name: str
    line: int
    raw: Mapping[str, Any]
    principals: Mapping[str, tuple[str, ...]]
    actions: tuple[str, ...]
    conditions: tuple[Condition, ...]
    faults: tuple[str, ...]

    @property
    def is_allow(self) -> bool:
        """Whether the effect is Allow."""
        return bool(self.raw.get("Effect") == "Allow")

    @property
    def is_for_web_identities(self) -> bool:
        """Whether the statement is about tokens: it names a federated principal, or the action for web identities.

        A statement for AWS services only is never about tokens.
        """
        if "Federated" in self.principals:
            return True
        named = [action for action in self.actions if action.lower() == WEB_IDENTITY.lower()]
        return bool(named) and set(self.principals) != {"Service"}

    @property
    def is_for_saml(self) -> bool:
        """Whether the statement is about SAML assertions: its principals are SAML providers only.

        Naming the action for web identities makes it a statement about tokens all the same.
        """
        names = self.principals.get("Federated", ())
        named = {action.lower() for action in self.actions}
        is_saml = all(_SAML_PROVIDER.fullmatch(name) or (name == UNKNOWN and _SAML in named) for name in names)
        return bool(names) and is_saml and set(self.principals) == {"Federated"} and WEB_IDENTITY.lower() not in named

    @property
    def is_for_service_accounts(self) -> bool:
        """Whether a condition names subjects as only Kubernetes clusters have them."""
        subjects = (value for one in self.conditions if one.key.lower().endswith(":sub") for value in one.values)
        return any(value.lower().startswith(SERVICE_ACCOUNT_PREFIX) for value in subjects)

    @property
    def issuers(self) -> tuple[str, ...]:
        """The issuers of the named OIDC providers, in lower case and without https://."""
        found = (find_issuer(name) for name in self.principals.get("Federated", ()))
        return tuple(dict.fromkeys(issuer.lower() for issuer in found if issuer is not None))

    def split_key(self, key: str) -> tuple[str, str]:
        """Return the issuer and the claim in a condition key, in lower case; a claim may contain colons."""
        lowered = key.lower()
        for issuer in self.issuers:
            if lowered.startswith(f"{issuer}:"):
                return issuer, lowered.removeprefix(f"{issuer}:")
        issuer, _, claim = lowered.rpartition(":")
        return issuer, claim

    def has_action(self, action: str) -> bool:
        """Return whether the statement covers this action, by name or by wildcard."""
        try:
            return explain_action_mismatch(self.raw, action) is None
        except NotUnderstood:
            return False


def parse_provider_arn(arn: str) -> tuple[str, str] | None:
    """Return account and issuer of an OIDC provider's ARN, or None where it is not such an ARN."""
    found = _PROVIDER.fullmatch(arn)
    return (found[1], found[2]) if found else None


def find_issuer(name: str) -> str | None:
    """Return the issuer, without https://, of a federated principal; None where it isn't an OIDC provider."""
    provider = parse_provider_arn(name)
    if provider is not None:
        return provider[1]
    return name if name in BUILT_IN_PROVIDERS else None


def read_statements(document: Document) -> tuple[Statement, ...]:
    """Return all statements of a policy. Raises PolicyMalformedError where it has none that can be read."""
    list_statements(document.root.value)
    node = document.root.members["Statement"]
    nodes = node.items if isinstance(node.value, list) else (node,)
    return tuple(_read_statement(node, place) for place, node in enumerate(nodes, start=1))


def _read_statement(node: Node, place: int) -> Statement:
    raw, faults = node.value, list[str]()
    if raw.get("Effect") not in ("Allow", "Deny"):
        faults.append(f"Effect is {raw.get('Effect')!r}" if "Effect" in raw else "Effect is missing")
    if not isinstance(raw.get("Sid", ""), str):
        faults.append("Sid isn't a string")
    if "Action" not in raw and "NotAction" not in raw:
        faults.append("Action is missing")
    principals = dict(_read_principals(raw, faults))
    actions = _read_values(raw.get("Action", []), "Action", faults)
    conditions = tuple(_read_conditions(raw.get("Condition", {}), faults))
    return Statement(
        name=name_statement(raw, place),
        line=node.line,
        raw=raw,
        principals=principals,
        actions=actions,
        conditions=conditions,
        faults=tuple(faults),
    )


def _read_principals(raw: Mapping[str, Any], faults: list[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    found = raw.get("Principal")
    if found is None and "NotPrincipal" in raw:
        return
    if found == "*":  # IAM treats it as {"AWS": "*"}
        yield "AWS", ("*",)
    elif not isinstance(found, Mapping) or not found:
        faults.append(
            "Principal isn't an object with a principal type" if "Principal" in raw else "Principal is missing"
        )
    else:
        for kind, names in found.items():
            if kind not in (*_PRINCIPAL_TYPES, UNKNOWN):
                faults.append(f"{kind} isn't a principal type")
            yield kind, _read_values(names, f"Principal {kind}", faults)


def _read_conditions(found: object, faults: list[str]) -> Iterator[Condition]:
    if not isinstance(found, Mapping):
        faults.append("Condition isn't an object")
        return
    for operator, block in found.items():
        if not isinstance(block, Mapping):
            faults.append(f"{operator} isn't an object of condition keys")
            continue
        for key, value in block.items():
            values = value if isinstance(value, list) else [value]
            strings = [_as_string(one, operator) for one in values]
            yield Condition(
                operator=operator,
                parsed=parse_operator(operator),
                key=key,
                values=_read_values(strings, f"{operator} {key}", faults),
            )


def _as_string(value: object, operator: str) -> object:
    """Return truth values, and numbers under a numeric operator, as the strings that IAM compares them as."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int) and "Numeric" in operator else value


def _read_values(value: object, element: str, faults: list[str]) -> tuple[str, ...]:
    try:
        found = tuple(read_strings(value, element))
    except NotUnderstood as error:
        faults.append(str(error))
        return ()
    if not found and value == [] and element != "Action":
        faults.append(f"{element} has no values")
    return found
