"""The metrics: names, help texts and values, from a snapshot of the state and the readings of the process.

Each scrape renders one snapshot; this module counts nothing itself. Label values come from closed sets and from the
configured profile names.
"""

from __future__ import annotations

import sys
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from broker import __version__
from broker.core.records import Struct
from broker.core.role_arns import read_account
from broker.core.status import DURATION_BUCKETS_SECONDS, is_ready
from broker.serving.exposition import Histogram, Metric, render_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime

    from broker.core.status import ProfileStatus, Snapshot
    from broker.core.web_identity_status import WebIdentityTokenStatus
    from broker.serving.process_readings import ProcessReadings

    Samples = Mapping[tuple[str, ...], float]


def _convert_to_ratio(percent: int | None) -> float | None:
    return None if percent is None else percent / 100


class ProfileGauge(Struct, frozen=True, kw_only=True):
    """A gauge with one sample for each profile that has a value, which is an instant or a number.

    `value` gets the status of the profile, or that of its web identity token.
    """

    name: str
    help: str
    value: Callable[[Any], datetime | float | None]


PROFILE_GAUGES = (
    ProfileGauge(
        name="sts_broker_credentials_issued_timestamp_seconds",
        help="Time at which STS issued the published credentials.",
        value=lambda profile: profile.published_received_at,
    ),
    ProfileGauge(
        name="sts_broker_credentials_expiry_timestamp_seconds",
        help="Time until which readers can use the published credentials.",
        value=lambda profile: profile.published_usable_until,
    ),
    ProfileGauge(
        name="sts_broker_token_expiry_timestamp_seconds",
        help="Time at which the bound token expires.",
        value=lambda profile: profile.token_expires_at,
    ),
    ProfileGauge(
        name="sts_broker_token_issued_timestamp_seconds",
        help="Time at which the bound token was issued.",
        value=lambda profile: profile.token_issued_at,
    ),
    ProfileGauge(
        name="sts_broker_next_refresh_timestamp_seconds",
        help="Time at which the next refresh is due.",
        value=lambda profile: profile.refresh_at,
    ),
    ProfileGauge(
        name="sts_broker_generation",
        help="Number of the published credentials, from 1. It continues after a restart that restores them.",
        value=lambda profile: profile.published_generation,
    ),
    ProfileGauge(
        name="sts_broker_packed_policy_ratio",
        help="Share of the space for session policies and tags that the newest session uses. STS refuses above 1.",
        value=lambda profile: _convert_to_ratio(profile.sizes.packed_policy_percent),
    ),
    ProfileGauge(
        name="sts_broker_session_token_ratio",
        help="Share of the maximum size of a session token that the newest one has.",
        value=lambda profile: _convert_to_ratio(profile.sizes.session_token_percent),
    ),
    ProfileGauge(
        name="sts_broker_session_token_bytes",
        help="Size of the newest session token.",
        value=lambda profile: profile.sizes.session_token_bytes,
    ),
)


TOKEN_GAUGES = (
    ProfileGauge(
        name="sts_broker_web_identity_token_issued_timestamp_seconds",
        help="Time at which STS issued the published web identity token.",
        value=lambda token: token.received_at,
    ),
    ProfileGauge(
        name="sts_broker_web_identity_token_expiry_timestamp_seconds",
        help="Time at which the published web identity token expires.",
        value=lambda token: token.lapses_at,
    ),
)


class Losses(Struct, frozen=True, kw_only=True):
    """What the process has lost since its start: lines of its log, and workers that ended before they had answered."""

    dropped_log_lines: int = 0
    failed_workers: int = 0


NO_LOSSES = Losses()
NO_ANSWERS: Mapping[tuple[str, int], int] = MappingProxyType({})


def render_metrics(
    snapshot: Snapshot,
    now: datetime,
    process: ProcessReadings | None,
    losses: Losses = NO_LOSSES,
    answers: Mapping[tuple[str, int], int] = NO_ANSWERS,
) -> bytes:
    """Return the metrics page, in the text format of Prometheus. Without readings, it has no `process_` metrics.

    `answers` has the numbers of answers of the credentials endpoint, by profile and status code.
    """
    return render_text(collect_metrics(snapshot, now, process, losses, answers))


def collect_metrics(
    snapshot: Snapshot,
    now: datetime,
    process: ProcessReadings | None,
    losses: Losses = NO_LOSSES,
    answers: Mapping[tuple[str, int], int] = NO_ANSWERS,
) -> Iterator[Metric | Histogram]:
    """Yield every metric, also those without a sample."""
    yield Metric(
        name="sts_broker_build_info",
        type="gauge",
        help="Always 1; the labels hold the versions of the broker and of Python.",
        labels=("version", "python"),
        samples={(__version__, sys.version.split()[0]): 1},  # platform.python_version() would import much more
    )
    yield Metric(
        name="sts_broker_ready",
        type="gauge",
        help="1 if readers of every required profile have unexpired credentials, otherwise 0.",
        samples={(): is_ready(snapshot, now)},
    )
    yield _collect_profile_info(snapshot)
    yield from (_collect_profile_gauge(gauge, snapshot.profiles) for gauge in PROFILE_GAUGES)
    yield from _collect_outcomes(snapshot)
    yield _collect_answers(answers)
    if snapshot.web_identity_tokens:
        yield from _collect_web_identity_tokens(snapshot.web_identity_tokens)
    yield Histogram(
        name="sts_broker_exchange_duration_seconds",
        help="Duration of exchanges, including failed ones.",
        bounds=DURATION_BUCKETS_SECONDS,
        counts=snapshot.exchange_durations.counts,
        sum=snapshot.exchange_durations.sum_seconds,
    )
    skew = snapshot.clock_skew
    yield Metric(
        name="sts_broker_clock_skew_seconds",
        type="gauge",
        help="Clock of STS minus clock of the node, at the last exchange.",
        samples={} if skew is None else {(): skew.total_seconds()},
    )
    yield Metric(
        name="sts_broker_log_lines_dropped_total",
        type="counter",
        help="Number of log lines that were dropped because nobody read standard error.",
        samples={(): losses.dropped_log_lines},
    )
    yield Metric(
        name="sts_broker_worker_failures_total",
        type="counter",
        help="Number of worker processes that could not be started, or ended before they had answered.",
        samples={(): losses.failed_workers},
    )
    if process is not None:
        yield from _collect_process(process)


def _collect_profile_info(snapshot: Snapshot) -> Metric:
    return Metric(
        name="sts_broker_info",
        type="gauge",
        help="Always 1; the labels hold the role of a profile, and the account of the role.",
        labels=("profile", "role_arn", "account_id"),
        samples={(each.profile, each.role_arn, read_account(each.role_arn)): 1 for each in snapshot.profiles},
    )


def _collect_profile_gauge(gauge: ProfileGauge, statuses: Sequence[ProfileStatus | WebIdentityTokenStatus]) -> Metric:
    samples: dict[tuple[str, ...], float] = {}
    for each in statuses:
        value = gauge.value(each)
        if value is not None:
            samples[(each.profile,)] = value if isinstance(value, int | float) else value.timestamp()
    return Metric(name=gauge.name, type="gauge", help=gauge.help, labels=("profile",), samples=samples)


def _collect_outcomes(snapshot: Snapshot) -> Iterator[Metric]:
    """Yield the faults, refreshes, failures to publish and notifications of all profiles."""
    yield Metric(
        name="sts_broker_fault",
        type="gauge",
        help="1 for the current fault of a profile.",
        labels=("profile", "reason"),
        samples=_sample_faults(snapshot.profiles),
    )
    yield Metric(
        name="sts_broker_refresh_total",
        type="counter",
        help="Number of refreshes, by outcome and reason.",
        labels=("profile", "outcome", "reason"),
        samples=_sample_refreshes(snapshot.profiles),
    )
    yield Metric(
        name="sts_broker_publish_failures_total",
        type="counter",
        help="Number of failed attempts to publish.",
        labels=("profile",),
        samples={(each.profile,): each.publish_failures for each in snapshot.profiles},
    )
    yield Metric(
        name="sts_broker_notifications_total",
        type="counter",
        help="Number of generations that a program was notified about, or was not, by outcome.",
        labels=("profile", "target", "outcome"),
        samples={
            (each.profile, target, outcome.value): count
            for each in snapshot.profiles
            for target, notified in each.notifications.items()
            for outcome, count in notified.counts.items()
        },
    )
    yield Metric(
        name="sts_broker_notification_fault",
        type="gauge",
        help="1 if a program could not be notified about the last credentials, otherwise 0.",
        labels=("profile", "target"),
        samples={
            (each.profile, target): notified.failure is not None
            for each in snapshot.profiles
            for target, notified in each.notifications.items()
        },
    )


def _collect_answers(answers: Mapping[tuple[str, int], int]) -> Metric:
    return Metric(
        name="sts_broker_endpoint_answers_total",
        type="counter",
        help="Number of answers of the credentials endpoint, by status code. No profile: the path names none.",
        labels=("profile", "code"),
        samples={(profile, str(int(code))): count for (profile, code), count in answers.items()},
    )


def _collect_web_identity_tokens(tokens: Sequence[WebIdentityTokenStatus]) -> Iterator[Metric]:
    """Yield the metrics of web identity tokens, which only brokers with such tokens have."""
    yield from (_collect_profile_gauge(gauge, tokens) for gauge in TOKEN_GAUGES)
    yield Metric(
        name="sts_broker_web_identity_token_fault",
        type="gauge",
        help="1 for the current fault of a web identity token.",
        labels=("profile", "reason"),
        samples=_sample_faults(tokens),
    )
    yield Metric(
        name="sts_broker_web_identity_token_refresh_total",
        type="counter",
        help="Number of refreshes of web identity tokens, by outcome, and by reason if they failed.",
        labels=("profile", "outcome", "reason"),
        samples=_sample_refreshes(tokens),
    )


def _sample_faults(statuses: Sequence[ProfileStatus | WebIdentityTokenStatus]) -> Samples:
    return {(each.profile, each.fault.error.reason): 1 for each in statuses if each.fault is not None}


def _sample_refreshes(statuses: Sequence[ProfileStatus | WebIdentityTokenStatus]) -> Samples:
    return {
        (each.profile, outcome, reason): count
        for each in statuses
        for (outcome, reason), count in each.refreshes.items()
    }


def _collect_process(process: ProcessReadings) -> Iterator[Metric]:
    """Yield the metrics that client libraries of Prometheus have for every process."""
    gauges = (
        ("process_virtual_memory_bytes", "Virtual memory size in bytes.", process.virtual_memory_bytes),
        ("process_resident_memory_bytes", "Resident memory size in bytes.", process.resident_memory_bytes),
        (
            "process_start_time_seconds",
            "Start time of the process since unix epoch in seconds.",
            process.started_at_seconds,
        ),
        ("process_open_fds", "Number of open file descriptors.", process.open_fds),
        ("process_max_fds", "Maximum number of open file descriptors.", process.maximum_fds),
    )
    for name, text, value in gauges:
        yield Metric(name=name, type="gauge", help=text, samples={(): value})
    yield Metric(
        name="process_cpu_seconds_total",
        type="counter",
        help="Total user and system CPU time spent in seconds.",
        samples={(): process.cpu_seconds},
    )
