"""When chained roles are refreshed, and that their faults never affect their source."""

from __future__ import annotations

import itertools
from datetime import timedelta

import pytest
from msgspec.structs import replace

from broker.core import chains, events
from broker.core.backoff import Failure
from broker.core.clock import Instant
from broker.core.errors import ExchangeUnavailable, RoleDenied, SourceRejected, SourceUnavailable
from broker.core.profile_state import ProfileState
from broker.core.refresher import RefreshNow
from broker.core.schedule import Action, Reason, RefreshPolicy, Situation, decide
from tests.support.fakes import EPOCH, make_chained, make_credentials, make_profile, make_session
from tests.support.world import LATENCY, World, profile_status, raising, usable_until

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
POLICY = RefreshPolicy()
CHAIN = (make_profile(), make_chained("other"))
DEEP = (make_chained("third", "second"), make_chained("second"), make_profile())


def situation(age: timedelta = MINUTE * 5, **changes: object) -> Situation:
    """Return the situation of a chained role with 1 h credentials of this age, from generation 1 of its source."""
    fields: dict[str, object] = {
        "at": Instant(now=EPOCH + age, monotonic=HOUR * 5),
        "credentials": make_credentials(),
        "succeeded_at": HOUR * 5 - age,
        "held_fingerprint": "default-1",
        **changes,
    }
    return Situation(**fields)  # type: ignore[arg-type]  # of the types above


def test_renewed_source_causes_an_exchange() -> None:
    decision = decide(situation(), make_session(number=2), POLICY, 0)
    assert (decision.action, decision.reason) == (Action.EXCHANGE, Reason.SOURCE_RENEWED)


def test_unchanged_source_is_used_again_when_a_refresh_is_due() -> None:
    decision = decide(situation(), make_session(number=1), POLICY, 0)
    assert (decision.action, decision.reason) == (Action.WAIT, Reason.NOT_DUE)
    decision = decide(situation(MINUTE * 31), make_session(number=1), POLICY, 0)
    assert (decision.action, decision.reason) == (Action.EXCHANGE, Reason.REFRESH_DUE)


def test_source_renewed_within_the_minimum_interval_is_used_after_it() -> None:
    decision = decide(situation(timedelta(seconds=20)), make_session(number=2), POLICY, 0)
    assert (decision.action, decision.reason) == (Action.WAIT, Reason.MINIMUM_INTERVAL)


@pytest.mark.parametrize("age", [MINUTE * 5, MINUTE * 45, MINUTE * 70])
def test_refreshing_source_is_waited_for(age: timedelta) -> None:
    decision = decide(situation(age, source_is_refreshing=True), make_session(number=1), POLICY, 0)
    assert (decision.action, decision.reason) == (Action.WAIT, Reason.SOURCE_AWAITED)


def test_source_without_credentials_is_waited_for() -> None:
    decision = decide(situation(MINUTE * 45), SourceUnavailable("None yet."), POLICY, 0)
    assert (decision.action, decision.reason) == (Action.WAIT, Reason.SOURCE_AWAITED)


def test_source_is_not_used_in_its_last_seconds() -> None:
    """The source must not expire before STS checks the call."""
    session = make_session(expires_at=EPOCH + HOUR * 2)  # on the clock of STS; the node is an hour behind
    state = ProfileState(spec=make_profile(), jitter=0, generation=session.generation)
    end = EPOCH + HOUR
    assert state.get_session(end - timedelta(seconds=6)) is not None
    assert state.get_session(end - timedelta(seconds=4)) is None


@pytest.mark.parametrize(("number", "action"), [(1, Action.WAIT), (2, Action.EXCHANGE)])
def test_backoff_after_a_rejected_source_ends_when_it_is_renewed(number: int, action: Action) -> None:
    now = situation().at.monotonic
    rejected = Failure(
        reason=SourceRejected.reason,
        at=now - timedelta(seconds=5),
        disposition=SourceRejected.disposition,
        attempts=POLICY.soon_attempts + 2,
        streak=POLICY.soon_attempts + 2,
        jitter=0,
        fingerprint="default-1",
    )
    assert decide(situation(exchange_failure=rejected), make_session(number=number), POLICY, 0).action is action


def test_chained_role_is_exchanged_as_soon_as_its_source_has_credentials() -> None:
    world = World(profiles=CHAIN)
    world.live(LATENCY * 2 + timedelta(milliseconds=1))
    assert [name for _, name in world.calls] == ["default", "other"]
    assert world.published["other"].fingerprint == "default-1"
    assert world.published["other"].reason == "no_credentials"


def test_chain_of_three_is_exchanged_from_its_start_whatever_the_order_of_the_profiles() -> None:
    world = World(profiles=DEEP)
    world.live(MINUTE)
    assert [name for _, name in world.calls] == ["default", "second", "third"]
    assert [profile.profile for profile in world.status.snapshot().profiles] == ["third", "second", "default"]


def test_chain_can_be_deeper_than_the_recursion_limit() -> None:
    names = ["default", *(f"link-{number}" for number in range(1100))]
    links = [make_chained(name, source) for source, name in itertools.pairwise(names)]
    profiles = (*reversed(links), make_profile())
    assert list(chains.find_faults(profiles)) == []
    world = World(profiles=profiles)
    world.live(timedelta(seconds=1))
    assert [name for _, name in world.calls] == names[: len(world.calls)]
    assert len(world.calls) > 3


def test_each_renewal_refreshes_the_whole_chain_once() -> None:
    world = World(profiles=DEEP, chance=lambda: 0.0)
    world.live(HOUR * 10)
    generations = world.published["default"].number
    assert generations == 20
    for name, source in (("second", "default"), ("third", "second")):
        assert [each.number for each in world.sources_used[name]] == list(range(1, generations + 1))
        assert {each.profile for each in world.sources_used[name]} == {source}


def test_request_refreshes_the_source_first_and_each_profile_once() -> None:
    world = World(profiles=DEEP)
    world.live(MINUTE * 5)
    world.calls.clear()
    world.inbox.put(RefreshNow())
    world.live(MINUTE * 5)
    assert [name for _, name in world.calls] == ["default", "second", "third"]
    assert [each.number for each in world.published.values()] == [2, 2, 2]


def test_request_uses_the_current_source_if_that_cannot_be_renewed() -> None:
    world = World(profiles=CHAIN)
    world.live(MINUTE * 5)
    world.sts_fault, world.denied_profile = raising(ExchangeUnavailable), "default"
    world.inbox.put(RefreshNow())
    world.live(MINUTE)
    assert world.published["other"].number == 2
    assert world.published["other"].fingerprint == "default-1"


def test_denied_chain_does_not_affect_its_source() -> None:
    alone, denied = World(chance=lambda: 0.5), World(profiles=CHAIN, chance=lambda: 0.5)
    denied.sts_fault, denied.denied_profile = raising(RoleDenied), "other"
    for world in (alone, denied):
        world.live(HOUR * 5)
    assert [call for call in denied.calls if call[1] == "default"] == alone.calls
    assert "other" not in denied.published
    assert isinstance(profile_status(denied, "other").fault.error, RoleDenied)  # type: ignore[union-attr]
    assert profile_status(denied).fault is None


def test_source_that_cannot_be_renewed_is_used_until_it_expires_and_no_longer() -> None:
    world = World(profiles=CHAIN)
    world.live(MINUTE)
    world.sts_fault, world.denied_profile = raising(ExchangeUnavailable), "default"
    world.live(HOUR * 3)
    assert world.published["other"].number > 1, "refreshed when due, with the credentials that the source still had"
    assert world.expired_proofs_sent == 0
    fault = profile_status(world, "other").fault
    assert fault is not None
    assert str(fault.error) == "Waiting for source profile default, whose credentials have expired."
    world.sts_fault = None
    world.live(MINUTE * 3)
    assert profile_status(world, "other").fault is None
    until = usable_until(world, "other")
    assert until is not None
    assert until > world.clock.now


def test_waiting_chain_is_recorded_once_at_the_start() -> None:
    world = World(profiles=CHAIN, token_absent=True)
    world.live(MINUTE * 10)
    (waiting,) = [event for event in world.events if isinstance(event, events.SourceUnfit)]
    assert (waiting.profile, waiting.error.reason) == ("other", "source_unavailable")
    world.token_absent = False
    world.live(HOUR * 2)
    assert [event.profile for event in world.events if isinstance(event, events.SourceObserved)] == ["other"]


def test_full_disk_does_not_delay_a_chain() -> None:
    """A chain uses the credentials that the broker holds, published or not."""
    world = World(profiles=CHAIN, disk_fault=True)
    world.live(MINUTE)
    assert [name for _, name in world.calls] == ["default", "other"]


def test_profiles_without_a_chain_are_not_affected() -> None:
    spec = replace(make_profile(), name="alone")
    world = World(profiles=(*CHAIN, spec), chance=lambda: 0.5)
    world.live(HOUR * 2)
    assert [at for at, name in world.calls if name == "alone"] == [at for at, name in world.calls if name == "default"]
