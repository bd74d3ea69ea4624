"""A fake Kubernetes API whose calls return when the test lets them, with the token source that calls it."""

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


class TokenApi:
    """Answers each call when the test calls `answer`, with a token issued now or with a fault."""

    def __init__(self, *, chance: float = 0.0) -> None:
        self.clock = FakeClock()
        self.fault: BaseException | None = None
        self.lifetime = timedelta(hours=1)
        self.skew = timedelta(0)
        """The API's clock minus the node's."""
        self.asked: list[timedelta] = []
        """The monotonic time of each call."""
        self.asked_at: dict[str, timedelta] = {}
        """The monotonic time of the call that returned each token, by the token's fingerprint."""
        self.reported: list[TokenError] = []
        self.woken = 0
        self.no_thread = False
        self.in_progress: list[Callable[[], None]] = []
        self.source = RequestedTokenSource(
            ask=self._ask,
            clock=self.clock,
            spawn=self._spawn,
            wake=self._wake,
            report=self.reported.append,
            chance=lambda: chance,
            policy=RefreshPolicy(),
        )

    def answer(self, *, oldest: bool = True) -> None:
        """Let the oldest call return, or the newest."""
        self.in_progress.pop(0 if oldest else -1)()

    def read(self, audience: str = AUDIENCE) -> BoundToken | TokenError:
        """Read as the loop does."""
        try:
            return self.source.read(audience)
        except TokenError as error:
            return error

    def read_after_answer(self) -> BoundToken | TokenError:
        """Read, let the call that this started return, and read again."""
        self.read()
        self.answer()
        return self.read()

    def _ask(self, audience: str) -> BoundToken:
        if self.fault is not None:
            raise self.fault
        issued_at = self.clock.now + self.skew
        token = make_token(issued_at=issued_at, lifetime=self.lifetime, audiences=(audience,), serial=len(self.asked))
        self.asked_at[token.fingerprint] = self._began
        return token

    def _spawn(self, task: Callable[[], None]) -> None:
        if self.no_thread:
            raise RuntimeError("can't start new thread")
        began = self.clock.monotonic
        self.asked.append(began)

        def make_call() -> None:
            self._began = began
            task()

        self.in_progress.append(make_call)

    def _wake(self) -> None:
        self.woken += 1
