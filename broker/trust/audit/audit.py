"""Audit an account: put together its roles, chains, rows and findings. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from broker.core.errors import ConfigurationError
from broker.policy.document import PolicyMalformedError
from broker.policy.provider_claims import find_known_provider
from broker.trust.audit import findings, matrix
from broker.trust.audit.admission import Verdict
from broker.trust.audit.chains import find_chains
from broker.trust.audit.cluster import list_requests
from broker.trust.audit.policies import read_policy
from broker.trust.linter.statement import find_issuer

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from broker.trust.audit.account import Account
    from broker.trust.audit.chains import Chains
    from broker.trust.audit.cluster import Cluster
    from broker.trust.audit.matrix import Entry
    from broker.trust.audit.policies import RolePolicy
    from broker.trust.linter.report import LocatedFinding


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditedRole:
    """A role that tokens can reach. `reached` says how: token, account (which admits its own roles), or chain."""

    policy: RolePolicy
    reached: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """The result. `roles` are those that tokens can reach, `other_roles` the number of all others."""

    account: Account
    roles: tuple[AuditedRole, ...]
    other_roles: int
    findings: tuple[LocatedFinding, ...]
    users: Mapping[str, int] = field(default_factory=dict)
    """The number of roles that name each provider, by ARN."""
    cluster: Cluster | None = None
    issuer: str = ""
    """The issuer of the cluster, without https://."""

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All rows of the matrix."""
        return tuple(entry for role in self.roles for entry in role.entries)


def audit(account: Account, *, cluster: Cluster | None, issuer: str, ignored: Collection[str]) -> Audit:
    """Return the audit of an account.

    Args:
        account: What was read of it. What cannot be judged is added to its lists.
        cluster: What the manifests of a cluster have, or None.
        issuer: The issuer of that cluster without https://, "" to find it among the providers.
        ignored: The IDs of rules to skip.

    Raises:
        ConfigurationError: The manifests may belong to several issuers.
    """
    policies = _read_policies(account)
    clusters = _find_clusters(policies.values())
    world = matrix.World(
        providers={one.arn: one for one in account.providers},
        has_all=account.has_all_providers,
        clusters=clusters | {issuer},
        issuer=_choose_issuer(issuer, clusters) if cluster is not None else "",
        accounts=cluster.accounts if cluster is not None else None,
    )
    chains = find_chains(policies.values())
    entries = _list_entries(policies, chains, world)
    roles = tuple(
        AuditedRole(policy=policies[arn], reached=_describe_reach(policies[arn], found), entries=tuple(found))
        for arn, found in sorted(entries.items())
    )
    found = [
        *(one for role in roles for one in findings.find_policy_findings(role.policy, account)),
        *findings.find_provider_findings(policies.values(), world),
        *findings.find_unusable_roles(policies.values(), entries, world),
    ]
    if cluster is not None:
        requests = list_requests(cluster)
        found += findings.find_refusals(requests, policies, world, account, cluster.file)
        account.unjudged += cluster.unjudged
    _note_gaps(roles, account)
    return Audit(
        account=account,
        roles=roles,
        other_roles=len(account.roles) - len(roles),
        findings=tuple(
            sorted(
                (one for one in found if one.finding.rule.id not in ignored),
                key=lambda one: one.finding.rule.severity.value,
            )
        ),
        users={one: sum(one in each.providers for each in policies.values()) for one in world.providers},
        cluster=cluster,
        issuer=world.issuer,
    )


def _read_policies(account: Account) -> dict[str, RolePolicy]:
    found = {}
    for role in account.roles:
        try:
            found[role.arn] = read_policy(role)
        except PolicyMalformedError as error:
            account.unjudged.append(f"{role.arn}: {error}")
    return found


def _find_clusters(policies: Iterable[RolePolicy]) -> set[str]:
    """Return the issuers for which a policy names service accounts."""
    return {
        find_issuer(name) or ""
        for policy in policies
        for statement in policy.statements
        if statement.is_allow and statement.is_for_service_accounts
        for name in statement.principals.get("Federated", ())
        if find_issuer(name) and find_known_provider(find_issuer(name) or "") is None
    }


def _choose_issuer(issuer: str, clusters: Collection[str]) -> str:
    """Return the issuer of the cluster whose manifests were passed."""
    if issuer or len(clusters) == 1:
        return issuer or next(iter(clusters))
    found = ", ".join(f"https://{one}" for one in sorted(clusters)) or "none"
    fault = f"The issuer of the manifests' cluster (--issuer) is missing; roles name service accounts of: {found}."
    remedy = "Pass the issuer that `kubectl get --raw /.well-known/openid-configuration` prints."
    raise ConfigurationError((f"{fault} {remedy}",))


def _list_entries(policies: Mapping[str, RolePolicy], chains: Chains, world: matrix.World) -> dict[str, list[Entry]]:
    """Return the rows by role, for each role that tokens can reach."""
    direct = {arn: list(matrix.list_entries(one, world)) for arn, one in policies.items() if one.trusts_web_identities}
    found: dict[str, list[Entry]] = {arn: list(rows) for arn, rows in direct.items()}
    for arn in direct:  # in reach by its policy, also if nobody can use the first role at present
        for target in chains.find_paths(arn):
            found.setdefault(target, [])
    starts = [entry for rows in direct.values() for entry in rows]
    if direct:
        starts += (entry for one in policies.values() for entry in matrix.list_account_entries(one, chains))
    for entry in starts:
        if entry.provider == "":
            found.setdefault(entry.role, []).append(entry)
        for further in matrix.extend(entry, policies, chains):
            found.setdefault(further.role, []).append(further)
    return found


def _describe_reach(policy: RolePolicy, entries: Iterable[Entry]) -> str:
    if policy.trusts_web_identities:
        return "token"
    return "account" if any(one.kind == matrix.ACCOUNT_KIND and not one.through for one in entries) else "chain"


def _note_gaps(roles: Iterable[AuditedRole], account: Account) -> None:
    """Add the rows that could not be judged to the account's list."""
    account.unjudged += [
        f"{entry.role}: {entry.subject}: {entry.admission.reason}"
        for role in roles
        for entry in role.entries
        if entry.admission.verdict is Verdict.UNJUDGED
    ]
    account.unjudged[:] = dict.fromkeys(account.unjudged)
