"""The forms of subjects: of GitHub Actions, GitLab, SPIFFE and Kubernetes. The code is pure.

Sources: docs.github.com/actions/reference/security/oidc ("Example subject claims", "Immutable subject claims" and
"Customizing the token claims"), docs.gitlab.com/ci/secrets/id_token_authentication and
gitlab-org/gitlab!160562 and !258245 (the first component of `sub`), SPIFFE-ID standard section 2
(spiffe/spiffe standards/SPIFFE-ID.md), Kubernetes names (namespaces are DNS labels, service accounts DNS subdomains).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from broker.policy.provider_claims import SERVICE_ACCOUNT_PREFIX, find_known_provider

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_REPOSITORY = r"repo:(?:[\w-]+/[\w.-]+|[\w-]+@\d+/[\w.-]+@\d+)"
_GITHUB_CLAIM = (
    r"(?:actor|base_ref|enterprise|environment|event_name|head_ref|job_workflow_ref|ref|ref_type|repo_property_\w+"
    r"|repository|repository_owner|repository_visibility|runner_environment|workflow|workflow_ref)(?:_id)?"
)
_PROJECT = r"(?:job_|source_)?project_(?:path:[\w.-]+(?:/[\w.-]+)+|id:\d+)"


@dataclass(frozen=True, slots=True, kw_only=True)
class SubjectForm:
    """How the subjects of one kind of issuer look.

    `whole` matches a subject that the issuer can write. `owner` matches the start of a subject or pattern that names
    whose token it is: a customer of a shared issuer, or a workload of a trust domain.
    """

    name: str
    whole: re.Pattern[str]
    owner: re.Pattern[str]
    example: str


KUBERNETES = SubjectForm(
    name="a Kubernetes cluster",
    whole=re.compile(rf"{SERVICE_ACCOUNT_PREFIX}{_LABEL}:(?=.{{1,253}}$){_LABEL}(?:\.{_LABEL})*", re.ASCII),
    owner=re.compile(rf"{SERVICE_ACCOUNT_PREFIX}{_LABEL}:"),
    example="system:serviceaccount:NAMESPACE:NAME",
)
GITHUB = SubjectForm(
    name="GitHub Actions",
    # After repo:OWNER/NAME comes ref:refs/…, environment:NAME or pull_request, unless the subject is customized.
    whole=re.compile(rf"(?:{_REPOSITORY}(?::(?!ref:(?!refs/)).+)?|{_GITHUB_CLAIM}:.+)", re.ASCII),
    owner=re.compile(
        r"repo:[^/:*?]+/|repository(?:_owner)?(?:_id)?:[^:*?]+(?::|$)|enterprise(?:_id)?:[^:*?]+(?::|$)"
        r"|job_workflow_ref:[^/:*?]+/"
    ),
    example="repo:OWNER/NAME:ref:refs/heads/BRANCH",
)
GITLAB = SubjectForm(
    name="GitLab",
    whole=re.compile(rf"{_PROJECT}(?::(?!ref_type:(?!branch|tag))(?!ref_type:\w+:ref:refs/).+)?", re.ASCII),
    owner=re.compile(r"(?:job_|source_)?project_(?:path:[^/:*?]+/|id:\d+(?::|$))"),
    example="project_path:GROUP/PROJECT:ref_type:branch:ref:BRANCH",
)
SPIFFE = SubjectForm(
    name="SPIFFE",
    whole=re.compile(r"spiffe://[a-z0-9._-]{1,255}(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._-]+)+", re.ASCII),
    owner=re.compile(r"spiffe://[^/*?]+/[^*?]"),
    example="spiffe://TRUST-DOMAIN/PATH",
)
_BY_PROVIDER = {"GitHub Actions": GITHUB, "GitLab.com": GITLAB}
_GITHUB_ENTERPRISE = re.compile(r"[^/]+/_services/token|token\.actions\.[^./]+\.ghe\.com/[^/]+")
"""The issuers of GitHub Enterprise Server, and of an enterprise on GHE.com (docs.github.com, OpenID Connect reference).

AWS lists no condition keys of their own for them.
"""
_STARTS = {"spiffe:": SPIFFE, "project_": GITLAB, "job_project_": GITLAB, "source_project_": GITLAB}
_PULL_REQUEST = re.compile(rf"{_REPOSITORY}:pull_request(?::.*)?", re.ASCII)


def find_form(issuer: str, subject: str) -> SubjectForm | None:
    """Return the form that subjects of this issuer (without https://) have. None if it isn't known.

    Self-managed GitLab and SPIRE can have any issuer, so the start of the subject decides. What is left is a cluster.
    """
    provider = find_known_provider(issuer)
    if provider is not None:
        return _BY_PROVIDER.get(provider.name)
    if _GITHUB_ENTERPRISE.fullmatch(issuer):
        return GITHUB
    return next((form for start, form in _STARTS.items() if subject.startswith(start)), KUBERNETES)


def is_for_pull_requests(subject: str) -> bool:
    """Return whether this is the subject of GitHub's jobs that a pull request triggers."""
    return _PULL_REQUEST.fullmatch(subject) is not None


def describe_breadth(pattern: str) -> str:
    """Return what a pattern with a wildcard covers, as a phrase; "" if that takes knowledge of the names."""
    fixed = re.split(r"[*?]", pattern, maxsplit=1)[0]
    if re.fullmatch(rf"{_REPOSITORY}:", fixed, re.ASCII):
        return "every branch, tag, environment and pull request of the repository"
    if re.fullmatch(r"repo:[^/]+/", fixed):
        return "every repository of the owner"
    if re.fullmatch(r"(?:job_|source_)?project_path:[\w./-]+/", fixed, re.ASCII):
        return "every project of the group"
    if re.fullmatch(rf"{_PROJECT}:", fixed, re.ASCII):
        return "every branch and tag of the project"
    return ""
