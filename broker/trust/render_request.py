"""The request of `sts-broker trust render`: options first, then the token's claims, then the environment.

Rules: the token is read only where the options leave something open; all that is wrong is told at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import repeat
from typing import TYPE_CHECKING

from broker.core.errors import ConfigurationError
from broker.core.model import DEFAULT_AUDIENCE
from broker.trust.render import Trusted

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.core.model import UnverifiedClaims


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The options of `render`; what is empty was not given. `token` is a file, or -."""

    token: str = ""
    issuer: str = ""
    audiences: tuple[str, ...] = ()
    subjects: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()
    service_accounts: tuple[str, ...] = ()
    account: str = ""
    partition: str = ""

    def subjects_named(self) -> tuple[str, ...]:
        """Return the subjects that the options name; ConfigurationError where namespaces and accounts do not pair."""
        names, namespaces = self.service_accounts, self.namespaces
        if len(namespaces) != len(names) and not (len(namespaces) == 1 and names):
            counts = f"{len(namespaces)} --namespace and {len(names)} --service-account"
            raise ConfigurationError((f"{counts}: give a namespace for each service account, or one for all of them",))
        paired = repeat(namespaces[0]) if len(namespaces) == 1 else namespaces
        pairs = zip(paired, names, strict=False)
        return (*self.subjects, *(f"system:serviceaccount:{namespace}:{name}" for namespace, name in pairs))


def trusted_for(
    wanted: Wanted, *, role: tuple[str, str] | None, claims_of: Callable[[str], UnverifiedClaims]
) -> Trusted:
    """Return who is to be let in. `role` is partition and account of the role in the environment, None without one.

    `claims_of` reads the token in a file, "" being where the broker looks for it, and may raise TokenError.
    """
    subjects = wanted.subjects_named()
    partition, account = role or ("aws", "")
    claims = None if wanted.issuer and subjects and not wanted.token else claims_of(wanted.token)
    return Trusted(
        issuer=wanted.issuer or (claims.issuer if claims else ""),
        audiences=tuple(dict.fromkeys(wanted.audiences)) or _audiences(claims),
        subjects=tuple(dict.fromkeys(subjects)) or ((claims.subject,) if claims else ()),
        account=wanted.account or account,
        partition=wanted.partition or partition,
    )


def _audiences(claims: UnverifiedClaims | None) -> tuple[str, ...]:
    """Return the audience for AWS; of a token without it, those that it has."""
    return (DEFAULT_AUDIENCE,) if claims is None or DEFAULT_AUDIENCE in claims.audiences else claims.audiences
