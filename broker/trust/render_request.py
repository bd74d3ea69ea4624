"""The input of `sts-broker trust render`: options take precedence over the token's claims and the environment.

The token is read only where the options leave a value open.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import repeat
from typing import TYPE_CHECKING

from broker.core.errors import ConfigurationError
from broker.core.model import DEFAULT_AUDIENCE
from broker.trust.render import TrustedIdentities

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.core.model import UnverifiedClaims


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderOptions:
    """The options of `render`. An empty value means that the option was not given. `token` is a file, or -."""

    token: str = ""
    issuer: str = ""
    audiences: tuple[str, ...] = ()
    subjects: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()
    service_accounts: tuple[str, ...] = ()
    account: str = ""
    partition: str = ""

    def list_subjects(self) -> tuple[str, ...]:
        """Return the subjects that the options name.

        Raises ConfigurationError where the numbers of namespaces and service accounts do not match.
        """
        names, namespaces = self.service_accounts, self.namespaces
        if len(namespaces) != len(names) and not (len(namespaces) == 1 and names):
            found = f"{len(namespaces)} --namespace and {len(names)} --service-account options"
            raise ConfigurationError(
                (f"Found {found}. Pass one namespace for each service account, or one for all of them.",)
            )
        paired = repeat(namespaces[0]) if len(namespaces) == 1 else namespaces
        pairs = zip(paired, names, strict=False)
        return (*self.subjects, *(f"system:serviceaccount:{namespace}:{name}" for namespace, name in pairs))


def resolve_identities(
    options: RenderOptions, *, role: tuple[str, str] | None, read_claims: Callable[[str], UnverifiedClaims]
) -> TrustedIdentities:
    """Return the identities to trust.

    Args:
        options: The options of the command line.
        role: Partition and account of the role in the environment, or None where it names no role.
        read_claims: Returns the claims of the token in a file, "" being the broker's own token file. It may raise
            TokenError.
    """
    subjects = options.list_subjects()
    partition, account = role or ("aws", "")
    claims = None if options.issuer and subjects and not options.token else read_claims(options.token)
    return TrustedIdentities(
        issuer=options.issuer or (claims.issuer if claims else ""),
        audiences=tuple(dict.fromkeys(options.audiences)) or _choose_audiences(claims),
        subjects=tuple(dict.fromkeys(subjects)) or ((claims.subject,) if claims else ()),
        account=options.account or account,
        partition=options.partition or partition,
    )


def _choose_audiences(claims: UnverifiedClaims | None) -> tuple[str, ...]:
    """Return the default audience, or the token's audiences where it lacks the default."""
    return (DEFAULT_AUDIENCE,) if claims is None or DEFAULT_AUDIENCE in claims.audiences else claims.audiences
