"""The kinds of issuers whose tokens the broker knows: how a token of each is recognized, and who renews it.

The claims are unverified. They choose words only: whether a token can be sent does not depend on them. Pure.
Sources: docs.github.com/actions/concepts/security/openid-connect (claims; `exp` is 300 s after `iat` in its example,
actions/toolkit#2048), docs.gitlab.com/ci/secrets/id_token_authentication (claims; the token lasts as long as the job's
timeout), spiffe/spiffe standards/JWT-SVID.md, spiffe/spiffe-helper README.md.
"""

from __future__ import annotations

from enum import Enum, unique
from typing import TYPE_CHECKING

from broker.core.model import SPIFFE_SCHEME

if TYPE_CHECKING:
    from broker.core.model import UnverifiedClaims

SERVICE_ACCOUNT_PREFIX = "system:serviceaccount:"
"""The start of every subject of a Kubernetes cluster."""
_GUIDE = "docs/other-issuers.md"


@unique
class IssuerKind(Enum):
    """What issued a token. The values are those of `sts-broker trust render --issuer-kind`, and `other`."""

    KUBERNETES = "kubernetes"
    GITHUB = "github"
    GITLAB = "gitlab"
    SPIFFE = "spiffe"
    OTHER = "other"


_RENEWALS = {
    IssuerKind.KUBERNETES: (
        "The kubelet should have rotated it: check the kubelet's log and the node's clock. A subPath mount is never "
        "rotated."
    ),
    IssuerKind.GITHUB: (
        "A token of GitHub Actions lives for about 5 minutes, and nothing renews its file. Have the job request a new "
        f"one from ACTIONS_ID_TOKEN_REQUEST_URL every few minutes and replace the file ({_GUIDE})."
    ),
    IssuerKind.GITLAB: (
        "An ID token of GitLab lasts as long as the job's timeout, and can't be renewed. Set timeout of the job in "
        f".gitlab-ci.yml ({_GUIDE})."
    ),
    IssuerKind.SPIFFE: (
        "spiffe-helper should have replaced it: set daemon_mode = true, and check its log and the SPIRE agent's "
        f"({_GUIDE})."
    ),
    IssuerKind.OTHER: "Have whatever wrote the file replace it with a new token before the old one expires.",
}
_AUDIENCES = {
    IssuerKind.KUBERNETES: "Set audience: {audience} in the projected serviceAccountToken source",
    IssuerKind.GITHUB: "Add &audience={audience} to ACTIONS_ID_TOKEN_REQUEST_URL when the job requests the token",
    IssuerKind.GITLAB: "Set aud: {audience} under id_tokens of the job in .gitlab-ci.yml",
    IssuerKind.SPIFFE: 'Set jwt_audience = "{audience}" under jwt_svids in the configuration of spiffe-helper',
    IssuerKind.OTHER: "Request the token for the audience {audience}",
}


def find_kind(claims: UnverifiedClaims) -> IssuerKind:
    """Return what issued the token, by its claims."""
    if claims.subject.startswith(SERVICE_ACCOUNT_PREFIX) or claims.namespace:
        return IssuerKind.KUBERNETES
    if claims.subject.startswith(SPIFFE_SCHEME):
        return IssuerKind.SPIFFE
    if claims.repository and claims.run_id:
        return IssuerKind.GITHUB
    return IssuerKind.GITLAB if claims.project_path and claims.job_id else IssuerKind.OTHER


def is_rotated_by_kubelet(claims: UnverifiedClaims) -> bool:
    """Return whether the kubelet renews the token's file."""
    return find_kind(claims) is IssuerKind.KUBERNETES


def describe_renewal(claims: UnverifiedClaims) -> str:
    """Return what to do about a token that has expired: who should have renewed it, and how."""
    return _RENEWALS[find_kind(claims)]


def describe_audience(claims: UnverifiedClaims, audience: str) -> str:
    """Return how to get a token of this issuer for an audience, without a full stop."""
    return _AUDIENCES[find_kind(claims)].format(audience=audience)
