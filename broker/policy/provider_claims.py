"""The condition keys that AWS STS provides for tokens: those of every OIDC provider, and those of certain ones.

Source: Service Authorization Reference, AWS Security Token Service, condition keys of AssumeRoleWithWebIdentity
(docs.aws.amazon.com/service-authorization/latest/reference/list_sts.html), as it was on the date in `AS_OF`. AWS
announced the first four providers in January 2026 and has added others since, so a key that is missing here may exist.
For a cluster's tokens, AWS provides the keys of every provider only. The code is pure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

AS_OF = "2026-11-30"
"""The date of the table."""
BUILT_IN_PROVIDERS = ("accounts.google.com", "cognito-identity.amazonaws.com", "graph.facebook.com", "www.amazon.com")
"""Providers that a policy names without an ARN (IAM User Guide, reference_policies_elements_principal)."""
COMMON_KEYS = ("amr", "aud", "email", "oaud", "sub")
"""The keys of every provider (IAM User Guide, reference_policies_iam-condition-keys, OIDC federation)."""
SERVICE_ACCOUNT_PREFIX = "system:serviceaccount:"
"""The start of every subject of a Kubernetes cluster."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownProvider:
    """A provider with condition keys of its own.

    `issuers` matches its issuers without https://, in lower case. `identifying` has the keys that say whose token it
    is, of those in `keys`. `owner` matches the start of a subject that names one customer of the provider. `sources`
    has the path of the claim where it isn't the name of the key.
    """

    name: str
    issuers: re.Pattern[str]
    keys: tuple[str, ...]
    identifying: tuple[str, ...]
    owner: re.Pattern[str]
    sources: Mapping[str, tuple[tuple[str, ...], ...]]


_GITHUB = ("job_workflow_ref", "repository", "repository_id", "repository_owner_id", "enterprise_id")
_GITLAB = ("project_id", "namespace_id", "user_id", "user_login", "user_email")
_BUILDKITE = ("cluster_id", "organization_id", "organization_slug", "pipeline_id")
KNOWN_PROVIDERS = (
    KnownProvider(
        name="GitHub Actions",
        issuers=re.compile(
            r"token\.actions\.githubusercontent\.com(?:/[^/]+)?|token\.actions\.[^./]+\.ghe\.com"
            r"|github\.com/enterprises/[^/]+"
        ),
        keys=(*_GITHUB, "actor", "actor_id", "environment", "ref", "workflow"),
        identifying=_GITHUB,
        owner=re.compile(
            r"repo:[^/:*?]+/|repository_owner(?:_id)?:[^:*?]+:|(?:enterprise|repository)(?:_id)?:[^:*?]+:"
        ),
        sources={},
    ),
    KnownProvider(
        name="GitLab.com",
        issuers=re.compile(r"gitlab\.com"),
        keys=(*_GITLAB, "pipeline_source", "ref_protected", "runner_environment", "user_access_level"),
        identifying=_GITLAB,
        owner=re.compile(r"(?:job_|source_)?project_path:[^/:*?]+/"),
        sources={},
    ),
    KnownProvider(
        name="Buildkite",
        issuers=re.compile(r"agent\.buildkite\.com|agent\.[^./]+\.buildkite\.(?:dev|site)"),
        keys=(*_BUILDKITE, "build_branch", "cluster_name", "pipeline_slug"),
        identifying=_BUILDKITE,
        owner=re.compile(r"organization:[^:*?]+:"),
        sources={},
    ),
    KnownProvider(
        name="CircleCI",
        issuers=re.compile(r"oidc\.circleci\.com/org/[^/]+"),
        keys=("oidc.circleci.com/project-id",),
        identifying=("oidc.circleci.com/project-id",),
        owner=re.compile(r"org/[^/*?]+/"),
        sources={},
    ),
    KnownProvider(
        name="Oracle Cloud Infrastructure",
        issuers=re.compile(r"idcs-[^./]+\.identity\.oraclecloud\.com"),
        keys=("rpst_id",),
        identifying=("rpst_id",),
        owner=re.compile(r"(?!)"),
        sources={},
    ),
    KnownProvider(
        name="Google",
        issuers=re.compile(r"accounts\.google\.com"),
        keys=("google/organization_number",),
        identifying=("google/organization_number",),
        owner=re.compile(r"(?!)"),
        # AWS names the claim google:organization_number; Google's tokens have it inside the claim google.
        sources={"google/organization_number": (("google:organization_number",), ("google", "organization_number"))},
    ),
)


def find_known_provider(issuer: str) -> KnownProvider | None:
    """Return the provider of an issuer (without https://), or None where AWS lists no keys of its own for it."""
    return next((one for one in KNOWN_PROVIDERS if one.issuers.fullmatch(issuer.lower())), None)


def list_claims(issuer: str, payload: Mapping[str, Any]) -> dict[str, str]:
    """Return the claims of a token that AWS provides as condition keys, by the key's name after the issuer.

    `sub` and `aud` are left out. `payload` has the decoded claims of a token of this issuer (without https://).
    """
    provider = find_known_provider(issuer)
    found = {"email": payload.get("email")}
    for key in provider.keys if provider else ():
        paths = provider.sources.get(key, ((key,),)) if provider else ()
        found[key] = next((value for path in paths if (value := _find_claim(payload, path)) is not None), None)
    return {key: _as_text(value) for key, value in found.items() if isinstance(value, str | int)}


def list_condition_keys(issuer: str, payload: Mapping[str, Any], *, audience: str) -> dict[str, str]:
    """Return the condition keys that AWS provides for a token, with the issuer before each, and their values.

    The key aud has the claim azp where the token has one, and oaud has the audience (IAM User Guide,
    reference_policies_iam-condition-keys, OIDC federation). A cluster's tokens have no oaud.
    """
    subject, party = str(payload["sub"]), payload.get("azp")
    claims = list_claims(issuer, payload)
    if not subject.startswith(SERVICE_ACCOUNT_PREFIX):
        claims["oaud"] = audience
    claims |= {"aud": party if isinstance(party, str) and party else audience, "sub": subject}
    return {f"{issuer}:{name}": value for name, value in claims.items()}


def _find_claim(payload: Mapping[str, Any], path: tuple[str, ...]) -> Any:  # noqa: ANN401 - a JSON value
    value: Any = payload
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _as_text(value: str | int) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
