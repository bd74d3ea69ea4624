"""The broker in the test's process: its real main loop, token source, exchanger, sink and status, without threads.

Exchanges run in the thread of the main loop. The loop runs until a condition holds, not for some time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import TYPE_CHECKING

from msgspec.structs import replace

from broker.core.refresher import Message, Refresher, RefreshNow
from broker.core.schedule import RefreshPolicy
from broker.core.status import ProfileStatus, Status
from broker.publish.file_sink import FileSink
from broker.sts.exchange import StsExchanger
from broker.tokens.token_file import FileTokenSource
from tests.support.fakes import InlineExchanges, InlinePublisher, decode_at_once

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import timedelta

    from broker.core.clock import WaitingClock
    from broker.core.events import Event
    from broker.core.model import ProfileSpec, PublishSpec, StsSpec

MAXIMUM_TURNS = 50


@dataclass(slots=True, kw_only=True)
class InProcessBroker:
    """All parts of `sts-broker run` except signals, listeners and the log."""

    profiles: Sequence[ProfileSpec]
    sts: StsSpec
    publish: PublishSpec
    clock: WaitingClock
    events: list[Event] = field(default_factory=list)
    minimum_interval: timedelta | None = None
    status: Status = field(init=False)
    refresher: Refresher = field(init=False)
    inbox: SimpleQueue[Message] = field(init=False, default_factory=SimpleQueue)

    def __post_init__(self) -> None:
        """Build the parts as `run` does."""
        self.status = Status(self.profiles)
        sources = {
            spec.token_file: FileTokenSource(spec.token_file, self.clock, decode=decode_at_once)
            for spec in self.profiles
        }
        policy = RefreshPolicy()
        if self.minimum_interval is not None:
            policy = replace(policy, minimum_interval=self.minimum_interval)
        self.refresher = Refresher(
            profiles=self.profiles,
            tokens={spec.name: sources[spec.token_file] for spec in self.profiles},
            exchanges=InlineExchanges(StsExchanger(self.sts, self.clock)),
            publisher=InlinePublisher(FileSink(self.publish, self.profiles, self.clock)),
            record=self._record,
            clock=self.clock,
            inbox=self.inbox,
            chance=lambda: 0.5,
            policy=policy,
        )

    def profile(self, name: str = "default") -> ProfileStatus:
        """Return the current state of a profile."""
        return next(each for each in self.status.snapshot().profiles if each.profile == name)

    def run_until(self, condition: Callable[[], bool], *, turns: int = MAXIMUM_TURNS) -> None:
        """Run the loop until `condition` holds. AssertionError: it does not hold after `turns` turns."""
        left = turns

        def until() -> bool:
            nonlocal left
            left -= 1
            return condition() or left == 0

        self.refresher.run(until)
        assert condition(), self.status.snapshot()

    def publish_next(self) -> None:
        """Request a refresh of every profile, and run the loop until all are published."""
        wanted = {each.profile: each.published_generation + 1 for each in self.status.snapshot().profiles}
        if any(number > 1 for number in wanted.values()):
            self.inbox.put(RefreshNow())
        self.run_until(lambda: all(self.profile(name).published_generation >= wanted[name] for name in wanted))

    def _record(self, event: Event) -> None:
        self.status.record(event)
        self.events.append(event)
