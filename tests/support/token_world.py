"""Adds web identity tokens to a simulated world: the real keeper, and an STS and a disk for it."""

from __future__ import annotations

from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING

from broker.core.model import Secret
from broker.core.refresher import Call
from broker.core.web_identity_keeper import WebIdentityTokenKeeper
from broker.core.web_identity_status import WebIdentityTokenStatuses
from broker.core.web_identity_token import WebIdentityToken
from tests.support.fakes import InlinePublisher

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from broker.core.clock import Instant
    from broker.core.errors import ExchangeError
    from broker.core.model import ProfileSpec, SourceSession
    from tests.support.world import World

LATENCY = timedelta(milliseconds=300)


class TokenWorld:
    """The web identity tokens of a world. `error` is what STS answers, None for tokens."""

    def __init__(self, world: World, seed: int = 0) -> None:
        self.world = world
        self.error: Callable[[], ExchangeError] | None = None
        self.calls: list[Instant] = []
        self.requested: list[timedelta] = []
        self.read: dict[str, WebIdentityToken] = {}
        self.lapses = 0
        """How often readers had an expired token."""
        self.escalations = 0
        """How many tokens would have outlived their session, which STS refuses."""
        profiles = [each for each in world.profiles if each.web_identity_token is not None]
        world.web_identity_tokens = WebIdentityTokenStatuses(each.name for each in profiles)
        world.refresher.companion = WebIdentityTokenKeeper(
            profiles=profiles,
            requests=self,
            publisher=InlinePublisher(self),
            record=world.web_identity_tokens.record,
            run_on_loop=lambda function: world.inbox.put(Call(function)),
            chance=Random(seed).random,
            policy=world.policy,
        )

    def begin(
        self,
        profile: ProfileSpec,
        session: SourceSession,
        duration: timedelta,
        on_end: Callable[[WebIdentityToken | ExchangeError], None],
    ) -> None:
        """Answer a call after some time."""
        began = self.world.clock.read()
        self.calls.append(began)
        self.requested.append(duration)
        self.escalations += began.now + LATENCY + duration > session.generation.credentials.lapses_at
        token = WebIdentityToken(
            profile=profile.name,
            raw=Secret("a.b.c"),
            received_at=began.now,
            expires_at=began.now + duration,
            lifetime=duration,
        )
        fault = self.error or self.world.sts_fault
        answer = fault() if fault else token
        self.world.clock.after(LATENCY, lambda: on_end(answer))

    def publish(self, tokens: Sequence[WebIdentityToken]) -> None:
        """Replace what readers see, and count what had expired."""
        for token in tokens:
            before = self.read.get(token.profile)
            self.lapses += before is not None and before.lapses_at <= self.world.clock.now
            self.read[token.profile] = token

    def missing(self) -> frozenset[str]:
        """Return nothing, because no file is deleted here."""
        return frozenset()
