"""An account with each thing that an audit reports, and the manifests of its cluster."""

from __future__ import annotations

from typing import Any

ACCOUNT = "123456789012"
ISSUER = "oidc.example/cluster"
GITHUB = "token.actions.githubusercontent.com"
AUDIENCE = "sts.amazonaws.com"
BOUNDARY = f"arn:aws:iam::{ACCOUNT}:policy/workload-boundary"
WEB = "sts:AssumeRoleWithWebIdentity"


def role_arn(name: str) -> str:
    """Return the ARN of a role in the account."""
    return f"arn:aws:iam::{ACCOUNT}:role/{name}"


def provider_arn(issuer: str = ISSUER) -> str:
    """Return the ARN of an OIDC provider in the account."""
    return f"arn:aws:iam::{ACCOUNT}:oidc-provider/{issuer}"


def trust(*statements: dict[str, Any]) -> dict[str, Any]:
    """Return a trust policy."""
    return {"Version": "2012-10-17", "Statement": list(statements)}


def for_tokens(subject: str, *, issuer: str = ISSUER, audience: str = AUDIENCE, **extra: Any) -> dict[str, Any]:  # noqa: ANN401 - elements of a statement
    """Return a statement that admits a subject. One with a wildcard is a pattern."""
    operator = "StringLike" if "*" in subject else "StringEquals"
    condition: dict[str, Any] = {operator: {f"{issuer}:sub": subject}}
    condition.setdefault("StringEquals", {})[f"{issuer}:aud"] = audience
    principal = {"Federated": provider_arn(issuer)}
    return {"Effect": "Allow", "Principal": principal, "Action": WEB, "Condition": condition, **extra}


def for_callers(*principals: str, **condition: Any) -> dict[str, Any]:  # noqa: ANN401 - a Condition
    """Return a statement that admits AWS principals."""
    statement: dict[str, Any] = {
        "Effect": "Allow",
        "Principal": {"AWS": list(principals)},
        "Action": "sts:AssumeRole",
    }
    return {**statement, "Condition": condition} if condition else statement


ROLES: dict[str, dict[str, Any]] = {
    "cart": trust(for_tokens("system:serviceaccount:shop:cart", Sid="TrustCart")),
    "shop": trust(for_tokens("system:serviceaccount:shop:*", Sid="TrustShop")),
    "deploy": trust(for_tokens("repo:acme/shop:*", issuer=GITHUB, Sid="TrustGitHub")),
    "reports": trust(for_callers(role_arn("cart"))),
    "archive": trust(for_callers(role_arn("reports"), StringEquals={"sts:ExternalId": "archive"})),
    "admin": trust(for_callers(f"arn:aws:iam::{ACCOUNT}:root")),
    "legacy": trust(for_tokens("system:serviceaccount:shop:cart", issuer="oidc.example/old", Sid="TrustOld")),
    "vault": trust(for_tokens("system:serviceaccount:shop:vault", audience="vault", Sid="TrustVault")),
    "retired": trust(for_tokens("system:serviceaccount:shop:retired", Sid="TrustRetired")),
    "machine": trust({"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}),
}
"""The trust policy of each role, by name."""
PROVIDERS = {ISSUER: [AUDIENCE], GITHUB: [AUDIENCE], "gitlab.com": [AUDIENCE]}
"""The audiences of each provider, by issuer."""
SECONDS = {"cart": 7200}
"""Maximum session durations other than the default."""

AUTHORIZATION_DETAILS: dict[str, Any] = {
    "RoleDetailList": [
        {
            "Arn": role_arn(name),
            "RoleName": name,
            "AssumeRolePolicyDocument": policy,
            **({"PermissionsBoundary": {"PermissionsBoundaryArn": BOUNDARY}} if name == "deploy" else {}),
        }
        for name, policy in ROLES.items()
    ]
}
"""What `aws iam get-account-authorization-details --filter Role` prints."""
ROLE_LIST: dict[str, Any] = {
    "Roles": [
        {"Arn": role_arn(name), "AssumeRolePolicyDocument": policy, "MaxSessionDuration": SECONDS.get(name, 3600)}
        for name, policy in ROLES.items()
    ]
}
"""What `aws iam list-roles` prints."""
PROVIDER_LIST: dict[str, Any] = {"OpenIDConnectProviderList": [{"Arn": provider_arn(one)} for one in PROVIDERS]}
"""What `aws iam list-open-id-connect-providers` prints."""


def describe_provider(issuer: str) -> dict[str, Any]:
    """Return what `aws iam get-open-id-connect-provider` prints."""
    return {"Url": issuer, "ClientIDList": PROVIDERS[issuer], "ThumbprintList": []}


def service_account(name: str, namespace: str = "shop", **annotations: str) -> dict[str, Any]:
    """Return a service account."""
    metadata: dict[str, Any] = {"name": name, "namespace": namespace}
    if annotations:
        metadata["annotations"] = {
            f"eks.amazonaws.com/{key.replace('_', '-')}": one for key, one in annotations.items()
        }
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}


def deployment(name: str, role: str, account: str = "") -> dict[str, Any]:
    """Return a Deployment whose pods request a role with the broker's annotation."""
    spec = {"serviceAccountName": account or name, "containers": [{"name": "app", "image": "app"}]}
    template = {"metadata": {"annotations": {"sts-broker/role-arn": role}}, "spec": spec}
    metadata = {"name": name, "namespace": "shop"}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": {"template": template}}


MANIFESTS: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "List",
    "items": [
        service_account("cart"),
        service_account("web"),
        deployment("cart", role_arn("cart")),
        deployment("web", role_arn("cart")),
    ],
}
"""What kubectl prints of the cluster."""
