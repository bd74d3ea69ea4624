"""The main loop under faults, in a simulated world."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from broker.core import events
from broker.core.errors import (
    ExchangeUnavailable,
    RoleDenied,
    TokenError,
    TokenExpired,
    TokenRejected,
    TokenUnavailable,
    WorkerFailed,
)
from broker.core.exchange_places import MAXIMUM_EXCHANGES_AT_ONCE
from broker.core.refresher import RefreshNow, Stop, Wake
from tests.support.fakes import make_profile
from tests.support.world import EXCHANGE_DEADLINE, LATENCY, World, profile_status, raising, usable_until

if TYPE_CHECKING:
    from broker.core.model import BoundToken, Generation

MINUTE = timedelta(minutes=1)


def published_generations(world: World) -> list[Generation]:
    """Return every generation that was published, in order."""
    return [event.generation for event in world.events if isinstance(event, events.Published)]


def test_start_publishes_the_first_generation() -> None:
    world = World()
    world.live(timedelta(seconds=1))
    assert world.published["default"].number == 1
    assert world.published["default"].reason == "no_credentials"
    assert len(world.calls) == 1


def test_stop_message_ends_the_loop_at_once() -> None:
    world = World()
    world.inbox.put(Stop())
    world.refresher.run()
    assert world.clock.monotonic == timedelta(seconds=1000)


def test_outage_keeps_the_published_credentials() -> None:
    world = World()
    world.live(MINUTE)
    before = world.published["default"]
    world.sts_fault = raising(ExchangeUnavailable)
    world.live(timedelta(minutes=50))
    assert world.published["default"] is before
    assert usable_until(world) == before.credentials.usable_until


def test_request_refreshes_within_minimum_interval_and_backoff() -> None:
    world = World()
    world.live(timedelta(seconds=5))
    world.inbox.put(RefreshNow())
    world.live(timedelta(seconds=5))
    assert world.published["default"].number == 2
    assert world.published["default"].reason == "requested"
    world.sts_fault = raising(RoleDenied)
    world.inbox.put(RefreshNow())
    world.live(timedelta(seconds=5))
    world.sts_fault = None
    world.inbox.put(RefreshNow())
    world.live(timedelta(seconds=5))
    assert world.published["default"].number == 3


def test_request_that_fails_is_repeated_with_backoff_until_it_succeeds() -> None:
    world = World()
    world.live(MINUTE * 2)
    world.sts_fault = raising(ExchangeUnavailable)
    world.calls.clear()
    world.inbox.put(RefreshNow())
    world.live(MINUTE * 10)
    assert 10 <= len(world.calls) <= 20
    world.sts_fault = None
    world.live(MINUTE)
    assert world.published["default"].reason == "requested"
    world.calls.clear()
    world.live(MINUTE * 10)
    assert not world.calls, "the request is fulfilled"


def test_request_that_arrives_during_an_exchange_causes_one_more() -> None:
    """The exchange in progress may have used settings of the role that somebody has changed since."""
    world = World(answer_after=timedelta(seconds=10))
    world.live(timedelta(seconds=5))
    world.inbox.put(RefreshNow())
    world.live(MINUTE)
    assert [generation.reason for generation in published_generations(world)] == ["no_credentials", "requested"]


def test_denied_profile_does_not_delay_others() -> None:
    world = World(profiles=(make_profile("denied"), make_profile("well")), sts_fault=raising(RoleDenied))
    world.denied_profile = "denied"
    world.live(timedelta(hours=2))
    assert "denied" not in world.published
    assert world.published["well"].number >= 4


def test_exchange_that_ends_at_its_deadline_is_a_failure_and_is_repeated() -> None:
    world = World(answer_after=timedelta(hours=1))
    world.live(EXCHANGE_DEADLINE + timedelta(milliseconds=100))
    (failed,) = [event for event in world.events if isinstance(event, events.ExchangeFailed)]
    assert failed.duration == EXCHANGE_DEADLINE
    world.answer_after = LATENCY
    world.live(MINUTE)
    assert world.published["default"].number == 1


def test_failed_worker_is_a_failed_exchange_and_not_a_bug() -> None:
    world = World(sts_fault=raising(WorkerFailed))
    world.live(timedelta(seconds=10))
    failures = [event for event in world.events if isinstance(event, events.ExchangeFailed)]
    assert {event.error.reason for event in failures} == {"worker_failed"}
    assert 3 <= len(failures) <= 6
    world.sts_fault = None
    world.live(MINUTE)
    assert world.published["default"].number == 1


def test_number_of_exchanges_at_once_is_limited() -> None:
    profiles = tuple(make_profile(f"p{number}") for number in range(3 * MAXIMUM_EXCHANGES_AT_ONCE))
    world = World(profiles=profiles, answer_after=timedelta(seconds=1))
    world.live(timedelta(seconds=1.5))
    assert len(world.published) == MAXIMUM_EXCHANGES_AT_ONCE
    world.live(timedelta(seconds=2))
    assert len(world.published) == len(profiles)


def test_credentials_are_published_without_another_exchange_once_the_disk_has_space() -> None:
    world = World(disk_fault=True, chance=lambda: 0.0)
    world.live(timedelta(minutes=5))
    assert len(world.calls) == 1
    assert profile_status(world).publish_failures >= 3
    world.disk_fault = False
    world.live(MINUTE)
    assert world.published["default"].number == 1
    assert len(world.calls) == 1


def test_removed_files_are_published_again_without_another_exchange() -> None:
    world = World()
    world.live(timedelta(minutes=2))
    world.published.clear()
    world.disk_fault = True
    world.live(MINUTE)
    assert profile_status(world).published_usable_until is None  # and so not ready
    assert len([event for event in world.events if isinstance(event, events.PublishedLost)]) == 1
    world.disk_fault = False
    world.live(MINUTE)
    assert world.published["default"].number == 1
    assert profile_status(world).published_usable_until is not None
    assert len(world.calls) == 1


def test_token_that_returns_is_recorded_and_used() -> None:
    world = World(token_absent=True)
    world.live(MINUTE)
    assert not world.calls
    unfit = [event for event in world.events if isinstance(event, events.TokenUnfit)]
    assert len(unfit) == 1  # recorded once, not at each read
    world.token_absent = False
    world.live(timedelta(seconds=16))
    assert world.published["default"].number == 1
    assert profile_status(world).fault is None


def test_wake_message_makes_the_loop_read_the_token_at_once() -> None:
    world = World(token_absent=True)
    world.live(MINUTE)

    def deliver_token() -> None:
        world.token_absent = False
        world.inbox.put(Wake())

    world.clock.after(timedelta(seconds=1), deliver_token)
    world.live(timedelta(seconds=1) + 2 * LATENCY)
    assert world.published["default"].number == 1


def test_new_cause_of_the_same_reason_is_recorded_and_a_changed_time_is_not() -> None:
    world = World(token_absent=True)
    causes = ["One.", "One.", "Two.", "Two."]
    errors: list[TokenError] = [*map(TokenUnavailable, causes), TokenExpired("1 s ago."), TokenExpired("2 s ago.")]

    class Source:
        def read(self, audience: str) -> BoundToken:
            del audience
            raise errors.pop(0) if len(errors) > 1 else errors[0]

    world.refresher.tokens = {"default": Source()}
    world.live(3 * MINUTE)
    messages = [event.error.message for event in world.events if isinstance(event, events.TokenUnfit)]
    assert messages == ["One.", "Two.", "1 s ago."]


def test_stuck_kubelet_causes_one_exchange_before_the_token_expires() -> None:
    world = World(kubelet_stuck=True)
    world.live(timedelta(minutes=59))
    assert world.published["default"].reason == "last_chance"
    calls_before = len(world.calls)
    world.live(timedelta(minutes=40))
    assert len(world.calls) == calls_before
    assert world.expired_proofs_sent == 0


def test_rejected_token_is_retried_at_once_after_rotation() -> None:
    world = World(token_lifetime=timedelta(minutes=10), sts_fault=raising(TokenRejected))
    world.live(timedelta(minutes=9))
    world.sts_fault = None
    world.live(timedelta(minutes=1, seconds=45))
    assert "default" in world.published


def test_exchange_names_the_credentials_that_it_replaces() -> None:
    world = World()
    world.live(timedelta(hours=1))
    first, second, *_ = (event for event in world.events if isinstance(event, events.Exchanged))
    assert first.previous is None
    assert second.previous is first.generation.credentials
