"""The text format: what a parser of Prometheus reads from it."""

from __future__ import annotations

import pytest

from broker.serving.exposition import Histogram, Metric, render_text


def test_counter_with_labels_has_help_type_and_a_line_for_each_sample() -> None:
    metric = Metric(
        name="lines_total",
        type="counter",
        help="Lines.",
        labels=("stream", "reason"),
        samples={("out", "full"): 3, ("err", "full"): 0.5},
    )
    assert render_text([metric]) == (
        b"# HELP lines_total Lines.\n"
        b"# TYPE lines_total counter\n"
        b'lines_total{stream="out",reason="full"} 3.0\n'
        b'lines_total{stream="err",reason="full"} 0.5\n'
    )


def test_metric_without_samples_keeps_help_and_type() -> None:
    metric = Metric(name="skew", type="gauge", help="Skew.", samples={})
    assert render_text([metric]) == b"# HELP skew Skew.\n# TYPE skew gauge\n"


def test_histogram_is_cumulative_and_ends_with_count_and_sum() -> None:
    metric = Histogram(name="seconds", help="Seconds.", bounds=(0.5, 2.0), counts=(1, 0, 4), sum=9.25)
    assert render_text([metric]) == (
        b"# HELP seconds Seconds.\n"
        b"# TYPE seconds histogram\n"
        b'seconds_bucket{le="0.5"} 1.0\n'
        b'seconds_bucket{le="2.0"} 1.0\n'
        b'seconds_bucket{le="+Inf"} 5.0\n'
        b"seconds_count 5.0\n"
        b"seconds_sum 9.25\n"
    )


def test_no_metrics_give_an_empty_page() -> None:
    assert render_text([]) == b""


@pytest.mark.parametrize(
    ("value", "text"), [(float("inf"), b"+Inf"), (float("-inf"), b"-Inf"), (float("nan"), b"NaN"), (True, b"1.0")]
)
def test_value_is_spelled_as_the_format_prescribes(value: float, text: bytes) -> None:
    metric = Metric(name="x", type="gauge", help="X.", samples={(): value})
    assert render_text([metric]).splitlines()[-1] == b"x " + text


def test_backslash_quote_and_line_feed_are_escaped() -> None:
    metric = Metric(name="x", type="gauge", help='a\\b\nc"d', labels=("l",), samples={('a\\b\nc"d',): 1})
    lines = render_text([metric]).splitlines()
    assert lines[0] == rb'# HELP x a\\b\nc"d'
    assert lines[2] == rb'x{l="a\\b\nc\"d"} 1.0'


@pytest.mark.parametrize("values", [(), ("a", "b")])
def test_sample_without_a_value_for_each_label_is_refused(values: tuple[str, ...]) -> None:
    metric = Metric(name="x", type="gauge", help="X.", labels=("l",), samples={values: 1})
    with pytest.raises(ValueError, match=r"zip\(\)"):
        render_text([metric])


def test_histogram_without_a_count_for_each_bucket_is_refused() -> None:
    metric = Histogram(name="x", help="X.", bounds=(1.0, 2.0), counts=(1, 2), sum=3)
    with pytest.raises(ValueError, match=r"zip\(\)"):
        render_text([metric])
