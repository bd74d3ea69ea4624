"""CPU time from exec to the first published credentials, compared with that of the bare script to its file.

Both are killed as soon as the file exists, which is checked every millisecond. The figure is the kernel's CPU time
including reaped children, because the broker loads its settings in a child process. Neither figure includes the
shutdown of the interpreter. The broker's file is `credentials`, the last one of its first publication.

There are three times as many samples as for other figures, because the CPU time of the same work varies by a factor of
up to 1.6 where a core is shared.
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
    """Return a row for the image's environment, and one for the environment after pip install, which has no limit."""
    in_image: list[float] = []
    in_pip: list[float] = []
    scripts: list[float] = []
    with Workplace() as workplace:
        endpoint = workplace.start_sts()
        for pair in range(repeats * _PAIRS_A_REPEAT + 1):  # the first pair warms bytecode and page cache
            script, target = workplace.start_bare_script(endpoint)
            wait_for(target, script)
            script_seconds = end_and_count_cpu_seconds(script.process)
            image_seconds = _measure_broker_seconds(workplace, endpoint, RUNTIME_PYTHON)
            pip_seconds = _measure_broker_seconds(workplace, endpoint, PIP_PYTHON)
            if pair > 0:
                scripts.append(script_seconds)
                in_image.append(image_seconds)
                in_pip.append(pip_seconds)
    figure = "CPU from exec to first published credentials"
    return [
        Row(figure=figure, unit="s", samples=in_image, against=scripts, maximum_ratio=1.6, places=3),
        Row(figure=f"{figure}, all of botocore's data", unit="s", samples=in_pip, against=scripts, places=3),
    ]


def _measure_broker_seconds(workplace: Workplace, endpoint: str, python: Path) -> float:
    broker = workplace.start_broker(endpoint, python=python)
    wait_for(broker.directory / "credentials", broker)
    return end_and_count_cpu_seconds(broker.process)
