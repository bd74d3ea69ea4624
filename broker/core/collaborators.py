"""What the main loop needs from its collaborators: tokens, exchanges, and a place to publish."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.core.model import BoundToken, Generation, ProfileSpec, Proof, TemporaryCredentials


class TokenSource(Protocol):
    """The source of a profile's bound token."""

    def read(self, audience: str) -> BoundToken:
        """Return a token for this audience that can be sent to STS now. Raises TokenError."""
        ...


class Exchanger(Protocol):
    """The client of STS. It is called from several threads at once."""

    def exchange(self, profile: ProfileSpec, proof: Proof) -> TemporaryCredentials:
        """Return credentials for the token, or for the source's credentials. Raises only ExchangeError."""
        ...


class Sink(Protocol):
    """A place where readers find credentials."""

    def publish(self, generations: Sequence[Generation]) -> None:
        """Make these generations visible to readers. Raises PublishError. It is safe to repeat."""
        ...

    def missing(self) -> frozenset[str]:
        """Return the profiles of which readers see nothing, whether or not they were published. Never raises."""
        ...
