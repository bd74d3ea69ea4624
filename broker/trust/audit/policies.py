"""The trust policies of an account, read for the audit, and which roles a policy lets assume a role. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from broker.core.role_arns import read_account
from broker.policy.document import PolicyMalformedError, read_json
from broker.policy.provider_claims import BUILT_IN_PROVIDERS
from broker.policy.trust_policy import Caller
from broker.trust.audit.admission import Request, Verdict, admit
from broker.trust.explain import WebIdentity
from broker.trust.linter.statement import ASSUME_ROLE, WEB_IDENTITY, find_issuer, parse_provider_arn, read_statements

if TYPE_CHECKING:
    from broker.trust.audit.account import Role
    from broker.trust.audit.admission import Admission
    from broker.trust.linter.statement import Statement

_SESSION = re.compile(r"arn:[a-z-]+:sts::(\d{12}):assumed-role/([^/*?]+)/[^*?]+")
_ROLE = re.compile(r"arn:[a-z-]+:iam::\d{12}:role/[^*?]+")
_CALLER_KEYS: Final = ("aws:principalarn", "aws:userid", "aws:username")
"""Keys whose values differ between the roles of an account."""
PERMISSION: Final = "its permissions allow sts:AssumeRole"
"""What a policy that names a whole account requires of a role."""
_SESSION_NAME: Final = "sts:RoleSessionName"


@dataclass(frozen=True, slots=True, kw_only=True)
class RolePolicy:
    """A role and the statements of its trust policy."""

    role: Role
    statements: tuple[Statement, ...]

    @property
    def providers(self) -> tuple[str, ...]:
        """The OIDC providers that Allow statements name: ARNs, and names of built-in providers."""
        return tuple(dict.fromkeys(name for name in self.list_allowed("Federated") if find_issuer(name) is not None))

    @property
    def trusts_web_identities(self) -> bool:
        """Whether an Allow statement is for the tokens of OIDC providers."""
        return any(one.is_allow and one.is_for_web_identities and not one.is_for_saml for one in self.statements)

    @property
    def named_roles(self) -> tuple[str, ...]:
        """The roles that Allow statements name: their ARNs, or ACCOUNT/NAME where a session is named."""
        return tuple(dict.fromkeys(filter(None, map(_find_role, self.list_allowed("AWS")))))

    @property
    def trusts_own_account(self) -> bool:
        """Whether an Allow statement names the role's whole account, or everybody."""
        account = self.role.account
        whole = {"*", account, f"arn:{self.role.partition}:iam::{account}:root"}
        return not whole.isdisjoint(self.list_allowed("AWS"))

    @property
    def distinguishes_callers(self) -> bool:
        """Whether a condition treats the roles of one account differently."""
        keys = {condition.key.lower() for one in self.statements for condition in one.conditions}
        return not keys.isdisjoint(_CALLER_KEYS)

    def list_allowed(self, kind: str) -> list[str]:
        """Return the principals of a kind, such as AWS, that Allow statements name."""
        return [name for one in self.statements if one.is_allow for name in one.principals.get(kind, ())]


def read_policy(role: Role) -> RolePolicy:
    """Return a role with its statements. Raises PolicyMalformedError."""
    document = read_json(role.source.text)
    if document.duplicates:
        raise PolicyMalformedError(f"the key {document.duplicates[0].key} appears twice in one object")
    return RolePolicy(role=role, statements=read_statements(document))


def _find_role(principal: str) -> str | None:
    session = _SESSION.fullmatch(principal)
    if session is not None:
        return f"{session[1]}/{session[2]}"
    return principal if _ROLE.fullmatch(principal) else None


def admit_token(policy: RolePolicy, provider: str, *, subject: str, audience: str, is_cluster: bool) -> Admission:
    """Return whether a policy admits tokens of a provider with this subject and audience.

    `is_cluster` is true where the provider belongs to a Kubernetes cluster: its tokens have no further claims.
    """
    issuer = find_issuer(provider) or ""
    identity = WebIdentity(issuer=issuer, subject=subject, audiences=(audience,), session_name="")
    context = {key: values for key, values in identity.as_context(audience).items() if key != _SESSION_NAME}
    own = ("aws:", "sts:") if is_cluster else ("aws:", "sts:", f"{issuer.lower()}:")
    request = Request(
        caller=Caller(kind="Federated", names=(provider,)),
        action=WEB_IDENTITY,
        context=context,
        is_open=lambda key: key.startswith(own),
    )
    return admit(policy.statements, request)


def admit_role(policy: RolePolicy, arn: str) -> Admission:
    """Return whether a policy lets the sessions of another role, with this ARN, assume its role.

    A policy that names the role admits it. One that names the account admits it if the permissions of the role allow
    it, too (IAM User Guide, reference_policies_elements_principal, "AWS account principals").
    """
    account, name = read_account(arn), arn.rpartition("/")[2]
    sessions = [one for one in policy.list_allowed("AWS") if _find_role(one) == f"{account}/{name}"]
    own_names = (arn, *sessions)
    whole = f"arn:{policy.role.partition}:iam::{account}:root"
    found = _admit_role_as(policy, arn, (*own_names, whole, account, "*"))
    if not found.is_possible or _admit_role_as(policy, arn, own_names).is_possible:
        return found
    return replace(found, verdict=Verdict.CONDITIONAL, conditions=(*found.conditions, PERMISSION))


def _admit_role_as(policy: RolePolicy, arn: str, names: tuple[str, ...]) -> Admission:
    request = Request(
        caller=Caller(kind="AWS", names=names),
        action=ASSUME_ROLE,
        context={
            "aws:PrincipalArn": [arn],
            "aws:PrincipalAccount": [read_account(arn)],
            "aws:PrincipalIsAWSService": ["false"],
            "aws:PrincipalType": ["AssumedRole"],
        },
        is_open=lambda key: key.startswith(("aws:", "sts:")),
    )
    return admit(policy.statements, request)


def is_in_own_account(provider: str, role: Role) -> bool:
    """Return whether STS finds a provider for a role: it looks in the role's account only."""
    found = parse_provider_arn(provider)
    return provider in BUILT_IN_PROVIDERS or (found is not None and role.account in ("", found[0]))
