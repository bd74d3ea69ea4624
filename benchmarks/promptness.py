"""The time from "refresh due" to "files renamed", without the time of STS.

`sts-broker run` itself is measured, with a hook on its events (see `tapped_broker`). Sessions of 4 s are due every one
or two seconds. "Due" is the time that the schedule computed; "published" is the loop's own time after the last rename.
STS measures its time from the first byte read to the last byte written. So the connection, which is new for each call,
botocore and the wake-up of the loop are part of the figure.
"""

from __future__ import annotations

import json
import urllib.request
from itertools import pairwise
from typing import TYPE_CHECKING

from benchmarks.rows import Row
from benchmarks.runs import ROOT, Workplace

if TYPE_CHECKING:
    from collections.abc import Sequence

NAME = "promptness"
_LATENCY_SECONDS = 0.02
_SESSION_SECONDS = 4
_MILLISECONDS_A_SECOND = 1000


def measure(repeats: int) -> Sequence[Row]:
    """Return the row of this subject."""
    program = [str(ROOT / "benchmarks" / "tapped_broker.py")]
    with Workplace() as workplace:
        endpoint = workplace.start_sts(
            "--latency", str(_LATENCY_SECONDS), "--lifetime", str(_SESSION_SECONDS), "--hang-up"
        )
        broker = workplace.start_broker(endpoint, program=program)
        output = broker.process.stdout
        assert output is not None
        published = [json.loads(output.readline()) for _ in range(repeats + 1)]
        with urllib.request.urlopen(endpoint + "/spans") as response:  # noqa: S310 - a server of this benchmark
            spans = json.load(response)
    samples = [
        (this["published_at"] - before["next_due_at"] - span) * _MILLISECONDS_A_SECOND
        for (before, this), span in zip(pairwise(published), spans[1 : len(published)], strict=True)
    ]
    figure = "from refresh due to files renamed, without STS's time"
    return [Row(figure=figure, unit="ms", samples=samples, maximum=10)]
