"""Which programs to notify about new credentials, when, and how often.

A program that reads credentials once keeps old ones until it is notified. Each target of a profile is notified about
the newest generation that readers have: at once, and again after a failure, TRIES times in all. A newer generation
replaces one that is still waiting. At most MAXIMUM_AT_ONCE targets are notified at once, and first tries take
precedence, so targets that hang delay the others by seconds only.

The first generation of a start notifies nobody, unless readers may have an older one: no program can have read
credentials before there were any. After a restart, programs have what was restored.

This module is pure. It knows neither processes nor networks, and time is an argument (monotonic).
"""

from __future__ import annotations

from datetime import timedelta
from enum import Enum, unique
from typing import TYPE_CHECKING, Final

from broker.core.records import Struct, field, replace

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from broker.core.notify_targets import NotifyFailure, NotifyTarget

RETRY_DELAYS: Final = (timedelta(seconds=2), timedelta(seconds=15))
"""The delay after each failed try but the last. A container that restarts is back by the last try."""
TRIES: Final = len(RETRY_DELAYS) + 1
MAXIMUM_AT_ONCE: Final = 4


@unique
class Outcome(Enum):
    """How a notification ended."""

    SUCCESS = "success"
    FAILURE = "failure"
    """All tries failed. The target keeps old credentials until it is notified about the next generation."""
    SUPERSEDED = "superseded"
    """There were newer credentials before a try succeeded. The target is notified about those instead."""


class Notification(Struct, frozen=True, kw_only=True):
    """One target that must be notified about one generation. `attempt` counts the tries, from 1."""

    profile: str
    target: NotifyTarget
    generation: int
    attempt: int = 1


class Notified(Struct, frozen=True, kw_only=True):
    """How the notifications of one target ended: their number by outcome, and the failure of the last one."""

    counts: Mapping[Outcome, int] = field(default_factory=lambda: dict.fromkeys(Outcome, 0))
    failure: NotifyFailure | None = None

    def add(self, outcome: Outcome, failure: NotifyFailure | None) -> Notified:
        """Return it with one more notification. One that is superseded shows nothing about the target."""
        counts = {**self.counts, outcome: self.counts[outcome] + 1}
        return Notified(counts=counts, failure=self.failure if outcome is Outcome.SUPERSEDED else failure)


class _TargetState(Struct, kw_only=True):
    """What one target waits for, and what is running. `due` is when to begin with `waiting`."""

    waiting: Notification | None = None
    due: timedelta = timedelta(0)
    running: Notification | None = None


class Notifications:
    """The notifications of all profiles. `targets` has the targets of each profile by name."""

    def __init__(self, targets: Mapping[str, Sequence[NotifyTarget]]) -> None:
        self._states = {name: {target: _TargetState() for target in each} for name, each in targets.items()}
        self._read_generations: dict[str, int] = {}

    def mark_read(self, profile: str, generation: int) -> None:
        """Record that programs may have read this generation already. 0 stands for one of unknown number."""
        self._read_generations[profile] = generation

    def publish(self, profile: str, generation: int, now: timedelta) -> list[Notification]:
        """Plan to notify the targets, because readers have this generation. Return the notifications it supersedes.

        A generation that is published again, because its files were lost, does not count as new.
        """
        before = self._read_generations.get(profile)
        self._read_generations[profile] = generation
        if before in {None, generation}:
            return []
        superseded = []
        for target, state in self._states.get(profile, {}).items():
            if state.waiting is not None:
                superseded.append(state.waiting)
            state.waiting, state.due = Notification(profile=profile, target=target, generation=generation), now
        return superseded

    def begin_due(self, now: timedelta) -> list[Notification]:
        """Return the notifications to begin now. Each must be ended with `finish`."""
        free_places = self._count_free_places()
        due = [(state, waiting) for state, waiting in self._find_ready() if state.due <= now]
        due.sort(key=lambda pair: (pair[1].attempt, pair[0].due))
        begun = due[:free_places]
        for state, notification in begun:
            state.running, state.waiting = notification, None
        return [notification for _, notification in begun]

    def finish(self, notification: Notification, now: timedelta, *, has_failed: bool) -> Outcome | None:
        """Record the end of a try. Return the outcome, or None if there will be another try."""
        state = self._states[notification.profile][notification.target]
        state.running = None
        if not has_failed:
            return Outcome.SUCCESS
        if state.waiting is not None:
            return Outcome.SUPERSEDED
        if notification.attempt == TRIES:
            return Outcome.FAILURE
        state.waiting = replace(notification, attempt=notification.attempt + 1)
        state.due = now + RETRY_DELAYS[notification.attempt - 1]
        return None

    def next_due(self) -> timedelta | None:
        """Return when `begin_due` has something to begin; None if that depends on the end of another notification."""
        if not self._count_free_places():
            return None
        return min((state.due for state, _ in self._find_ready()), default=None)

    def _count_free_places(self) -> int:
        return MAXIMUM_AT_ONCE - sum(state.running is not None for state in self._iterate_states())

    def _find_ready(self) -> Iterator[tuple[_TargetState, Notification]]:
        """Yield what waits for targets that nothing is running for."""
        for state in self._iterate_states():
            if state.waiting is not None and state.running is None:
                yield state, state.waiting

    def _iterate_states(self) -> Iterator[_TargetState]:
        for states in self._states.values():
            yield from states.values()
