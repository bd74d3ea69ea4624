"""CPU and wall time from exec to the first published credentials, compared with those of the bare script to its file.

Both sides run in the same environment, so that botocore reads the same data: once in the image's, where the data is
reduced to STS, and once in pip's, with all data. Both are killed as soon as the file exists, which is checked every
millisecond. CPU time is the kernel's, of the whole process tree. Neither figure includes the shutdown of the
interpreter. The broker's file is `credentials`, the last one of its first publication.

There are three times as many samples as for other figures, because the CPU time of the same work varies by a factor of
up to 1.6 where a core is shared.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.process_tree import end_and_count_cpu_seconds
from benchmarks.rows import Row
from benchmarks.runs import PIP_PYTHON, RUNTIME_PYTHON, Workplace, wait_for

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

NAME = "startup"
_WHAT = "from exec to first published credentials"
_PAIRS_A_REPEAT = 3
_MAXIMUM_CPU_RATIO = 1.6
_MAXIMUM_WALL_RATIO = 1.2


@dataclass(frozen=True, slots=True, kw_only=True)
class _Start:
    """The seconds that a program needed until its file existed."""

    cpu: float
    wall: float


def measure(repeats: int) -> Sequence[Row]:
    """Return rows for the image's environment, and one for the environment after pip install, which has no limit."""
    brokers: dict[Path, list[_Start]] = {RUNTIME_PYTHON: [], PIP_PYTHON: []}
    scripts: dict[Path, list[_Start]] = {RUNTIME_PYTHON: [], PIP_PYTHON: []}
    with Workplace() as workplace:
        endpoint = workplace.start_sts()
        for pair in range(repeats * _PAIRS_A_REPEAT + 1):  # the first pair warms bytecode and page cache
            for python in (RUNTIME_PYTHON, PIP_PYTHON):
                script = _measure_script(workplace, endpoint, python)
                broker = _measure_broker(workplace, endpoint, python)
                if pair > 0:
                    scripts[python].append(script)
                    brokers[python].append(broker)
    return [
        *_make_image_rows(brokers[RUNTIME_PYTHON], scripts[RUNTIME_PYTHON]),
        _make_pip_row(brokers[PIP_PYTHON], scripts[PIP_PYTHON]),
    ]


def _make_image_rows(brokers: Sequence[_Start], scripts: Sequence[_Start]) -> Sequence[Row]:
    return [
        Row(
            figure=f"CPU {_WHAT}",
            unit="s",
            samples=[each.cpu for each in brokers],
            against=[each.cpu for each in scripts],
            maximum_ratio=_MAXIMUM_CPU_RATIO,
            places=3,
        ),
        Row(
            figure=f"wall time {_WHAT}",
            unit="s",
            samples=[each.wall for each in brokers],
            against=[each.wall for each in scripts],
            maximum_ratio=_MAXIMUM_WALL_RATIO,
            places=3,
        ),
    ]


def _make_pip_row(brokers: Sequence[_Start], scripts: Sequence[_Start]) -> Row:
    return Row(
        figure=f"CPU {_WHAT}, all of botocore's data on both sides",
        unit="s",
        samples=[each.cpu for each in brokers],
        against=[each.cpu for each in scripts],
        places=3,
    )


def _measure_script(workplace: Workplace, endpoint: str, python: Path) -> _Start:
    began = time.perf_counter()
    script, target = workplace.start_bare_script(endpoint, python=python)
    wait_for(target, script)
    wall = time.perf_counter() - began
    return _Start(cpu=end_and_count_cpu_seconds(script.process), wall=wall)


def _measure_broker(workplace: Workplace, endpoint: str, python: Path) -> _Start:
    began = time.perf_counter()
    broker = workplace.start_broker(endpoint, python=python)
    wait_for(broker.directory / "credentials", broker)
    wall = time.perf_counter() - began
    return _Start(cpu=end_and_count_cpu_seconds(broker.process), wall=wall)
