"""CPU from exec to the first published credentials, held against the bare script's to its one file.

Both are killed as soon as the file is seen (looked for every millisecond), and the kernel's account of them, reaped
children included, is what counts: the broker checks its settings in a child. The bare script is so spared the clearing
up at an interpreter's end, which the broker had not come to either. The broker's file is the last one of its first
publish, `credentials`.

Taken three times as often as the other figures: where a core is shared with a neighbour, the same work costs up to 1.6
times the CPU from one second to the next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.readings import end_and_count_cpu_seconds
from benchmarks.rows import Row
from benchmarks.runs import PIP_PYTHON, RUNTIME_PYTHON, Workplace, wait_for

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

NAME = "startup"
_PAIRS_A_REPEAT = 3


def measure(repeats: int) -> Sequence[Row]:
    """Return the row of the image's environment, and one of what pip installs, which has no bound."""
    in_image: list[float] = []
    in_pip: list[float] = []
    scripts: list[float] = []
    with Workplace() as workplace:
        endpoint = workplace.start_sts()
        for pair in range(repeats * _PAIRS_A_REPEAT + 1):  # the first warms bytecode and page cache
            script, target = workplace.start_bare_script(endpoint)
            wait_for(target, script)
            script_seconds = end_and_count_cpu_seconds(script.process)
            image_seconds = _broker_seconds(workplace, endpoint, RUNTIME_PYTHON)
            pip_seconds = _broker_seconds(workplace, endpoint, PIP_PYTHON)
            if pair > 0:
                scripts.append(script_seconds)
                in_image.append(image_seconds)
                in_pip.append(pip_seconds)
    figure = "CPU from exec to first published credentials"
    return [
        Row(figure=figure, unit="s", samples=in_image, against=scripts, maximum_ratio=1.6, places=3),
        Row(figure=f"{figure}, botocore's data whole", unit="s", samples=in_pip, against=scripts, places=3),
    ]


def _broker_seconds(workplace: Workplace, endpoint: str, python: Path) -> float:
    broker = workplace.start_broker(endpoint, python=python)
    wait_for(broker.directory / "credentials", broker)
    return end_and_count_cpu_seconds(broker.process)
