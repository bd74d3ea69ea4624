"""When `once` and `exec` stop waiting for the first generation, and what they then say."""

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
from broker.core.first_publication import Awaited
from broker.core.schedule import RefreshPolicy
from broker.core.status import Durations, Fault, ProfileStatus, Snapshot

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


class TestWhatIsAwaited:
    """The profile of the name, else all required ones, else all."""

    def test_required_profiles_without_a_name(self) -> None:
        seen = snapshot(profile("a"), profile("b", required=False), profile("c", generation=1))
        assert names(awaited(), seen) == ["a"]

    def test_all_where_none_is_required(self) -> None:
        assert names(awaited(), snapshot(profile("a", required=False), profile("b", required=False))) == ["a", "b"]

    def test_the_named_one_whatever_else_is_required(self) -> None:
        seen = snapshot(profile("a"), profile("b", required=False))
        assert names(awaited("b"), seen) == ["b"]
        assert names(awaited("b"), snapshot(profile("a"), profile("b", generation=2))) == []


class TestEnd:
    """Success, the deadline, or a fault that waiting does not mend."""

    def test_all_published_is_the_end_without_a_fault(self) -> None:
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
    def test_what_passes_by_itself_is_waited_for_until_the_deadline(self, passing: dict[str, Any]) -> None:
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
    def test_what_somebody_must_mend_ends_it_at_once(self, lasting: dict[str, Any]) -> None:
        (only,) = lasting.values()
        seen = snapshot(profile("a", **lasting))
        assert awaited().is_over(seen, EARLY)
        assert awaited().fault(seen, EARLY) is only.error

    def test_hopeless_profile_does_not_end_the_wait_for_another(self) -> None:
        denied = profile("a", exchange_fault=fault(RoleDenied("Denied.")))
        assert not awaited().is_over(snapshot(denied, profile("b")), EARLY)
        assert awaited("a").is_over(snapshot(denied, profile("b")), EARLY)
        assert awaited().is_over(snapshot(denied, profile("b", generation=1)), EARLY)


class TestFault:
    """The gravest of those that there are, or why there is none."""

    def test_hopeless_one_before_the_tokens_before_any(self) -> None:
        network = profile("a", exchange_fault=fault(ExchangeUnavailable("Network.")))
        token = profile("b", token_fault=fault(TokenUnavailable("None.")))
        denied = profile("c", exchange_fault=fault(RoleDenied("Denied.")))
        assert str(awaited().fault(snapshot(network, token, denied), LATE)) == "Denied."
        assert str(awaited().fault(snapshot(network, token), LATE)) == "None."
        assert str(awaited().fault(snapshot(network), LATE)) == "Network."

    def test_no_fault_at_the_deadline_is_an_sts_that_does_not_answer(self) -> None:
        error = awaited().fault(snapshot(profile("a")), LATE)
        assert isinstance(error, ExchangeUnavailable)
        assert str(error).startswith("STS had not answered after 60 s. Give --timeout more seconds")

    def test_no_fault_before_the_deadline_is_a_signal(self) -> None:
        assert str(awaited().fault(snapshot(profile("a")), EARLY)) == "A signal came before the answer of STS."


class TestChains:
    """A chained role that waits for its source has the source's fault."""

    def test_source_that_is_denied_ends_the_wait_for_the_role_that_is_chained_to_it(self) -> None:
        waits = fault(SourceUnavailable("Waits."))
        root = profile("root", exchange_fault=fault(RoleDenied("Denied.")))
        middle = profile("middle", source="root", source_fault=waits)
        end = profile("end", source="middle", source_fault=waits)
        seen = snapshot(root, middle, end)
        assert awaited("end").is_over(seen, EARLY)
        assert str(awaited("end").fault(seen, EARLY)) == "Denied."

    def test_source_that_may_still_come_is_waited_for(self) -> None:
        end = profile("end", source="root", source_fault=fault(SourceUnavailable("Waits.")))
        assert not awaited("end").is_over(snapshot(profile("root"), end), EARLY)

    def test_own_fault_counts_once_the_source_is_there(self) -> None:
        end = profile("end", source="root", exchange_fault=fault(RoleDenied("Denied.")))
        assert str(awaited("end").fault(snapshot(profile("root", generation=1), end), EARLY)) == "Denied."
