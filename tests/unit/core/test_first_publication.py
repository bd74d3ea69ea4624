"""When `once` and `exec` stop waiting for the first credentials, and which error they report."""

from __future__ import annotations

import errno
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from broker.core.errors import (
    ExchangeUnavailable,
    PublishError,
    RoleDenied,
    SourceUnavailable,
    TokenExpired,
    TokenRejected,
    TokenUnavailable,
)
from broker.core.faults import Fault
from broker.core.first_publication import Awaited
from broker.core.schedule import RefreshPolicy
from broker.core.status import Durations, ProfileStatus, Snapshot

if TYPE_CHECKING:
    from broker.core.errors import BrokerError

BEGAN = timedelta(seconds=100)
TIMEOUT = timedelta(seconds=60)
EARLY = BEGAN + timedelta(seconds=1)
LATE = BEGAN + TIMEOUT
POLICY = RefreshPolicy()


def awaited(name: str = "") -> Awaited:
    return Awaited(began=BEGAN, timeout=TIMEOUT, policy=POLICY, name=name)


def fault(error: BrokerError, count: int = 1) -> Fault:
    return Fault(error=error, since=datetime(2026, 11, 23, tzinfo=UTC), count=count)


def profile(
    name: str,
    *,
    required: bool = True,
    generation: int = 0,
    source: str = "",
    **faults: Any,  # noqa: ANN401 - any fault of the status
) -> ProfileStatus:
    return ProfileStatus(
        profile=name, role_arn="arn", required=required, source=source, published_generation=generation, **faults
    )


def snapshot(*profiles: ProfileStatus) -> Snapshot:
    return Snapshot(profiles=profiles, exchange_durations=Durations(), turned_at=None, clock_skew=None)


def names(waiting: Awaited, seen: Snapshot) -> list[str]:
    return [each.profile for each in waiting.unfinished(seen)]


class TestAwaitedProfiles:
    """The named profile, otherwise all required profiles, otherwise all."""

    def test_required_profiles_are_awaited_without_a_name(self) -> None:
        seen = snapshot(profile("a"), profile("b", required=False), profile("c", generation=1))
        assert names(awaited(), seen) == ["a"]

    def test_all_profiles_are_awaited_if_none_is_required(self) -> None:
        assert names(awaited(), snapshot(profile("a", required=False), profile("b", required=False))) == ["a", "b"]

    def test_named_profile_is_awaited_whatever_else_is_required(self) -> None:
        seen = snapshot(profile("a"), profile("b", required=False))
        assert names(awaited("b"), seen) == ["b"]
        assert names(awaited("b"), snapshot(profile("a"), profile("b", generation=2))) == []


class TestEnd:
    """Success, the deadline, or a fault that does not pass without action."""

    def test_wait_ends_without_an_error_once_everything_is_published(self) -> None:
        seen = snapshot(profile("a", generation=1))
        assert awaited().is_over(seen, EARLY)
        assert awaited().fault(seen, EARLY) is None

    @pytest.mark.parametrize(
        "passing",
        [
            {},
            {"exchange_fault": fault(ExchangeUnavailable("Network."))},
            {"exchange_fault": fault(TokenRejected("Not yet."), POLICY.soon_attempts)},
            {"token_fault": fault(TokenUnavailable("None."))},
            {"token_fault": fault(TokenExpired("Over."))},
            {"publish_fault": fault(PublishError("Full.", sink="files", errno=errno.ENOSPC))},
        ],
    )
    def test_passing_fault_is_waited_for_until_the_deadline(self, passing: dict[str, Any]) -> None:
        seen = snapshot(profile("a", **passing))
        assert not awaited().is_over(seen, EARLY)
        assert awaited().is_over(seen, LATE)

    @pytest.mark.parametrize(
        "lasting",
        [
            {"exchange_fault": fault(RoleDenied("Denied."))},
            {"exchange_fault": fault(TokenRejected("Again."), POLICY.soon_attempts + 1)},
            {"publish_fault": fault(PublishError("Closed.", sink="files", errno=errno.EROFS))},
        ],
    )
    def test_lasting_fault_ends_the_wait_at_once(self, lasting: dict[str, Any]) -> None:
        (only,) = lasting.values()
        seen = snapshot(profile("a", **lasting))
        assert awaited().is_over(seen, EARLY)
        assert awaited().fault(seen, EARLY) is only.error

    def test_lasting_fault_does_not_end_the_wait_for_another_profile(self) -> None:
        denied = profile("a", exchange_fault=fault(RoleDenied("Denied.")))
        assert not awaited().is_over(snapshot(denied, profile("b")), EARLY)
        assert awaited("a").is_over(snapshot(denied, profile("b")), EARLY)
        assert awaited().is_over(snapshot(denied, profile("b", generation=1)), EARLY)


class TestFault:
    """The error to report: the most severe fault, or why there is none."""

    def test_lasting_fault_precedes_a_fault_of_the_token_and_that_precedes_others(self) -> None:
        network = profile("a", exchange_fault=fault(ExchangeUnavailable("Network.")))
        token = profile("b", token_fault=fault(TokenUnavailable("None.")))
        denied = profile("c", exchange_fault=fault(RoleDenied("Denied.")))
        assert str(awaited().fault(snapshot(network, token, denied), LATE)) == "Denied."
        assert str(awaited().fault(snapshot(network, token), LATE)) == "None."
        assert str(awaited().fault(snapshot(network), LATE)) == "Network."

    def test_deadline_without_a_fault_means_that_sts_did_not_answer(self) -> None:
        error = awaited().fault(snapshot(profile("a")), LATE)
        assert isinstance(error, ExchangeUnavailable)
        assert str(error).startswith("STS did not answer within 60 s. Increase --timeout")

    def test_end_before_the_deadline_without_a_fault_is_a_signal(self) -> None:
        assert str(awaited().fault(snapshot(profile("a")), EARLY)) == "A signal stopped the broker before STS answered."


class TestChains:
    """A chained role that waits for its source has the source's fault."""

    def test_denied_source_ends_the_wait_for_the_roles_chained_to_it(self) -> None:
        waits = fault(SourceUnavailable("Waits."))
        root = profile("root", exchange_fault=fault(RoleDenied("Denied.")))
        middle = profile("middle", source="root", source_fault=waits)
        end = profile("end", source="middle", source_fault=waits)
        seen = snapshot(root, middle, end)
        assert awaited("end").is_over(seen, EARLY)
        assert str(awaited("end").fault(seen, EARLY)) == "Denied."

    def test_source_that_can_still_succeed_is_waited_for(self) -> None:
        end = profile("end", source="root", source_fault=fault(SourceUnavailable("Waits.")))
        assert not awaited("end").is_over(snapshot(profile("root"), end), EARLY)

    def test_own_fault_applies_once_the_source_is_published(self) -> None:
        end = profile("end", source="root", exchange_fault=fault(RoleDenied("Denied.")))
        assert str(awaited("end").fault(snapshot(profile("root", generation=1), end), EARLY)) == "Denied."
