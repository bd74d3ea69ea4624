"""The text format in which Prometheus scrapes metrics, version 0.0.4.

The specification is https://prometheus.io/docs/instrumenting/exposition_formats/. This module does not know which
metrics there are.
"""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, Literal

from broker.core.records import Struct

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_HELP_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n"})
_LABEL_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})
_SPECIAL_VALUES = {"inf": "+Inf", "-inf": "-Inf", "nan": "NaN"}


class Metric(Struct, frozen=True, kw_only=True):
    """A counter or a gauge. The name of a counter ends in `_total`.

    `labels` are the names of the labels. `samples` has each value by its label values, in the order of `labels`; the
    key of a metric without labels is `()`.
    """

    name: str
    type: Literal["counter", "gauge"]
    help: str
    labels: tuple[str, ...] = ()
    samples: Mapping[tuple[str, ...], float]


class Histogram(Struct, frozen=True, kw_only=True):
    """A histogram without labels.

    `bounds` are the upper bounds of the buckets, ascending. `counts` has the number of values in each bucket, and one
    more for values above every bound. `sum` is the sum of all values.
    """

    name: str
    help: str
    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    sum: float
    type: Literal["histogram"] = "histogram"
    labels: tuple[()] = ()


def render_text(metrics: Iterable[Metric | Histogram]) -> bytes:
    """Return the metrics as text. Raises ValueError if a sample does not have a value for each label."""
    return "".join(line for metric in metrics for line in _render_metric(metric)).encode()


def _render_metric(metric: Metric | Histogram) -> Iterator[str]:
    yield f"# HELP {metric.name} {metric.help.translate(_HELP_ESCAPES)}\n"
    yield f"# TYPE {metric.name} {metric.type}\n"
    if isinstance(metric, Metric):
        yield from _render_samples(metric.name, metric.labels, metric.samples)
        return
    bounds = (*metric.bounds, float("inf"))
    pairs = zip(bounds, accumulate(metric.counts), strict=True)
    buckets: dict[tuple[str, ...], float] = {(_format_value(bound),): count for bound, count in pairs}
    yield from _render_samples(f"{metric.name}_bucket", ("le",), buckets)
    yield from _render_samples(f"{metric.name}_count", (), {(): sum(metric.counts)})
    yield from _render_samples(f"{metric.name}_sum", (), {(): metric.sum})


def _render_samples(name: str, labels: tuple[str, ...], samples: Mapping[tuple[str, ...], float]) -> Iterator[str]:
    for values, value in samples.items():
        pairs = ",".join(
            f'{label}="{text.translate(_LABEL_ESCAPES)}"' for label, text in zip(labels, values, strict=True)
        )
        yield f"{name}{{{pairs}}} {_format_value(value)}\n" if pairs else f"{name} {_format_value(value)}\n"


def _format_value(value: float) -> str:
    """Return the shortest text that parses back to the same 64-bit float."""
    text = repr(float(value))
    return _SPECIAL_VALUES.get(text, text)
