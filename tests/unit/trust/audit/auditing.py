"""Accounts for tests of the audit, and shortcuts to its result."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from broker.trust.audit.account import Account, Provider, Role
from broker.trust.audit.audit import Audit, audit
from broker.trust.audit.cluster import Cluster, read_cluster
from broker.trust.sources import Source
from tests.support.audited_account import AUDIENCE, BOUNDARY, ISSUER, SECONDS, provider_arn, role_arn

if TYPE_CHECKING:
    from collections.abc import Mapping


def make_role(name: str, policy: Mapping[str, Any] | str) -> Role:
    text = policy if isinstance(policy, str) else json.dumps(policy)
    source = Source(file="", text=text, address=role_arn(name))
    return Role(
        arn=role_arn(name),
        source=source,
        maximum_seconds=SECONDS.get(name, 3600),
        boundary=BOUNDARY if name == "deploy" else "",
    )


def make_account(
    policies: Mapping[str, Mapping[str, Any] | str], providers: Mapping[str, Any] | None = None
) -> Account:
    """Return an account that was read completely. `providers` has the audiences by issuer."""
    listed = {ISSUER: [AUDIENCE]} if providers is None else providers
    return Account(
        roles=[make_role(name, policy) for name, policy in policies.items()],
        providers=[
            Provider(
                arn=provider_arn(issuer),
                source=Source(file="", text="", address=provider_arn(issuer)),
                audiences=None if audiences is None else tuple(audiences),
            )
            for issuer, audiences in listed.items()
        ],
        has_all_roles=True,
        has_all_providers=True,
    )


def make_cluster(*manifests: Mapping[str, Any]) -> Cluster:
    return read_cluster("---\n".join(json.dumps(one) + "\n" for one in manifests), "cluster.yaml")


def run_audit(
    policies: Mapping[str, Mapping[str, Any] | str],
    *manifests: Mapping[str, Any],
    providers: Mapping[str, Any] | None = None,
    issuer: str = ISSUER,
) -> Audit:
    """Return the audit of roles, by name, with a cluster where manifests are given."""
    cluster = make_cluster(*manifests) if manifests else None
    account = make_account(policies, providers)
    return audit(account, cluster=cluster, issuer=issuer if manifests else "", ignored=())


def list_rows(result: Audit) -> list[tuple[str, str, str, str]]:
    """Return subject, role, roles in between and verdict of each row."""
    return [
        (one.subject, name(one.role), " ".join(map(name, one.through)), one.admission.verdict.value)
        for one in result.entries
    ]


def list_findings(result: Audit) -> set[tuple[str, str]]:
    """Return the name of the role, provider or workload of each finding, and the rule."""
    return {(name(one.source.address), one.finding.rule.id) for one in result.findings}


def name(arn: str) -> str:
    return arn.split(":", 5)[-1].partition("/")[2] if arn.startswith("arn:") else arn
