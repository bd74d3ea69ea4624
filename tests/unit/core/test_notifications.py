"""Which targets are notified when: once for each generation, again after a failure, and about the newest one only."""

from __future__ import annotations

from datetime import timedelta

from broker.core.notifications import MAXIMUM_AT_ONCE, RETRY_DELAYS, Notifications, Notified, Outcome
from broker.core.notify_targets import HttpTarget, NotifyFailure, SignalTarget

NGINX = SignalTarget(signal="HUP", process="nginx")
VECTOR = HttpTarget(url="http://127.0.0.1:8686/reload?token=s3cret")
ZERO, SECOND = timedelta(0), timedelta(seconds=1)
FAILURE = NotifyFailure(message="It is gone.", remedy="Start it.")


def make_read(*targets: HttpTarget | SignalTarget) -> Notifications:
    """Return notifications of one profile whose first generation programs have read."""
    notifications = Notifications({"app": targets or (NGINX,)})
    assert notifications.publish("app", 1, ZERO) == []
    assert notifications.next_due() is None
    return notifications


def test_later_generation_is_due_for_every_target_at_once() -> None:
    notifications = make_read(NGINX, VECTOR)
    notifications.publish("app", 2, SECOND)
    assert notifications.next_due() == SECOND
    assert notifications.begin_due(ZERO) == []
    begun = notifications.begin_due(SECOND)
    assert [(each.target, each.generation, each.attempt) for each in begun] == [(NGINX, 2, 1), (VECTOR, 2, 1)]
    assert notifications.begin_due(SECOND) == []
    assert [notifications.finish(each, SECOND, has_failed=False) for each in begun] == [Outcome.SUCCESS] * 2
    assert notifications.next_due() is None


def test_generation_that_is_published_again_notifies_nobody() -> None:
    notifications = make_read()
    notifications.publish("app", 1, SECOND)
    assert notifications.next_due() is None


def test_restored_generation_notifies_nobody_and_the_next_one_does() -> None:
    notifications = Notifications({"app": (NGINX,)})
    notifications.mark_read("app", 7)
    notifications.publish("app", 7, ZERO)
    assert notifications.next_due() is None
    notifications.publish("app", 8, SECOND)
    assert notifications.next_due() == SECOND


def test_first_generation_is_notified_if_readers_may_have_an_older_one() -> None:
    notifications = Notifications({"app": (NGINX,)})
    notifications.mark_read("app", 0)
    notifications.publish("app", 1, ZERO)
    assert len(notifications.begin_due(ZERO)) == 1


def test_failure_is_repeated_after_each_delay_and_then_given_up() -> None:
    notifications, now = make_read(), SECOND
    notifications.publish("app", 2, now)
    for delay in RETRY_DELAYS:
        (begun,) = notifications.begin_due(now)
        assert notifications.finish(begun, now, has_failed=True) is None
        assert notifications.next_due() == now + delay
        now += delay
    (begun,) = notifications.begin_due(now)
    assert begun.attempt == len(RETRY_DELAYS) + 1
    assert notifications.finish(begun, now, has_failed=True) is Outcome.FAILURE
    assert notifications.next_due() is None


def test_newer_generation_replaces_a_retry() -> None:
    notifications = make_read()
    notifications.publish("app", 2, ZERO)
    (begun,) = notifications.begin_due(ZERO)
    notifications.finish(begun, ZERO, has_failed=True)
    (superseded,) = notifications.publish("app", 3, SECOND)
    assert (superseded.generation, superseded.attempt) == (2, 2)
    (begun,) = notifications.begin_due(SECOND)
    assert (begun.generation, begun.attempt) == (3, 1)


def test_newer_generation_waits_for_a_running_try_whose_failure_is_superseded() -> None:
    notifications = make_read()
    notifications.publish("app", 2, ZERO)
    (begun,) = notifications.begin_due(ZERO)
    assert notifications.publish("app", 3, ZERO) == []
    assert notifications.next_due() is None
    assert notifications.finish(begun, SECOND, has_failed=True) is Outcome.SUPERSEDED
    (begun,) = notifications.begin_due(SECOND)
    assert begun.generation == 3


def test_places_are_bounded_and_first_tries_come_first() -> None:
    names = [f"p{number}" for number in range(MAXIMUM_AT_ONCE + 1)]
    notifications = Notifications(dict.fromkeys(names, (NGINX,)))
    for name in names:
        notifications.mark_read(name, 1)
        notifications.publish(name, 2, ZERO)
    begun = notifications.begin_due(ZERO)
    assert [each.profile for each in begun] == names[:-1]
    assert notifications.next_due() is None
    for each in begun:
        notifications.finish(each, ZERO, has_failed=True)
    (first, *_) = notifications.begin_due(RETRY_DELAYS[0])
    assert (first.profile, first.attempt) == (names[-1], 1)


def test_profile_without_targets_has_nothing_to_do() -> None:
    notifications = Notifications({"app": ()})
    notifications.publish("app", 1, ZERO)
    assert notifications.publish("app", 2, ZERO) == []
    assert notifications.next_due() is None


def test_last_failure_stays_until_a_success() -> None:
    notified = Notified().add(Outcome.FAILURE, FAILURE)
    assert notified.failure == FAILURE
    assert notified.add(Outcome.SUPERSEDED, None).failure == FAILURE
    assert notified.add(Outcome.SUCCESS, None).failure is None
    assert notified.counts == {Outcome.SUCCESS: 0, Outcome.FAILURE: 1, Outcome.SUPERSEDED: 0}


def test_labels_name_the_target_without_secrets() -> None:
    labels = [each.label for each in (NGINX, SignalTarget(signal="HUP", pid_file="/run/app.pid"), VECTOR)]
    assert labels == ["process:nginx", "pid_file:/run/app.pid", "http://127.0.0.1:8686/reload"]
    assert str(FAILURE) == "It is gone. Start it."
