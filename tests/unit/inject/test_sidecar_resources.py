"""Quantities as Kubernetes reads them, and the sidecar's resources."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from broker.inject.sidecar_resources import build_resources, find_resource_faults, parse_quantity

NAMES = {key: f"<{key}>" for key in ("cpu_request", "cpu_limit", "memory_request", "memory_limit")}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *(("100m", Fraction(1, 10)), ("0.1", Fraction(1, 10)), (1, Fraction(1)), (".5", Fraction(1, 2))),
        *(("1Ki", Fraction(1024)), ("1k", Fraction(1000)), ("1.5Gi", Fraction(3 * 2**29)), ("5.", Fraction(5))),
        *(
            ("1e3", Fraction(1000)),
            ("1E-3", Fraction(1, 1000)),
            ("2E", Fraction(2 * 10**18)),
            ("1u", Fraction(1, 10**6)),
        ),
        *((("tag:yaml.org,2002:float", "0.5"), Fraction(1, 2)), ("+1", Fraction(1)), ("-1", Fraction(-1))),
        *(
            ("", None),
            ("m", None),
            ("1 ", None),
            ("1KB", None),
            ("1mi", None),
            ("1\n", None),
            (None, None),
            ("1e", None),
        ),
    ],
)
def test_quantity_is_read_as_kubernetes_reads_it(value: Any, expected: Fraction | None) -> None:  # noqa: ANN401
    assert parse_quantity(value) == expected


def test_defaults_have_no_cpu_limit() -> None:
    assert build_resources({}) == {"requests": {"cpu": "10m", "memory": "24Mi"}, "limits": {"memory": "64Mi"}}


def test_requested_quantities_replace_defaults() -> None:
    requested = {"cpu_request": "1", "cpu_limit": "2", "memory_request": "3Mi", "memory_limit": "4Mi"}
    assert list(find_resource_faults(requested, NAMES)) == []
    assert build_resources(requested) == {
        "requests": {"cpu": "1", "memory": "3Mi"},
        "limits": {"cpu": "2", "memory": "4Mi"},
    }


def test_faults_of_both_kinds_are_reported_at_once() -> None:
    first, second, third = find_resource_faults({"cpu_request": "x", "cpu_limit": "y", "memory_limit": "1Mi"}, NAMES)
    assert first == "<cpu_request> is 'x'; expected a quantity of CPU, such as 100m or 0.5, above zero"
    assert second.startswith("<cpu_limit> is 'y'")
    assert third == (
        "the sidecar's memory request 24Mi exceeds its limit 1Mi. Lower <memory_request>, or raise <memory_limit>"
    )
