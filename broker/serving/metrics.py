"""The status as Prometheus metrics, and the only importer of prometheus_client.

A scrape projects one snapshot; nothing is counted here. Labels come from closed sets and configured profile names.
Imported at the first scrape, because a broker that is never scraped need not carry the library.
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
    """A gauge with one sample a profile that has a value: an instant, or a number."""

    name: str
    help: str
    value: Callable[[ProfileStatus], datetime | float | None]


PROFILE_GAUGES = (
    ProfileGauge(
        name="sts_broker_credentials_issued_timestamp_seconds",
        help="When the credentials that readers have came from STS.",
        value=lambda profile: profile.published_received_at,
    ),
    ProfileGauge(
        name="sts_broker_credentials_expiry_timestamp_seconds",
        help="When the credentials that readers have stop being usable.",
        value=lambda profile: profile.published_usable_until,
    ),
    ProfileGauge(
        name="sts_broker_token_expiry_timestamp_seconds",
        help="When the bound token expires.",
        value=lambda profile: profile.token_expires_at,
    ),
    ProfileGauge(
        name="sts_broker_token_issued_timestamp_seconds",
        help="When the bound token was issued.",
        value=lambda profile: profile.token_issued_at,
    ),
    ProfileGauge(
        name="sts_broker_next_refresh_timestamp_seconds",
        help="When the next refresh is due.",
        value=lambda profile: profile.refresh_at,
    ),
    ProfileGauge(
        name="sts_broker_generation",
        help="How many times credentials were published since the broker started; 0: never.",
        value=lambda profile: profile.published_generation,
    ),
)


class SnapshotCollector(Collector):
    """Yields the metrics of the snapshot that `take` returns."""

    def __init__(self, take: Callable[[], Snapshot], clock: Clock) -> None:
        self._take = take
        self._clock = clock

    def collect(self) -> Iterable[Metric]:
        """Return the metrics of this moment."""
        snapshot = self._take()
        yield _build_info()
        ready = is_ready(snapshot, self._clock.read().now)
        yield GaugeMetricFamily(
            "sts_broker_ready", "1 while readers of every required profile have unexpired credentials.", value=ready
        )
        for gauge in PROFILE_GAUGES:
            yield _profile_gauge(gauge, snapshot)
        faults = GaugeMetricFamily(
            "sts_broker_fault", "1 for the fault that a profile has now.", labels=["profile", "reason"]
        )
        refreshes = CounterMetricFamily(
            "sts_broker_refresh", "Refreshes by how they ended and why.", labels=["profile", "outcome", "reason"]
        )
        failures = CounterMetricFamily("sts_broker_publish_failures", "Publishes that failed.", labels=["profile"])
        for profile in snapshot.profiles:
            if profile.fault is not None:
                faults.add_metric([profile.profile, profile.fault.error.reason], 1)
            for (outcome, reason), count in profile.refreshes.items():
                refreshes.add_metric([profile.profile, outcome, reason], count)
            failures.add_metric([profile.profile], profile.publish_failures)
        yield from (faults, refreshes, failures)
        yield _durations(snapshot)
        skew = GaugeMetricFamily("sts_broker_clock_skew_seconds", "STS's clock less this node's, at the last exchange.")
        if snapshot.clock_skew is not None:
            skew.add_metric([], snapshot.clock_skew.total_seconds())
        yield skew


class MetricsPage:
    """Renders a scrape's answer."""

    def __init__(self, take: Callable[[], Snapshot], clock: Clock) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(SnapshotCollector(take, clock))
        ProcessCollector(registry=self._registry)

    def render(self, accept: str) -> tuple[str, bytes]:
        """Return content type and body in the format that the scraper's Accept header asks for."""
        try:
            encoder, content_type = choose_encoder(accept)
        except (TypeError, ValueError):  # it stumbles over some headers that nobody should send
            encoder, content_type = choose_encoder("")
        return content_type, encoder(self._registry)


def _build_info() -> Metric:
    info = GaugeMetricFamily("sts_broker_build_info", "1, labelled with versions.", labels=["version", "python"])
    info.add_metric([__version__, platform.python_version()], 1)
    return info


def _profile_gauge(gauge: ProfileGauge, snapshot: Snapshot) -> Metric:
    family = GaugeMetricFamily(gauge.name, gauge.help, labels=["profile"])
    for profile in snapshot.profiles:
        value = gauge.value(profile)
        if value is not None:
            family.add_metric([profile.profile], value if isinstance(value, int | float) else value.timestamp())
    return family


def _durations(snapshot: Snapshot) -> Metric:
    durations, so_far, buckets = snapshot.exchange_durations, 0, []
    for bound, count in zip((*map(str, DURATION_BUCKETS_SECONDS), "+Inf"), durations.counts, strict=True):
        so_far += count
        buckets.append((bound, so_far))
    return HistogramMetricFamily(
        "sts_broker_exchange_duration_seconds",
        "How long exchanges took, failed ones included.",
        buckets=buckets,
        sum_value=durations.sum_seconds,
    )
