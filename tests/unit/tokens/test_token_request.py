"""Tokens from the Kubernetes API: kept, renewed in time, and the loop never waits for a call."""

from __future__ import annotations

import traceback
from datetime import timedelta

import pytest

from broker.core.errors import TokenAwaited, TokenError, TokenRefused, TokenUnavailable
from broker.core.model import BoundToken
from tests.support.fakes import AUDIENCE, EPOCH, make_token
from tests.support.token_api import TokenApi

SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
DOWN = TokenUnavailable("No answer.")


def message_of(found: BoundToken | TokenError) -> str:
    assert isinstance(found, TokenError)
    return found.message


@pytest.fixture
def api() -> TokenApi:
    return TokenApi()


def test_first_read_starts_a_call_without_waiting(api: TokenApi) -> None:
    awaited = api.read()
    assert isinstance(awaited, TokenAwaited)
    assert AUDIENCE in awaited.message
    assert (len(api.asked), api.woken) == (1, 0)
    assert isinstance(api.read(), TokenAwaited)
    assert len(api.asked) == 1, "one call at a time"


def test_answer_wakes_the_loop_and_is_kept(api: TokenApi) -> None:
    token = api.read_after_answer()
    assert api.woken == 1
    assert token == make_token(serial=1)
    api.clock.advance(40 * MINUTE)
    assert api.read() is token
    assert len(api.asked) == 1


@pytest.mark.parametrize(
    ("lifetime", "due_after"),
    [(10 * MINUTE, 8 * MINUTE), (HOUR, 48 * MINUTE), (30 * HOUR, 24 * HOUR), (1000 * HOUR, 24 * HOUR)],
)
@pytest.mark.parametrize("chance", [0.0, 0.5])
def test_token_is_renewed_by_the_kubelets_rule(lifetime: timedelta, due_after: timedelta, chance: float) -> None:
    """At 80 % of its life or after 24 hours, up to 10 s early."""
    api = TokenApi(chance=chance)
    api.lifetime = lifetime
    first = api.read_after_answer()
    api.clock.advance(due_after - 10 * SECOND * chance - timedelta(milliseconds=1))
    assert api.read() is first
    assert len(api.asked) == 1
    api.clock.advance(timedelta(milliseconds=1))
    assert api.read() is first, "the old token is used until the new one has arrived"
    assert len(api.asked) == 2
    api.answer()
    assert api.read() == make_token(issued_at=api.clock.now, lifetime=lifetime, serial=2)


def test_lifetime_is_the_tokens_own_not_the_requested_one(api: TokenApi) -> None:
    api.lifetime = 6 * SECOND
    api.read_after_answer()
    api.clock.advance(5 * SECOND)
    api.read()
    assert len(api.asked) == 2


def test_token_without_iat_lives_from_its_request() -> None:
    api = TokenApi()
    api.source._ask = lambda _, on_answer: on_answer(make_token(issued_at=None, lifetime=HOUR))
    assert api.read() == make_token(issued_at=None, lifetime=HOUR)
    api.source._ask = lambda _audience, _on_answer: None
    api.clock.advance(HOUR)
    assert isinstance(api.read(), TokenAwaited)


def test_token_in_hand_is_used_until_it_expires_while_the_api_is_down(api: TokenApi) -> None:
    held = api.read_after_answer()
    api.fault = DOWN
    api.clock.advance(59 * MINUTE)
    assert api.read_after_answer() is held
    assert api.reported == [DOWN]
    api.clock.advance(MINUTE)
    assert message_of(api.read()) == DOWN.message


def test_each_fault_is_reported_once_while_a_token_is_in_hand(api: TokenApi) -> None:
    api.read_after_answer()
    api.clock.advance(50 * MINUTE)
    for fault in (DOWN, TokenUnavailable("No answer."), TokenUnavailable("Nonsense.")):
        api.fault = fault
        api.read_after_answer()
        api.clock.advance(MINUTE)
    assert [error.message for error in api.reported] == ["No answer.", "Nonsense."]


def test_fault_without_a_token_in_hand_is_raised_and_not_reported(api: TokenApi) -> None:
    api.fault = DOWN
    assert message_of(api.read_after_answer()) == DOWN.message
    assert api.reported == []


def test_recovered_api_returns_a_token_and_ends_the_fault(api: TokenApi) -> None:
    api.fault = DOWN
    api.read_after_answer()
    api.fault = None
    api.clock.advance(SECOND)
    assert api.read_after_answer() == make_token(issued_at=EPOCH + SECOND, serial=2)


def test_fault_that_has_ended_is_not_raised_later(api: TokenApi) -> None:
    api.fault = DOWN
    api.read_after_answer()
    api.fault = None
    api.clock.advance(SECOND)
    api.read_after_answer()
    api.clock.advance(HOUR)
    assert isinstance(api.read(), TokenAwaited)


@pytest.mark.parametrize(
    ("fault", "delays"),
    [
        (DOWN, [1, 2, 4, 8, 16, 32, 60, 60]),
        (TokenRefused("No."), [60, 120, 240, 300, 300]),
    ],
)
@pytest.mark.parametrize("chance", [0.0, 0.999])
def test_backoff_doubles_and_its_upper_half_is_random(fault: TokenError, delays: list[int], chance: float) -> None:
    api = TokenApi(chance=chance)
    api.fault = fault
    for delay in delays:
        asked = len(api.asked)
        api.read_after_answer()
        assert len(api.asked) == asked + 1
        api.clock.advance(delay * SECOND * (1 + chance) / 2 - timedelta(milliseconds=1))
        api.read()
        assert len(api.asked) == asked + 1, delay
        api.clock.advance(timedelta(milliseconds=1))


def test_backoff_starts_over_with_another_reason(api: TokenApi) -> None:
    api.fault = TokenRefused("No.")
    for _ in range(4):
        api.read_after_answer()
        api.clock.advance(5 * MINUTE)
    api.fault = DOWN
    api.read_after_answer()
    api.clock.advance(SECOND / 2)
    api.read()
    assert len(api.asked) == 6


def test_call_in_progress_is_awaited_however_long_it_takes(api: TokenApi) -> None:
    """Its deadline is kept by `ask`, which always answers."""
    api.read()
    api.clock.advance(10 * MINUTE)
    assert isinstance(api.read(), TokenAwaited)
    assert len(api.asked) == 1
    api.answer()
    assert isinstance(api.read(), BoundToken)


def test_answer_at_once_is_returned_by_the_next_read() -> None:
    """As from a worker that cannot be started."""
    api = TokenApi()
    api.source._ask = lambda _, on_answer: on_answer(DOWN)
    assert message_of(api.read()) == DOWN.message
    assert api.woken == 1


def test_each_audience_has_its_own_token(api: TokenApi) -> None:
    api.read("a")
    api.read("b")
    api.answer(oldest=False)
    assert isinstance(api.read("a"), TokenAwaited)
    found = api.read("b")
    assert not isinstance(found, TokenError)
    assert found.claims.audiences == ("b",)


@pytest.mark.parametrize("skew", [-2 * HOUR, 2 * HOUR])
def test_wrong_clock_neither_refuses_a_token_nor_renews_it_sooner(skew: timedelta) -> None:
    api = TokenApi()
    api.skew = skew
    held = api.read_after_answer()
    api.clock.advance(47 * MINUTE)
    assert api.read() is held
    assert len(api.asked) == 1


def test_wall_clock_jump_back_does_not_make_a_token_younger(api: TokenApi) -> None:
    held = api.read_after_answer()
    api.clock.jump(-3 * HOUR)
    api.clock.advance(48 * MINUTE)
    assert api.read() is held
    assert len(api.asked) == 2


def test_suspended_node_renews_an_old_token_before_it_is_sent(api: TokenApi) -> None:
    """The monotonic clock stops while a machine is suspended."""
    api.read_after_answer()
    api.clock.advance(MINUTE)
    api.clock.jump(2 * HOUR)
    assert isinstance(api.read_after_answer(), BoundToken)
    assert len(api.asked) == 2


def test_clock_jump_right_after_a_call_waits_for_a_second(api: TokenApi) -> None:
    api.read_after_answer()
    api.clock.jump(2 * HOUR)
    assert isinstance(api.read(), TokenAwaited)
    assert len(api.asked) == 1
    api.clock.advance(SECOND)
    assert isinstance(api.read_after_answer(), BoundToken)


def test_fault_names_when_the_next_call_is_due(api: TokenApi) -> None:
    """The loop's own interval grows to 15 s, independently of the backoff of calls."""
    api.fault = DOWN
    for delay in (0.5, 1, 2, 4):
        found = api.read_after_answer()
        assert isinstance(found, TokenError)
        assert found.look_in == delay * SECOND
        api.clock.advance(found.look_in)
    found = api.read()
    assert isinstance(found, TokenError)
    assert found.look_in is None, "a call is in progress, which wakes the loop"


def test_fault_that_is_raised_again_and_again_does_not_grow(api: TokenApi) -> None:
    api.fault = DOWN
    api.read_after_answer()
    depths = []
    for _ in range(3):
        found = api.read()
        assert isinstance(found, TokenError)
        depths.append(len(traceback.extract_tb(found.__traceback__)))
        assert found.__context__ is None
    assert len(set(depths)) == 1
