"""Notifies programs about new credentials while `run` runs: in workers, with a limited number of tries.

`core.notifications` decides who is notified when. This module gives the due notifications to workers, on the thread of
the event loop, and records and logs how they ended. The main loop does not wait for it, and knows nothing of it.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from broker.core.events import NotificationEnded, Published, Restored
from broker.core.notifications import Notifications, Outcome
from broker.runtime import logs
from broker.worker.adapters import notify_target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from broker.core.clock import Clock
    from broker.core.events import Event
    from broker.core.model import ProfileSpec
    from broker.core.notifications import Notification
    from broker.core.notify_targets import NotifyFailure
    from broker.core.report_fields import ReportFields
    from broker.loop.event_loop import EventLoop
    from broker.worker.pool import Workers

_CONSEQUENCE = "The program keeps its old credentials, and is notified again at the next refresh."


class Notifier:
    """Notifies the targets of all profiles. `record` gets an event for each notification that has ended."""

    def __init__(
        self,
        profiles: Sequence[ProfileSpec],
        loop: EventLoop,
        workers: Workers,
        clock: Clock,
        record: Callable[[Event], None],
    ) -> None:
        self._notifications = Notifications({profile.name: profile.notify for profile in profiles})
        self._workers = workers
        self._clock = clock
        self._record = record
        loop.add_timed(self)

    def record(self, event: Event) -> None:
        """Plan what follows from an event of the main loop."""
        if isinstance(event, Restored):
            self._notifications.mark_read(event.generation.profile, event.generation.number)
        elif isinstance(event, Published):
            generation, now = event.generation, event.at.monotonic
            for superseded in self._notifications.publish(generation.profile, generation.number, now):
                self._end(superseded, Outcome.SUPERSEDED, None)

    def expect_readers(self, profiles: Iterable[str]) -> None:
        """Make the first generation of these profiles notify too, because programs may have older credentials."""
        for profile in profiles:
            self._notifications.mark_read(profile, 0)

    def get_deadline(self) -> float | None:
        """Return when the next notification is due, for the event loop."""
        due = self._notifications.next_due()
        return None if due is None else due.total_seconds()

    def meet_deadline(self, now: float) -> None:
        """Begin the notifications that are due."""
        for notification in self._notifications.begin_due(timedelta(seconds=now)):
            notify_target(self._workers, notification.target, partial(self._finish, notification))

    def _finish(self, notification: Notification, failure: NotifyFailure | None) -> None:
        now = self._clock.read().monotonic
        outcome = self._notifications.finish(notification, now, has_failed=failure is not None)
        if outcome is not None:
            self._end(notification, outcome, failure)

    def _end(self, notification: Notification, outcome: Outcome, failure: NotifyFailure | None) -> None:
        self._record(
            NotificationEnded(
                at=self._clock.read(),
                profile=notification.profile,
                notification=notification,
                outcome=outcome,
                failure=failure,
            )
        )
        _log_end(notification, outcome, failure)


def _log_end(notification: Notification, outcome: Outcome, failure: NotifyFailure | None) -> None:
    label = notification.target.label
    fields: ReportFields = {
        "profile": notification.profile,
        "target": label,
        "generation": notification.generation,
        "attempts": notification.attempt,
    }
    match outcome:
        case Outcome.SUCCESS:
            logs.log_message(logging.INFO, "notified", f"Notified {label} about new credentials.", **fields)
        case Outcome.FAILURE:
            logs.log_message(logging.ERROR, "notify_failed", f"{failure} {_CONSEQUENCE}", **fields)
        case Outcome.SUPERSEDED:
            message = f"{label} is notified about newer credentials instead."
            logs.log_message(logging.INFO, "notify_superseded", message, **fields)
