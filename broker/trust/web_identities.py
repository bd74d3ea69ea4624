"""Make the web identity that STS sees of a token, for `sts-broker trust explain` and `sts-broker doctor`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.core.errors import TokenMalformed
from broker.core.session_names import session_name_for
from broker.trust.explain import WebIdentity
from broker.trust.issuer_spelling import find_issuer_faults
from broker.trust.token_payload import read_payload

if TYPE_CHECKING:
    from broker.core.model import BoundToken


def identify(
    token: BoundToken, *, role: tuple[str, str] | None, session_name: str, audiences: tuple[str, ...] = ()
) -> WebIdentity:
    """Return the web identity of a token.

    Args:
        token: The token. Its claims are not verified.
        role: Partition and account of the requested role, or None where they are unknown.
        session_name: The role session name; "" for the one that the broker derives from the token.
        audiences: The audiences to consider; empty for those of the token.
    """
    claims = token.claims
    return WebIdentity(
        issuer=claims.issuer,
        subject=claims.subject,
        audiences=audiences or claims.audiences,
        session_name=session_name or session_name_for(claims),
        role=role,
        claims=read_payload(token),
    )


def find_issuer_fault(token: BoundToken, *, origin: str) -> TokenMalformed | None:
    """Return why IAM accepts no provider for the token's issuer, or None where it may accept one."""
    faults = find_issuer_faults(token.claims.issuer)
    if not faults:
        return None
    found = " ".join(one.found for one in faults)
    return TokenMalformed(f"The token in {origin} has an issuer that IAM doesn't accept. {found}", faults[0].remedy)
