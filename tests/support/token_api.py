"""A fake Kubernetes API whose calls end when the test lets them, with the token source that calls it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from broker.core.errors import TokenError
from broker.core.schedule import RefreshPolicy
from broker.tokens.token_request import RequestedTokenSource
from tests.support.fakes import AUDIENCE, FakeClock, make_token

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.core.model import BoundToken
    from broker.tokens.token_request import OnAnswer


class TokenApi:
    """Answers each call when the test calls `answer`, with a token issued now or with a fault."""

    def __init__(self, *, chance: float = 0.0) -> None:
        self.clock = FakeClock()
        self.fault: TokenError | None = None
        self.lifetime = timedelta(hours=1)
        self.skew = timedelta(0)
        """The API's clock minus the node's."""
        self.asked: list[timedelta] = []
        """The monotonic time of each call."""
        self.asked_at: dict[str, timedelta] = {}
        """The monotonic time of the call that returned each token, by the token's fingerprint."""
        self.reported: list[TokenError] = []
        self.woken = 0
        self.in_progress: list[Callable[[], None]] = []
        self.source = RequestedTokenSource(
            ask=self._ask,
            clock=self.clock,
            wake=self._wake,
            report=self.reported.append,
            chance=lambda: chance,
            policy=RefreshPolicy(),
        )

    def answer(self, *, oldest: bool = True) -> None:
        """Let the oldest call end, or the newest."""
        self.in_progress.pop(0 if oldest else -1)()

    def read(self, audience: str = AUDIENCE) -> BoundToken | TokenError:
        """Read as the loop does."""
        try:
            return self.source.read(audience)
        except TokenError as error:
            return error

    def read_after_answer(self) -> BoundToken | TokenError:
        """Read, let the call that this started end, and read again."""
        self.read()
        self.answer()
        return self.read()

    def _ask(self, audience: str, on_answer: OnAnswer) -> None:
        began = self.clock.monotonic
        self.asked.append(began)
        self.in_progress.append(lambda: on_answer(self._call(audience, began)))

    def _call(self, audience: str, began: timedelta) -> BoundToken | TokenError:
        if self.fault is not None:
            return self.fault
        issued_at = self.clock.now + self.skew
        token = make_token(issued_at=issued_at, lifetime=self.lifetime, audiences=(audience,), serial=len(self.asked))
        self.asked_at[token.fingerprint] = began
        return token

    def _wake(self) -> None:
        self.woken += 1
