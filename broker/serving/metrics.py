"""Prometheus metrics, rendered from a snapshot of the state.

Each scrape renders one snapshot; this module counts nothing itself. Label values come from closed sets and from the
configured profile names. This is the only importer of prometheus_client, and is imported by the first scrape: a broker
that is never scraped does not load the library.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from broker import __version__
from broker.core.status import DURATION_BUCKETS_SECONDS, is_ready

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from broker.core.clock import Clock
    from broker.core.status import ProfileStatus, Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileGauge:
    """A gauge with one sample for each profile that has a value, which is an instant or a number."""

    name: str
    help: str
    value: Callable[[ProfileStatus], datetime | float | None]


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
)


class SnapshotCollector(Collector):
    """Collects the metrics of the snapshot that `take_snapshot` returns."""

    def __init__(self, take_snapshot: Callable[[], Snapshot], clock: Clock) -> None:
        self._take_snapshot = take_snapshot
        self._clock = clock

    def collect(self) -> Iterable[Metric]:
        """Yield the metrics of the current snapshot."""
        snapshot = self._take_snapshot()
        yield _collect_build_info()
        ready = is_ready(snapshot, self._clock.read().now)
        yield GaugeMetricFamily(
            "sts_broker_ready",
            "1 if readers of every required profile have unexpired credentials, otherwise 0.",
            value=ready,
        )
        for gauge in PROFILE_GAUGES:
            yield _collect_profile_gauge(gauge, snapshot)
        faults = GaugeMetricFamily(
            "sts_broker_fault", "1 for the current fault of a profile.", labels=["profile", "reason"]
        )
        refreshes = CounterMetricFamily(
            "sts_broker_refresh", "Number of refreshes, by outcome and reason.", labels=["profile", "outcome", "reason"]
        )
        failures = CounterMetricFamily(
            "sts_broker_publish_failures", "Number of failed attempts to publish.", labels=["profile"]
        )
        for profile in snapshot.profiles:
            if profile.fault is not None:
                faults.add_metric([profile.profile, profile.fault.error.reason], 1)
            for (outcome, reason), count in profile.refreshes.items():
                refreshes.add_metric([profile.profile, outcome, reason], count)
            failures.add_metric([profile.profile], profile.publish_failures)
        yield from (faults, refreshes, failures)
        yield _collect_durations(snapshot)
        skew = GaugeMetricFamily(
            "sts_broker_clock_skew_seconds", "Clock of STS minus clock of the node, at the last exchange."
        )
        if snapshot.clock_skew is not None:
            skew.add_metric([], snapshot.clock_skew.total_seconds())
        yield skew


class MetricsPage:
    """Renders the metrics page."""

    def __init__(self, take_snapshot: Callable[[], Snapshot], clock: Clock) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(SnapshotCollector(take_snapshot, clock))
        ProcessCollector(registry=self._registry)

    def render(self, accept: str) -> tuple[str, bytes]:
        """Return content type and body, in the format that `accept`, an Accept header, requests."""
        try:
            encoder, content_type = choose_encoder(accept)
        except (TypeError, ValueError):  # prometheus_client raises these for some malformed headers
            encoder, content_type = choose_encoder("")
        return content_type, encoder(self._registry)


def _collect_build_info() -> Metric:
    info = GaugeMetricFamily(
        "sts_broker_build_info",
        "Always 1; the labels hold the versions of the broker and of Python.",
        labels=["version", "python"],
    )
    info.add_metric([__version__, platform.python_version()], 1)
    return info


def _collect_profile_gauge(gauge: ProfileGauge, snapshot: Snapshot) -> Metric:
    family = GaugeMetricFamily(gauge.name, gauge.help, labels=["profile"])
    for profile in snapshot.profiles:
        value = gauge.value(profile)
        if value is not None:
            family.add_metric([profile.profile], value if isinstance(value, int | float) else value.timestamp())
    return family


def _collect_durations(snapshot: Snapshot) -> Metric:
    durations, cumulative, buckets = snapshot.exchange_durations, 0, []
    for bound, count in zip((*map(str, DURATION_BUCKETS_SECONDS), "+Inf"), durations.counts, strict=True):
        cumulative += count
        buckets.append((bound, cumulative))
    return HistogramMetricFamily(
        "sts_broker_exchange_duration_seconds",
        "Duration of exchanges, including failed ones.",
        buckets=buckets,
        sum_value=durations.sum_seconds,
    )
