"""Notifications on the event loop: begun when they are due, logged and counted once each."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from broker.core.errors import WorkerFailed
from broker.core.events import NotificationEnded, Published, Restored, Turned
from broker.core.notifications import RETRY_DELAYS
from broker.core.notify_targets import HttpTarget, NotifyFailure
from broker.core.schedule import Phase
from broker.core.status import Status
from broker.loop.event_loop import EventLoop
from broker.runtime import logs
from broker.runtime.notifier import Notifier
from broker.serving.health import build_status_document
from broker.serving.metrics import render_metrics
from broker.worker import jobs
from broker.worker.pool import Overdue, Workers
from tests.support.fakes import EPOCH, FakeClock, make_generation, make_profile

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.core.events import Event

TARGET = HttpTarget(url="http://127.0.0.1:1/?token=s3cret")
FAILURE = NotifyFailure(message="It answered 401.", remedy="Set bearer_file.")


class HeldWorkers(Workers):
    """Workers whose jobs end when a test ends them."""

    def __init__(self) -> None:
        super().__init__(EventLoop())
        self.held: list[tuple[jobs.Job, Callable[[Any], None], float]] = []

    def submit(
        self, job: jobs.Job, on_end: Callable[[Any], None], *, seconds: float = 30, is_apart: bool = False
    ) -> None:
        """Hold the job."""
        assert not is_apart
        self.held.append((job, on_end, seconds))

    def end(self, result: object) -> None:
        """End the oldest job."""
        self.held.pop(0)[1](result)


class Scene:
    """A notifier of one profile with one target, and what came of it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock, self.workers, self.loop = FakeClock(), HeldWorkers(), EventLoop()
        self.profile = make_profile(notify=(TARGET,))
        self.status, self.events = Status([self.profile]), list[object]()
        self.lines: list[tuple[str, str]] = []
        monkeypatch.setattr(logs, "log_message", lambda _, event, message, **__: self.lines.append((event, message)))
        self.notifier = Notifier([self.profile], self.loop, self.workers, self.clock, self.record)

    def record(self, event: Event) -> None:
        self.events.append(event)
        self.status.record(event)

    def publish(self, number: int) -> None:
        at = self.clock.read()
        generation = make_generation(number=number)
        self.notifier.record(Published(at=at, generation=generation, refresh_at=EPOCH))

    def turn(self) -> None:
        deadline = self.notifier.get_deadline()
        now = self.clock.read().monotonic.total_seconds()
        if deadline is not None and deadline <= now:
            self.notifier.meet_deadline(now)


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    return Scene(monkeypatch)


def test_target_is_notified_by_a_worker_within_ten_seconds(scene: Scene) -> None:
    scene.publish(1)
    scene.turn()
    assert scene.workers.held == []
    scene.publish(2)
    scene.turn()
    ((job, _, seconds),) = scene.workers.held
    assert (job, seconds) == (jobs.Notify(target=TARGET), 10)
    scene.workers.end(None)
    assert scene.lines == [("notified", "Notified http://127.0.0.1:1/ about new credentials.")]
    assert scene.notifier.get_deadline() is None


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (FAILURE, "It answered 401. Set bearer_file."),
        (
            Overdue(10),
            "Notifying http://127.0.0.1:1/ took more than 10 s. Check the volume of pid_file and bearer_file.",
        ),
        (WorkerFailed("It ended.", "Report it."), "It ended. Report it."),
    ],
)
def test_failure_is_logged_and_counted_after_the_last_try_only(scene: Scene, result: object, message: str) -> None:
    scene.publish(1)
    scene.publish(2)
    for delay in (*RETRY_DELAYS, timedelta(0)):
        scene.turn()
        scene.workers.end(result)
        scene.clock.advance(delay)
    consequence = "The program keeps its old credentials, and is notified again at the next refresh."
    assert scene.lines == [("notify_failed", f"{message} {consequence}")]
    (event,) = scene.events
    assert isinstance(event, NotificationEnded)
    text = render_metrics(scene.status.snapshot(), EPOCH, None).decode()
    labels = 'profile="default",target="http://127.0.0.1:1/"'
    assert f'sts_broker_notifications_total{{{labels},outcome="failure"}} 1.0' in text
    assert f'sts_broker_notifications_total{{{labels},outcome="success"}} 0.0' in text
    assert f"sts_broker_notification_fault{{{labels}}} 1.0" in text
    document: Any = build_status_document(scene.status.snapshot(), EPOCH)
    assert "s3cret" not in text + str(document)
    (notification,) = document["profiles"][0]["notifications"]
    assert notification["target"] == "http://127.0.0.1:1/"
    assert message == f"{notification['fault']['message']} {notification['fault']['remedy']}"


def test_superseded_notification_is_logged_once(scene: Scene) -> None:
    scene.publish(1)
    scene.publish(2)
    scene.publish(3)
    assert scene.lines == [("notify_superseded", "http://127.0.0.1:1/ is notified about newer credentials instead.")]
    scene.turn()
    scene.workers.end(None)
    assert [event for event, _ in scene.lines] == ["notify_superseded", "notified"]


def test_restored_generation_notifies_nobody(scene: Scene) -> None:
    at, generation = scene.clock.read(), make_generation(number=7)
    scene.notifier.record(Restored(at=at, generation=generation, phase=Phase.FRESH, refresh_at=EPOCH))
    scene.notifier.record(Turned(at=at))
    scene.publish(7)
    scene.turn()
    assert scene.workers.held == []
    scene.publish(8)
    scene.turn()
    assert len(scene.workers.held) == 1


def test_files_that_could_not_be_restored_may_have_readers(scene: Scene) -> None:
    scene.notifier.expect_readers(["default"])
    scene.publish(1)
    scene.turn()
    assert len(scene.workers.held) == 1


def test_profile_without_targets_has_no_samples() -> None:
    status = Status([replace(make_profile(), notify=())])
    assert "sts_broker_notification_fault{" not in render_metrics(status.snapshot(), EPOCH, None).decode()
