"""What the main loop needs from its collaborators: tokens, exchanges, and a place to publish.

None of them may block the loop. What takes time is begun, and ends with a call of `on_end`, once, from any thread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import timedelta

    from broker.core.clock import Instant
    from broker.core.errors import ExchangeError
    from broker.core.model import BoundToken, ProfileSpec, Proof, SourceSession, TemporaryCredentials
    from broker.core.web_identity_token import WebIdentityToken

Item_contra = TypeVar("Item_contra", contravariant=True)
"""What is published: a Generation, or a WebIdentityToken."""


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


class WebIdentityTokenRequests(Protocol):
    """Where web identity tokens are requested, in parallel to the loop and within a deadline."""

    def begin(
        self,
        profile: ProfileSpec,
        session: SourceSession,
        duration: timedelta,
        on_end: Callable[[WebIdentityToken | ExchangeError], None],
    ) -> None:
        """Begin a call that is signed with the credentials of `session`. Never raises."""
        ...


class Companion(Protocol):
    """What the main loop drives besides the credentials of the profiles, such as their web identity tokens."""

    def turn(self, at: Instant, find_session: Callable[[str], SourceSession | None]) -> timedelta:
        """Act, after each turn of the loop. Return how long there is nothing to do.

        `find_session` returns the credentials that the loop holds for a profile, None if it holds no valid ones.
        """
        ...

    def refresh(self) -> None:
        """Take note that a refresh of everything was requested."""
        ...


class Sink(Protocol[Item_contra]):
    """A place where readers find credentials or tokens. Its methods may take as long as the volume does."""

    def publish(self, items: Sequence[Item_contra]) -> None:
        """Make these items visible to readers. Raises PublishError. It is safe to repeat."""
        ...

    def missing(self) -> frozenset[str]:
        """Return the profiles of which readers see nothing, whether or not they were published. Never raises."""
        ...


class Publisher(Protocol[Item_contra]):
    """Publishes in parallel to the loop. `name` is the name of the sink in logs."""

    name: str

    def begin(self, items: Sequence[Item_contra], on_end: Callable[[Exception | None], None]) -> None:
        """Begin to make these items visible to readers. The loop begins one publish at a time.

        `on_end` gets None, a PublishError, or a bug, which the loop raises.
        """
        ...

    def missing(self) -> frozenset[str]:
        """Return the profiles of which readers see nothing, as last seen, and begin to look again.

        The loop is woken when that changes.
        """
        ...
