"""Tokens as other issuers than clusters write them, and as GKE and AKS do: made-up values, documented claims.

Sources, as read in November 2026:

- GitHub Actions: docs.github.com/actions/concepts/security/openid-connect ("Understanding the OIDC token") and
  docs.github.com/actions/reference/security/oidc (claims, "Immutable subject claims"). `nbf` is 600 s before `iat` and
  `exp` 300 s after it, as in the example there and in actions/toolkit#2048. `aud` is what the job requests.
- GitLab: docs.gitlab.com/ci/secrets/id_token_authentication ("Token payload"). `nbf` is 5 s before `iat`, and `exp`
  is `iat` plus the job's timeout. IDs are strings, but for `runner_id`.
- SPIRE: spiffe/spire pkg/server/credtemplate/builder.go, BuildWorkloadJWTSVIDClaims (`sub`, `aud`, `exp`, `iat`, and
  `iss` only if jwt_issuer is set), and spiffe/spiffe standards/JWT-SVID.md. The default lifetime is 5 minutes.
- GKE and AKS: the claims of Kubernetes (pkg/serviceaccount/claims.go). The issuer of GKE is the cluster's URL in its
  API (docs.cloud.google.com, projects.locations.clusters.getOpenid-configuration). That of AKS ends with a slash
  (learn.microsoft.com/azure/aks/use-oidc-issuer; Azure/azure-workload-identity#1700).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sandbox.cluster.issuer import make_uid

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

AUDIENCE = "sts.amazonaws.com"
GITHUB = "https://token.actions.githubusercontent.com"
GITLAB = "https://gitlab.com"
SPIRE = "https://oidc-discovery.example.org"
GKE = "https://container.googleapis.com/v1/projects/acme-prod/locations/europe-west1/clusters/shop"
AKS = "https://westeurope.oic.prod-aks.azure.com/00000000-0000-0000-0000-000000000000/11111111-1111-1111-1111-111111111111/"


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedToken:
    """A token of one issuer.

    `claims` returns its claims for a time of issue. `options` are those of `sts-broker trust render` for it.
    `session` is the session name, and `neighbor` the subject of another workload of the same issuer.
    """

    name: str
    issuer: str
    claims: Callable[[datetime], dict[str, Any]]
    options: tuple[str, ...]
    session: str
    neighbor: str

    @property
    def path(self) -> str:
        """The issuer without https://."""
        return self.issuer.removeprefix("https://")


def github_claims(
    issued_at: datetime, *, lifetime: timedelta = timedelta(minutes=5), **changes: object
) -> dict[str, Any]:
    """Return the claims of a job on a branch."""
    issued = int(issued_at.timestamp())
    return {
        "actor": "octocat",
        "actor_id": "12",
        "aud": AUDIENCE,
        "base_ref": "",
        "event_name": "push",
        "exp": issued + int(lifetime.total_seconds()),
        "head_ref": "",
        "iat": issued,
        "iss": GITHUB,
        "job_workflow_ref": "octo-org/octo-repo/.github/workflows/deploy.yml@refs/heads/main",
        "job_workflow_sha": "5a1f0c3e9d7b2a4c6e8f0a1b3c5d7e9f1a3b5c7d",
        "jti": "3f7a0c8e-0000-4000-8000-2d6b1e9f4a5c",
        "nbf": issued - 600,
        "ref": "refs/heads/main",
        "ref_type": "branch",
        "repository": "octo-org/octo-repo",
        "repository_id": "456789",
        "repository_owner": "octo-org",
        "repository_owner_id": "123456",
        "repository_visibility": "private",
        "run_attempt": "1",
        "run_id": "19283746501",
        "run_number": "10",
        "runner_environment": "github-hosted",
        "sha": "5a1f0c3e9d7b2a4c6e8f0a1b3c5d7e9f1a3b5c7d",
        "sub": "repo:octo-org/octo-repo:ref:refs/heads/main",
        "workflow": "deploy",
        "workflow_ref": "octo-org/octo-repo/.github/workflows/deploy.yml@refs/heads/main",
        "workflow_sha": "5a1f0c3e9d7b2a4c6e8f0a1b3c5d7e9f1a3b5c7d",
        **changes,
    }


def gitlab_claims(
    issued_at: datetime, *, lifetime: timedelta = timedelta(hours=1), **changes: object
) -> dict[str, Any]:
    """Return the claims of a job on a branch, with a timeout of one hour."""
    issued = int(issued_at.timestamp())
    return {
        "aud": AUDIENCE,
        "exp": issued + int(lifetime.total_seconds()),
        "iat": issued,
        "iss": GITLAB,
        "job_id": "302",
        "jti": "235b3a54-b797-45c7-ae9a-f72d7bc6ef5b",
        "namespace_id": "72",
        "namespace_path": "my-group",
        "nbf": issued - 5,
        "pipeline_id": "574",
        "pipeline_source": "push",
        "project_id": "20",
        "project_path": "my-group/my-project",
        "ref": "main",
        "ref_path": "refs/heads/main",
        "ref_protected": "true",
        "ref_type": "branch",
        "runner_environment": "gitlab-hosted",
        "runner_id": 1,
        "sha": "714a629c0b401fdce83e847fc9589983fc6f46bc",
        "sub": "project_path:my-group/my-project:ref_type:branch:ref:main",
        "user_email": "sample-user@example.com",
        "user_id": "1",
        "user_login": "sample-user",
        **changes,
    }


def svid_claims(
    issued_at: datetime, *, lifetime: timedelta = timedelta(minutes=5), **changes: object
) -> dict[str, Any]:
    """Return the claims of a JWT-SVID of a SPIRE server with jwt_issuer."""
    issued = int(issued_at.timestamp())
    return {
        "aud": [AUDIENCE],
        "exp": issued + int(lifetime.total_seconds()),
        "iat": issued,
        "iss": SPIRE,
        "sub": "spiffe://example.org/ns/shop/sa/cart",
        **changes,
    }


def svid_claims_without_issuer(issued_at: datetime) -> dict[str, Any]:
    """Return the claims of a JWT-SVID of a SPIRE server without jwt_issuer."""
    claims = svid_claims(issued_at)
    del claims["iss"]
    return claims


def pod_claims(issued_at: datetime, *, lifetime: timedelta = timedelta(hours=1), **changes: object) -> dict[str, Any]:
    """Return the claims of a projected token of Kubernetes, here of GKE."""
    issued = int(issued_at.timestamp())
    named = {
        "namespace": "shop",
        "node": {"name": "gke-shop-default-1a2b3c4d-x5y6", "uid": make_uid("node")},
        "pod": {"name": "cart-5d8c7b9f4-k2m8p", "uid": make_uid("pod")},
        "serviceaccount": {"name": "cart", "uid": make_uid("account")},
    }
    return {
        "aud": [AUDIENCE],
        "exp": issued + int(lifetime.total_seconds()),
        "iat": issued,
        "iss": GKE,
        "jti": "8c0f5d2e-0000-4000-8000-6e1a7b3c9d4f",
        "kubernetes.io": named,
        "nbf": issued,
        "sub": "system:serviceaccount:shop:cart",
        **changes,
    }


def _aks_claims(issued_at: datetime) -> dict[str, Any]:
    return pod_claims(issued_at, iss=AKS)


def _immutable_claims(issued_at: datetime) -> dict[str, Any]:
    """Return the claims of a job in a repository whose subjects have IDs, which deploys to an environment."""
    subject = "repo:octo-org@123456/octo-repo@456789:environment:prod"
    return github_claims(issued_at, sub=subject, environment="prod")


_REPOSITORY = ("--issuer-kind", "github", "--repository")
_POD = ("--namespace", "shop", "--service-account", "cart", "--issuer")
TOKENS = (
    IssuedToken(
        name="github",
        issuer=GITHUB,
        claims=github_claims,
        options=(*_REPOSITORY, "octo-org/octo-repo", "--ref", "refs/heads/main"),
        session="octo-org-octo-repo.19283746501",
        neighbor="repo:octo-org/other:ref:refs/heads/main",
    ),
    IssuedToken(
        name="github-immutable",
        issuer=GITHUB,
        claims=_immutable_claims,
        options=(*_REPOSITORY, "octo-org@123456/octo-repo@456789", "--environment", "prod"),
        session="octo-org-octo-repo.19283746501",
        neighbor="repo:octo-org@654321/octo-repo@987654:environment:prod",
    ),
    IssuedToken(
        name="gitlab",
        issuer=GITLAB,
        claims=gitlab_claims,
        options=("--issuer-kind", "gitlab", "--project-path", "my-group/my-project", "--ref", "main"),
        session="my-group-my-project.302",
        neighbor="project_path:my-group/my-project:ref_type:branch:ref:feature",
    ),
    IssuedToken(
        name="spire",
        issuer=SPIRE,
        claims=svid_claims,
        options=(
            *("--issuer-kind", "spiffe", "--issuer", SPIRE),
            *("--spiffe-id", "spiffe://example.org/ns/shop/sa/cart"),
        ),
        session="ns-shop-sa-cart",
        neighbor="spiffe://example.org/ns/shop/sa/checkout",
    ),
    IssuedToken(
        name="gke",
        issuer=GKE,
        claims=pod_claims,
        options=(*_POD, GKE),
        session="shop.cart-5d8c7b9f4-k2m8p",
        neighbor="system:serviceaccount:shop:checkout",
    ),
    IssuedToken(
        name="aks",
        issuer=AKS,
        claims=_aks_claims,
        options=(*_POD, AKS),
        session="shop.cart-5d8c7b9f4-k2m8p",
        neighbor="system:serviceaccount:shop:checkout",
    ),
)
