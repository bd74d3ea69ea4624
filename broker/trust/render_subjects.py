"""The subjects that the options of `sts-broker trust render` name, for each kind of issuer. The code is pure.

The forms are those of `subject_forms`. A subject is written as the issuer writes it by default; another one is given
with --subject. Wildcards are not rejected here: `render` rejects every policy that `lint` has findings on.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import repeat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_OPTIONS = {
    "--namespace": ("kubernetes",),
    "--service-account": ("kubernetes",),
    "--repository": ("github",),
    "--environment": ("github",),
    "--project-path": ("gitlab",),
    "--ref-type": ("gitlab",),
    "--ref": ("github", "gitlab"),
    "--spiffe-id": ("spiffe",),
}
"""The kinds of issuers that each option is for."""
_ISSUERS = {"github": "https://token.actions.githubusercontent.com", "gitlab": "https://gitlab.com"}
SIDS = {
    "kubernetes": "TrustCluster",
    "github": "TrustGitHub",
    "gitlab": "TrustGitLab",
    "spiffe": "TrustSpiffe",
    "other": "TrustIssuer",
}
"""The Sid of the statement, by the kind of issuer."""
MAIN_OPTIONS = {"github": "--repository", "gitlab": "--project-path", "spiffe": "--spiffe-id"}
"""The option that names a workload, by the kind of issuer."""
_REPOSITORY = re.compile(r"[\w-]+/[\w.-]+|[\w-]+@\d+/[\w.-]+@\d+", re.ASCII)
_PROJECT = re.compile(r"[\w.-]+(?:/[\w.-]+)+", re.ASCII)
_REF_TYPES = ("branch", "tag")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadOptions:
    """The options that name workloads. An empty value means that the option was not given."""

    kind: str = "kubernetes"
    namespaces: tuple[str, ...] = ()
    service_accounts: tuple[str, ...] = ()
    repositories: tuple[str, ...] = ()
    environment: str = ""
    project_paths: tuple[str, ...] = ()
    ref_type: str = ""
    ref: str = ""
    spiffe_ids: tuple[str, ...] = ()

    @property
    def default_issuer(self) -> str:
        """The issuer of this kind that most people use, or "" where every user has another one."""
        return _ISSUERS.get(self.kind, "")

    @property
    def names_workload(self) -> bool:
        """Whether options name a workload, or a part of one."""
        parts = (self.service_accounts, self.environment, self.ref_type, self.ref)
        return any((*parts, self.repositories, self.project_paths, self.spiffe_ids))

    def find_faults(self) -> tuple[str, ...]:
        """Return a sentence for each option that is missing, malformed or for another kind of issuer."""
        return (*self._find_foreign_options(), *self._find_own_faults())

    def list_subjects(self) -> tuple[str, ...]:
        """Return the subjects that the options name. There must be no faults."""
        match self.kind:
            case "github":
                context = f"environment:{self.environment}" if self.environment else f"ref:{self.ref}"
                return tuple(f"repo:{one}:{_escape_colons(context)}" for one in self.repositories)
            case "gitlab":
                kind = self.ref_type or _REF_TYPES[0]
                return tuple(f"project_path:{path}:ref_type:{kind}:ref:{self.ref}" for path in self.project_paths)
            case "spiffe":
                return self.spiffe_ids
        paired = repeat(self.namespaces[0]) if len(self.namespaces) == 1 else self.namespaces
        pairs = zip(paired, self.service_accounts, strict=False)
        return tuple(f"system:serviceaccount:{namespace}:{name}" for namespace, name in pairs)

    def _find_foreign_options(self) -> Iterator[str]:
        given = {
            "--namespace": self.namespaces,
            "--service-account": self.service_accounts,
            "--repository": self.repositories,
            "--environment": self.environment,
            "--project-path": self.project_paths,
            "--ref-type": self.ref_type,
            "--ref": self.ref,
            "--spiffe-id": self.spiffe_ids,
        }
        for option, value in given.items():
            if value and self.kind not in _OPTIONS[option]:
                kinds = " or ".join(_OPTIONS[option])
                yield f"{option} is for --issuer-kind {kinds}; found --issuer-kind {self.kind}."

    def _find_own_faults(self) -> Iterator[str]:
        match self.kind:
            case "github":
                yield from self._find_github_faults()
            case "gitlab":
                yield from self._find_gitlab_faults()
            case "spiffe":
                for one in self.spiffe_ids:
                    if not one.startswith("spiffe://"):
                        yield f"--spiffe-id is {one}; expected spiffe://TRUST-DOMAIN/PATH."
            case _:
                names, namespaces = self.service_accounts, self.namespaces
                if len(namespaces) != len(names) and not (len(namespaces) == 1 and names):
                    found = f"{len(namespaces)} --namespace and {len(names)} --service-account options"
                    yield f"Found {found}. Pass one namespace for each service account, or one for all of them."

    def _find_github_faults(self) -> Iterator[str]:
        for one in self.repositories:
            if not _REPOSITORY.fullmatch(one):
                yield f"--repository is {one}; expected OWNER/NAME, or OWNER@ID/NAME@ID for a subject with IDs."
        if self.ref and self.environment:
            yield "Found --ref and --environment; pass one of them: a subject with an environment has no ref."
        if self.repositories and not (self.ref or self.environment):
            yield "--ref or --environment is missing: --repository needs one of them."
        if (self.ref or self.environment) and not self.repositories:
            yield "--repository is missing: --ref and --environment need it."
        if self.ref and not self.ref.startswith("refs/"):
            yield f"--ref is {self.ref}; GitHub's subjects have the full ref: refs/heads/{self.ref}, or refs/tags/…"

    def _find_gitlab_faults(self) -> Iterator[str]:
        for one in self.project_paths:
            if not _PROJECT.fullmatch(one):
                yield f"--project-path is {one}; expected GROUP/PROJECT, with subgroups between them."
        if self.ref_type and self.ref_type not in _REF_TYPES:
            yield f"--ref-type is {self.ref_type}; expected {' or '.join(_REF_TYPES)}."
        if self.project_paths and not self.ref:
            yield "--ref is missing: --project-path needs the name of a branch or a tag."
        if (self.ref or self.ref_type) and not self.project_paths:
            yield "--project-path is missing: --ref and --ref-type need it."
        if self.ref.startswith("refs/"):
            short = self.ref.split("/", 2)[-1]
            yield f"--ref is {self.ref}; GitLab's subjects have the short name: {short}."


def _escape_colons(context: str) -> str:
    """Return what follows the repository, with %3A for each colon in the value, as GitHub writes it."""
    name, _, value = context.partition(":")
    return f"{name}:{value.replace(':', '%3A')}"
