"""prometheus_client parses exactly what was rendered, for any label values, help texts and numbers."""

from __future__ import annotations

import math
from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from broker.core.status import Durations, ProfileStatus, Snapshot
from broker.serving.exposition import Histogram, Metric, render_text
from broker.serving.metrics import render_metrics
from tests.support.fakes import EPOCH

any_text = st.text(st.characters(exclude_categories=["Cs"]))
# The parser drops white space around a help text.
helps = any_text.map(str.strip)
floats = st.floats(allow_nan=True, allow_infinity=True)
integers = st.integers(min_value=-(2**64), max_value=2**64)
labels = st.lists(st.from_regex(r"[a-z][a-z0-9_]{0,9}", fullmatch=True), unique=True, max_size=3).map(tuple)
profile_names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", fullmatch=True)
"""As settings allow them."""


@st.composite
def metrics(draw: st.DrawFn) -> Metric:
    kind = draw(st.sampled_from(["counter", "gauge"]))
    names = draw(labels)
    return Metric(
        name="some_total" if kind == "counter" else "some_seconds",
        type="counter" if kind == "counter" else "gauge",
        help=draw(helps),
        labels=names,
        samples=draw(st.dictionaries(st.tuples(*[any_text] * len(names)), floats | integers, max_size=4)),
    )


@given(metric=metrics())
def test_metric_round_trips(metric: Metric) -> None:
    (family,) = text_string_to_metric_families(render_text([metric]).decode())
    assert (family.name, family.type) == (metric.name.removesuffix("_total"), metric.type)
    assert family.documentation == metric.help
    assert len(family.samples) == len(metric.samples)
    for sample, (values, value) in zip(family.samples, metric.samples.items(), strict=True):
        assert (sample.name, sample.labels) == (metric.name, dict(zip(metric.labels, values, strict=True)))
        assert is_same_number(sample.value, value)


@given(metric=metrics())
def test_text_with_line_feeds_starts_no_line_of_its_own(metric: Metric) -> None:
    """Otherwise, who chooses a label value could add samples."""
    assert render_text([metric]).count(b"\n") == 2 + len(metric.samples)


@given(data=st.data(), bounds=st.lists(st.floats(0, 1e9), unique=True, max_size=5).map(sorted))
def test_histogram_round_trips(data: st.DataObject, bounds: list[float]) -> None:
    counts = tuple(data.draw(st.integers(0, 2**40)) for _ in range(len(bounds) + 1))
    total = data.draw(st.floats(0, 1e12))
    histogram = Histogram(name="seconds", help="Seconds.", bounds=tuple(bounds), counts=counts, sum=total)
    (family,) = text_string_to_metric_families(render_text([histogram]).decode())
    assert family.type == "histogram"
    *buckets, count, sum_sample = family.samples
    assert [float(bucket.labels["le"]) for bucket in buckets] == [*bounds, math.inf]
    assert [bucket.value for bucket in buckets] == list(accumulate(counts))
    assert (count, sum_sample) == (Sample("seconds_count", {}, sum(counts)), Sample("seconds_sum", {}, total))


@given(names=st.lists(profile_names, unique=True, max_size=5), failures=st.integers(0, 2**53))
def test_every_profile_name_that_settings_allow_is_a_label(names: list[str], failures: int) -> None:
    profiles = [ProfileStatus(profile=name, role_arn="", required=True, publish_failures=failures) for name in names]
    snapshot = Snapshot(profiles=profiles, exchange_durations=Durations(), turned_at=None, clock_skew=None)
    families = text_string_to_metric_families(render_metrics(snapshot, EPOCH, None).decode())
    (family,) = [family for family in families if family.name == "sts_broker_publish_failures"]
    assert [(sample.labels, sample.value) for sample in family.samples] == [
        ({"profile": name}, failures) for name in names
    ]


def is_same_number(parsed: float, written: float) -> bool:
    """Return whether the parsed number is the 64-bit float of the written one; NaN is the same as NaN."""
    return parsed == float(written) or (math.isnan(parsed) and math.isnan(written))
