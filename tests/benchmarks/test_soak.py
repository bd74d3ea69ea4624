"""Which resources count as flat, and what a soak prints and draws."""

from __future__ import annotations

import os
import random
import sys
import xml.etree.ElementTree as ET
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from benchmarks import soak
from benchmarks.soak import Soak, main, make_series, script_faults
from benchmarks.soak_plot import draw
from benchmarks.soak_verdict import Series, table

if TYPE_CHECKING:
    from collections.abc import Callable

MINUTES = 15
SVG = "{http://www.w3.org/2000/svg}"


def series(value_at: Callable[[float], float], *, allowance: float = 1.0, seconds: int = MINUTES * 60) -> Series:
    """Return a series with a sample every 5 s."""
    made = Series(name="memory", unit="MiB", allowance=allowance)
    for at in range(0, seconds, 5):
        made.add(at, value_at(at))
    return made


def test_constant_resource_is_flat() -> None:
    made = series(lambda _: 20.0)
    assert made.is_flat
    assert made.slope_an_hour == 0


def test_growth_during_the_warm_up_does_not_count() -> None:
    assert series(lambda at: min(at, 29.0)).is_flat


def test_workers_that_come_and_go_do_not_count_as_growth() -> None:
    source = random.Random(1)
    assert series(lambda _: source.choice((20.0, 50.0))).is_flat


@pytest.mark.parametrize(("growth", "flat"), [(0.9, True), (1.2, False)])
def test_steady_growth_counts_over_the_measured_time(growth: float, flat: bool) -> None:
    measured = MINUTES * 60 - 35
    made = series(lambda at: 20 + growth * at / measured)
    assert made.is_flat is flat
    assert made.slope_an_hour == pytest.approx(growth / measured * 3600)


def test_one_descriptor_leaked_every_minute_is_found_among_workers() -> None:
    source = random.Random(1)
    assert not series(lambda at: source.choice((10, 14)) + at // 60, allowance=2).is_flat


def test_step_in_the_last_minutes_is_found() -> None:
    made = series(lambda at: 22.0 if at > MINUTES * 60 - 120 else 20.0)
    assert made.slope_an_hour == 0
    assert not made.is_flat


def test_shrinking_resource_is_flat() -> None:
    assert series(lambda at: 50 - at / 60).is_flat


def test_hours_of_samples_are_judged_in_seconds() -> None:
    assert series(lambda at: 20 + at / 3600 / 48, seconds=48 * 3600, allowance=2).is_flat


def test_table_has_first_median_last_minute_peak_slope_and_verdict() -> None:
    made = series(lambda at: 20 + at / 60 if at else 30.0)
    assert (
        table([made]).splitlines()[-1] == "| memory | 30.0 MiB | 27.5 MiB | 34.4 MiB | 34.9 MiB | 60.0 MiB | **no** |"
    )


def test_plot_has_a_line_within_its_panel_for_each_resource() -> None:
    plot = ET.fromstring(draw([series(lambda at: at), series(lambda _: 0.0)]))
    lines = plot.findall(f"{SVG}polyline")
    assert next(each.text for each in plot.findall(f"{SVG}text")) == "memory: at most 895.0 MiB, 14.9 min"
    for number, line in enumerate(lines):
        points = [tuple(map(float, each.split(","))) for each in (line.get("points") or "").split()]
        assert len(points) == MINUTES * 12
        assert all(left < right for (left, _), (right, _) in pairwise(points))
        assert all(22 + 112 * number <= y <= 112 * (number + 1) for _, y in points)


def test_one_call_in_twenty_fails_and_each_kind_equally_often() -> None:
    scripted = script_faults(8000)
    found = [fault for fault in scripted if fault is not None]
    assert len(scripted) == 8000
    assert len(found) == 400
    assert {found.count(fault) for fault in found} == {50}
    assert scripted == script_faults(8000)


def test_allowances_are_those_of_the_page() -> None:
    page = (Path(__file__).parents[2] / "docs/performance.md").read_text()
    rows = [f"| {each.name} | {each.allowance:g}{' ' * bool(each.unit)}{each.unit} |" for each in make_series()]
    assert "\n".join(["| resource | allowance |", "| --- | --- |", *rows, ""]) in page


def test_soak_passes_if_all_resources_are_flat_and_no_credentials_expired() -> None:
    def made(growing: int | None = None) -> Soak:
        run = Soak()
        for number, each in enumerate(run.series):
            for at in range(0, MINUTES * 60, 5):
                each.add(at, 20 + at / 100 * (number == growing))
        return run

    assert made().passed
    assert "no credentials expired" in made().describe()
    assert not any(made(number).passed for number in range(len(make_series())))
    expired = made()
    expired.expired.append("team-01 at 2026-11-30T12:00:00Z")
    assert not expired.passed
    assert "EXPIRED: team-01" in expired.describe()


def test_too_short_soak_is_refused(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(soak, "RUNTIME_PYTHON", Path(sys.executable))
    assert main(["--seconds", "30"]) == 2
    assert "--seconds must be at least" in capsys.readouterr().err


def test_ordinary_user_is_refused_with_the_reason(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert main([]) == 2
    assert "SKIPPED: reading the memory and the descriptors of all processes needs root" in capsys.readouterr().err
