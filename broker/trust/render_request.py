"""The input of `sts-broker trust render`: options take precedence over the token's claims and the environment.

The token is read only where the options leave a value open. Subjects of GitHub Actions, GitLab and SPIFFE are made by
`render_subjects`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from broker.core.errors import ConfigurationError
from broker.core.model import DEFAULT_AUDIENCE
from broker.core.token_issuers import find_kind
from broker.trust.render import TrustedIdentities
from broker.trust.render_subjects import MAIN_OPTIONS, SIDS, WorkloadOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from broker.core.model import UnverifiedClaims


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderOptions:
    """The options of `render`. An empty value means that the option was not given. `token` is a file, or -."""

    token: str = ""
    issuer: str = ""
    audiences: tuple[str, ...] = ()
    subjects: tuple[str, ...] = ()
    workloads: WorkloadOptions = field(default_factory=WorkloadOptions)
    account: str = ""
    partition: str = ""


def resolve_identities(
    options: RenderOptions, *, role: tuple[str, str] | None, read_claims: Callable[[str], UnverifiedClaims]
) -> TrustedIdentities:
    """Return the identities to trust.

    Args:
        options: The options of the command line.
        role: Partition and account of the role in the environment, or None where it names no role.
        read_claims: Returns the claims of the token in a file, "" being the broker's own token file. It may raise
            TokenError.

    Raises:
        ConfigurationError: The options contradict each other; it lists every fault.
    """
    faults = (*options.workloads.find_faults(), *_find_missing_options(options))
    if faults:
        raise ConfigurationError(faults)
    subjects = (*options.subjects, *options.workloads.list_subjects())
    issuer = options.issuer or ("" if options.token else options.workloads.default_issuer)
    partition, account = role or ("aws", "")
    claims = None if issuer and subjects and not options.token else read_claims(options.token)
    return TrustedIdentities(
        sid=SIDS[find_kind(claims).value if claims else options.workloads.kind],
        issuer=issuer or (claims.issuer if claims else ""),
        audiences=tuple(dict.fromkeys(options.audiences)) or _choose_audiences(claims),
        subjects=tuple(dict.fromkeys(subjects)) or ((claims.subject,) if claims else ()),
        account=options.account or account,
        partition=options.partition or partition,
    )


def _find_missing_options(options: RenderOptions) -> Iterator[str]:
    """Yield what a policy for the given kind of issuer lacks. The broker's own token is that of a cluster."""
    workloads, kind = options.workloads, options.workloads.kind
    if kind == "kubernetes" or options.token:
        return
    if not (options.subjects or workloads.names_workload):
        yield f"{MAIN_OPTIONS[kind]} is missing: --issuer-kind {kind} needs it, --subject or --token."
    if not (options.issuer or workloads.default_issuer):
        yield f"--issuer is missing: --issuer-kind {kind} needs it, or --token."


def _choose_audiences(claims: UnverifiedClaims | None) -> tuple[str, ...]:
    """Return the default audience, or the token's audiences where it lacks the default."""
    return (DEFAULT_AUDIENCE,) if claims is None or DEFAULT_AUDIENCE in claims.audiences else claims.audiences
