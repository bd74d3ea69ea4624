"""What the main loop needs from its collaborators: tokens, exchanges, and a place to publish.

None of them may block the loop. What takes time is begun, and ends with a call of `on_end`, once, from any thread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from broker.core.errors import ExchangeError
    from broker.core.model import BoundToken, Generation, ProfileSpec, Proof, TemporaryCredentials


class TokenSource(Protocol):
    """The source of a profile's bound token."""

    def read(self, audience: str) -> BoundToken | None:
        """Return a token for this audience that can be sent to STS now; None if it is still being read.

        Then the loop is woken when there is an answer. Raises TokenError.
        """
        ...


class Exchanger(Protocol):
    """The client of STS. It is called from several threads at once."""

    def exchange(self, profile: ProfileSpec, proof: Proof) -> TemporaryCredentials:
        """Return credentials for the token, or for the source's credentials. Raises only ExchangeError."""
        ...


class Exchanges(Protocol):
    """Where exchanges are done, in parallel to the loop and within a deadline."""

    def begin(
        self, profile: ProfileSpec, proof: Proof, on_end: Callable[[TemporaryCredentials | ExchangeError], None]
    ) -> None:
        """Begin an exchange. Never raises."""
        ...


class Sink(Protocol):
    """A place where readers find credentials. Its methods may take as long as the volume does."""

    def publish(self, generations: Sequence[Generation]) -> None:
        """Make these generations visible to readers. Raises PublishError. It is safe to repeat."""
        ...

    def missing(self) -> frozenset[str]:
        """Return the profiles of which readers see nothing, whether or not they were published. Never raises."""
        ...


class Publisher(Protocol):
    """Publishes in parallel to the loop. `name` is the name of the sink in logs."""

    name: str

    def begin(self, generations: Sequence[Generation], on_end: Callable[[Exception | None], None]) -> None:
        """Begin to make these generations visible to readers. The loop begins one publish at a time.

        `on_end` gets None, a PublishError, or a bug, which the loop raises.
        """
        ...

    def missing(self) -> frozenset[str]:
        """Return the profiles of which readers see nothing, as last seen, and begin to look again.

        The loop is woken when that changes.
        """
        ...
