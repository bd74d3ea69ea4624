"""From "refresh due" to "files renamed", less what STS took.

Measured on `sts-broker run` itself with a tap on its events (see `tapped_broker`): sessions of 4 s fall due every
second or two; due is the instant that the clockwork reckoned, published the loop's own instant after the last rename.
What STS took is counted by STS, from the call's first byte read to its last byte written, so that connecting (anew each
time, as an hour after the last call), botocore and the loop's waking are all the broker's.
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
    """Return the row."""
    program = [str(ROOT / "benchmarks" / "tapped_broker.py")]
    with Workplace() as workplace:
        endpoint = workplace.start_sts(
            "--latency", str(_LATENCY_SECONDS), "--lifetime", str(_SESSION_SECONDS), "--hang-up"
        )
        broker = workplace.start_broker(endpoint, program=program)
        told = broker.process.stdout
        assert told is not None
        published = [json.loads(told.readline()) for _ in range(repeats + 1)]
        with urllib.request.urlopen(endpoint + "/spans") as answer:  # noqa: S310 - our own, on loopback
            spans = json.load(answer)
    samples = [
        (this["published_at"] - before["next_due_at"] - span) * _MILLISECONDS_A_SECOND
        for (before, this), span in zip(pairwise(published), spans[1 : len(published)], strict=True)
    ]
    figure = "from refresh due to files renamed, less STS's time"
    return [Row(figure=figure, unit="ms", samples=samples, maximum=10)]
