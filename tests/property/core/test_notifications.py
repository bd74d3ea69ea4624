"""Notifications of many targets, in any order of refreshes, results and time."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from broker.core.notifications import MAXIMUM_AT_ONCE, RETRY_DELAYS, TRIES, Notification, Notifications, Outcome
from broker.core.notify_targets import HttpTarget, SignalTarget

TARGETS = (HttpTarget(url="http://127.0.0.1:1/"), SignalTarget(signal="HUP", process="app"))
PROFILES = tuple(f"p{number}" for number in range(MAXIMUM_AT_ONCE))
LONGEST = timedelta(seconds=5)


class NotificationsMachine(RuleBasedStateMachine):
    """Two targets for each of several profiles: more than there are places."""

    def __init__(self) -> None:
        super().__init__()
        self.now = timedelta(0)
        self.notifications = Notifications(dict.fromkeys(PROFILES, TARGETS))
        self.published = dict.fromkeys(PROFILES, 1)
        self.running: list[Notification] = []
        self.tries: Counter[tuple[str, object, int]] = Counter()
        self.ends: dict[tuple[str, object, int], Outcome] = {}
        for profile in PROFILES:
            self.notifications.publish(profile, 1, self.now)

    def end(self, notification: Notification, outcome: Outcome) -> None:
        key = (notification.profile, notification.target, notification.generation)
        assert key not in self.ends, "a notification has one outcome"
        self.ends[key] = outcome

    @rule(profile=st.sampled_from(PROFILES))
    def publish(self, profile: str) -> None:
        self.published[profile] += 1
        for superseded in self.notifications.publish(profile, self.published[profile], self.now):
            assert superseded.generation < self.published[profile]
            self.end(superseded, Outcome.SUPERSEDED)

    @rule(seconds=st.floats(0, 20))
    def pass_time(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    @rule()
    def begin(self) -> None:
        for notification in self.notifications.begin_due(self.now):
            assert notification.generation == self.published[notification.profile], "only the newest one"
            others = [(each.profile, each.target) for each in self.running]
            assert (notification.profile, notification.target) not in others, "one at a time"
            self.tries[notification.profile, notification.target, notification.generation] += 1
            self.running.append(notification)

    @precondition(lambda self: self.running)
    @rule(data=st.data(), has_failed=st.booleans())
    def finish(self, data: st.DataObject, has_failed: bool) -> None:
        notification = self.running.pop(data.draw(st.integers(0, len(self.running) - 1)))
        outcome = self.notifications.finish(notification, self.now, has_failed=has_failed)
        if outcome is None:
            assert has_failed
        else:
            assert (outcome is Outcome.SUCCESS) != has_failed
            self.end(notification, outcome)

    @invariant()
    def bounds_hold(self) -> None:
        assert len(self.running) <= MAXIMUM_AT_ONCE
        assert all(count <= TRIES for count in self.tries.values())

    def teardown(self) -> None:
        """Let every try take long and fail: all ends within the sum of tries and delays, and nothing is left."""
        began = self.now
        while self.running or self.notifications.next_due() is not None:
            self.begin()
            if not self.running:
                due = self.notifications.next_due()
                assert due is not None
                self.now = max(self.now, due)
                continue
            self.now += LONGEST
            for notification in self.running:
                outcome = self.notifications.finish(notification, self.now, has_failed=True)
                if outcome is not None:
                    self.end(notification, outcome)
            self.running.clear()
        rounds = (TRIES + 1) * (len(PROFILES) * len(TARGETS) / MAXIMUM_AT_ONCE + 1)
        assert self.now - began <= LONGEST * rounds + sum(RETRY_DELAYS, timedelta(0)) * 2
        for profile, generation in self.published.items():
            for target in TARGETS:
                assert generation == 1 or (profile, target, generation) in self.ends


NotificationsMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestNotifications = NotificationsMachine.TestCase
