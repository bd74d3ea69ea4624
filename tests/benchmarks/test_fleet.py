"""The simulated fleet: its counts, its verdict, its table and its picture."""

import re
import xml.etree.ElementTree as ET
from datetime import timedelta
from pathlib import Path

import pytest

from benchmarks.fleet import Calls, Fleet, are_limits_met, main, render_table
from benchmarks.fleet_picture import draw_fleet

ROOT = Path(__file__).parents[2]
SVG = "{http://www.w3.org/2000/svg}"
FLEET = Fleet(pods=40, lifetime=timedelta(hours=1), cycles=3, bins=10)


def make_calls(*cycles: list[int], pods: int = 10) -> Calls:
    return Calls(counts=[count for cycle in cycles for count in cycle], bins=len(cycles[0]), pods=pods)


def test_same_seed_gives_the_same_calls_and_another_one_others() -> None:
    assert FLEET.simulate(spread=True) == FLEET.simulate(spread=True)
    assert FLEET.simulate(spread=True) != Fleet(pods=40, lifetime=FLEET.lifetime, cycles=3, bins=10, seed=1).simulate(
        spread=True
    )


def test_first_refreshes_without_spreading_are_within_a_tenth_of_the_lifetime() -> None:
    """A tenth of the lifetime is 6 min, and a bin 2.7 min. These sessions are refreshed after 24 to 30 min."""
    counts = FLEET.simulate(spread=False).counts
    assert sum(counts[:8]) == 0
    assert sum(counts[8:12]) == FLEET.pods


def test_peak_is_the_busiest_bin_over_the_mean_of_its_cycle() -> None:
    calls = make_calls([1, 1, 2], [6, 0, 0])
    assert calls.peaks == [1.5, 3.0]
    assert calls.calls_a_pod == 1.0


@pytest.mark.parametrize(
    ("cycles", "pods", "met"),
    [
        ([[3, 1], [3, 1], [6, 4], [6, 4]], 100, True),
        ([[4, 1], [3, 1], [6, 4], [6, 4]], 100, False),
        ([[3, 1], [3, 1], [6, 4], [7, 3]], 100, False),
        ([[3, 1], [3, 1], [6, 4], [6, 4]], 10, False),
    ],
)
def test_limits_are_those_of_each_cycle_and_of_the_calls(cycles: list[list[int]], pods: int, met: bool) -> None:
    together = make_calls([1, 1], [1, 1], [1, 1], [1, 1], pods=pods)
    assert are_limits_met(make_calls(*cycles, pods=pods), together) is met


def test_command_prints_the_table_and_writes_the_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """So few pods exceed the limits."""
    picture = tmp_path / "fleet.svg"
    assert main(["--pods", "20", "--picture", str(picture)]) == 1
    table = capsys.readouterr().out
    assert len(table.splitlines()) == 6
    assert ET.parse(picture).getroot().tag == f"{SVG}svg"


def test_picture_shows_both_rules_in_light_and_dark_mode() -> None:
    picture = draw_fleet([5] * 20, [0, 10] * 10, timedelta(minutes=27), 10)
    root = ET.fromstring(picture)
    assert {"spread", "together"} <= {path.get("class") for path in root.iter(f"{SVG}path")}
    assert "prefers-color-scheme: dark" in picture
    assert root.find(f"{SVG}title") is not None


def test_published_picture_and_table_are_those_of_a_whole_fleet() -> None:
    """The picture refers to no other file. The table has the row of each rule, and meets the limits."""
    picture = (ROOT / "docs/fleet.svg").read_text()
    assert len(picture) < 10_000
    assert "href" not in picture
    page = (ROOT / "docs/performance.md").read_text()
    header = render_table({"any": make_calls(*[[1]] * 6)}).splitlines()[0]
    rows = page.split(header)[1].split("\n\n")[0].splitlines()[2:]
    peaks = {row.split(" | ")[0]: [float(each) for each in re.findall(r"\d+\.\d\d", row)] for row in rows}
    (spread,) = (peaks[name] for name in peaks if name.endswith("random point of the cycle, 1 h"))
    (together,) = (peaks[name] for name in peaks if name.endswith("as every later one, 1 h"))
    assert all(peak <= limit for peak, limit in zip(spread, [1.5, 1.5, 1.2, 1.2, 1.2, 1.2], strict=False))
    assert spread[-1] - together[-1] <= 0.5
