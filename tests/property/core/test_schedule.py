"""Properties of `decide` and of the refresh policy in arbitrary situations."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from broker.core.backoff import Failure
from broker.core.clock import Instant
from broker.core.errors import Disposition, TokenError, TokenExpired, TokenUnavailable
from broker.core.schedule import Action, Phase, RefreshPolicy, Situation, backoff, decide
from tests.support.fakes import EPOCH, make_credentials, make_token

if TYPE_CHECKING:
    from broker.core.model import BoundToken

POLICY = RefreshPolicy()
jitters = st.floats(min_value=0, max_value=1, exclude_max=True)
lifetimes = st.integers(min_value=1, max_value=43_200).map(lambda seconds: timedelta(seconds=seconds))
moments = st.integers(min_value=-200_000, max_value=200_000).map(lambda seconds: timedelta(seconds=seconds))
failures = st.builds(
    lambda **given: Failure(**given),  # noqa: PLW0108 - likewise
    reason=st.just("exchange_unavailable"),
    at=st.integers(min_value=0, max_value=2000).map(lambda seconds: timedelta(seconds=seconds)),
    disposition=st.sampled_from(Disposition),
    attempts=st.integers(min_value=1, max_value=10_000),
    streak=st.integers(min_value=1, max_value=10_000),
    jitter=jitters,
    fingerprint=st.sampled_from(["", "other"]),
)
readings = st.one_of(
    st.builds(lambda since, lifetime: make_token(issued_at=EPOCH + since, lifetime=lifetime), moments, lifetimes),
    st.sampled_from([TokenUnavailable("None."), TokenExpired("Old.")]),
)
situations = st.builds(
    lambda **given: Situation(**given),  # noqa: PLW0108 - hypothesis would resolve the annotations of a class
    at=st.just(Instant(now=EPOCH, monotonic=timedelta(seconds=2000))),
    credentials=st.none()
    | st.builds(
        lambda since, lifetime: make_credentials(received_at=EPOCH + since, lifetime=lifetime), moments, lifetimes
    ),
    unpublished=st.booleans(),
    exchange_failure=st.none() | failures,
    publish_failure=st.none() | failures,
    succeeded_at=st.none() | st.integers(min_value=0, max_value=2000).map(lambda seconds: timedelta(seconds=seconds)),
    token_failures=st.integers(min_value=1, max_value=10_000),
    requested=st.booleans(),
)


@given(situations, readings, jitters)
def test_any_situation_wakes_within_the_maximum_sleep(
    situation: Situation, reading: BoundToken | TokenError, jitter: float
) -> None:
    decision = decide(situation, reading, POLICY, jitter)
    assert timedelta(0) <= decision.wake_in <= POLICY.nap
    if decision.action is Action.WAIT:
        assert decision.wake_in > timedelta(0)  # otherwise the loop would spin


@given(situations, readings, jitters)
def test_unusable_token_is_never_sent(situation: Situation, reading: BoundToken | TokenError, jitter: float) -> None:
    decision = decide(situation, reading, POLICY, jitter)
    assert not (isinstance(reading, TokenError) and decision.action is Action.EXCHANGE)


@given(situations, readings, jitters)
def test_publishing_without_backoff_precedes_everything_else(
    situation: Situation, reading: BoundToken | TokenError, jitter: float
) -> None:
    situation = replace(situation, unpublished=True, publish_failure=None)
    assert decide(situation, reading, POLICY, jitter).action is Action.PUBLISH


@given(situations, readings, jitters)
def test_failing_sink_does_not_affect_exchanges(
    situation: Situation, reading: BoundToken | TokenError, jitter: float
) -> None:
    """With the sink in backoff, the loop exchanges exactly when it would with a working sink."""
    waiting = Failure(
        reason="publish_failed",
        at=situation.at.monotonic,
        disposition=Disposition.SOON,
        attempts=1,
        streak=1,
        jitter=jitter,
    )
    failing = decide(replace(situation, unpublished=True, publish_failure=waiting), reading, POLICY, jitter)
    working = decide(replace(situation, unpublished=False), reading, POLICY, jitter)
    assert (failing.action, failing.reason) == (working.action, working.reason)


@given(situations, readings, jitters)
def test_exchange_backoff_is_kept_without_a_request(
    situation: Situation, reading: BoundToken | TokenError, jitter: float
) -> None:
    failure = Failure(
        reason="role_denied",
        at=situation.at.monotonic,
        disposition=Disposition.SLOW,
        attempts=1,
        streak=1,
        jitter=0,
    )
    situation = replace(situation, exchange_failure=failure, requested=False)
    assert decide(situation, reading, POLICY, jitter).action is not Action.EXCHANGE


@given(lifetimes, jitters)
def test_lead_leaves_part_of_the_lifetime_to_use(lifetime: timedelta, jitter: float) -> None:
    lead = POLICY.lead(lifetime, jitter)
    assert lifetime / 2 <= lead < lifetime * 0.85 + timedelta(microseconds=10)


@given(lifetimes.filter(lambda lifetime: lifetime >= timedelta(minutes=27)), jitters)
def test_lead_keeps_readers_out_of_every_sdk_window(lifetime: timedelta, jitter: float) -> None:
    window = timedelta(minutes=60) if lifetime >= timedelta(minutes=90) else timedelta(minutes=15)
    assert POLICY.lead(lifetime, jitter) >= window + timedelta(minutes=5)
    assert POLICY.keeps_out_of_sdk_windows(lifetime)


@given(failures, st.sampled_from(Phase), st.booleans())
def test_backoff_is_within_the_limits_of_the_policy(failure: Failure, phase: Phase, new_token: bool) -> None:
    delay = backoff(failure, phase, POLICY, new_token=new_token)
    assert timedelta(seconds=0.5) <= delay <= POLICY.slow.cap
    if failure.streak > POLICY.streak_free:
        assert delay >= POLICY.streak_floor
    if phase is Phase.MANDATORY:
        assert delay <= POLICY.mandatory_backoff_cap


@given(st.lists(st.sampled_from(["a", "b", "c"]), min_size=200, max_size=200), st.data())
def test_any_mixture_of_faults_stays_within_120_calls_an_hour(reasons: list[str], data: st.DataObject) -> None:
    """Alternating errors keep every backoff short, but the minimum delay of a long streak applies to them too."""
    jitter = data.draw(jitters)
    at, before, calls = timedelta(0), "", [timedelta(0)]
    attempts = 0
    for streak, reason in enumerate(reasons, start=1):
        attempts = attempts + 1 if reason == before else 1
        failure = Failure(
            reason=reason, at=at, disposition=Disposition.SOON, attempts=attempts, streak=streak, jitter=jitter
        )
        at, before = at + backoff(failure, Phase.FRESH, POLICY), reason
        calls.append(at)
    assert sum(call < timedelta(minutes=1) for call in calls) <= 10
    assert all(later - first >= timedelta(hours=1) for first, later in zip(calls, calls[120:], strict=False))
