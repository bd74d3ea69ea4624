"""A publish directory that does not answer: the endpoint and the refreshes go on, and the broker can be stopped."""

from __future__ import annotations

import signal
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.process.test_endpoint import get
from tests.support.program import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.process.pod import Pod

pytestmark = pytest.mark.process

HANGING = """
import os, sys, time
from broker.publish import file_sink
replace_file = file_sink.replace_file
def replace_or_hang(*arguments, **options):
    while os.path.exists({marker!r}):
        time.sleep(0.01)
    replace_file(*arguments, **options)
file_sink.replace_file = replace_or_hang
from broker.cli.main import main
sys.exit(main(["run"]))
"""
"""The program, with a volume that hangs as long as a marker file exists. Other hangs need a kernel's help."""


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    return tmp_path / "hangs"


def program_of(marker: Path) -> tuple[str, ...]:
    return (sys.executable, "-c", HANGING.format(marker=str(marker)))


def test_hung_volume_stops_neither_the_endpoint_nor_other_refreshes(pod: Pod, marker: Path) -> None:
    program = pod.start_program(program_of(marker), BROKER_MINIMUM_INTERVAL_SECONDS="1")
    program.wait_for("refreshed")
    first = get(program, pod).json
    marker.touch()
    served = [first]
    for _ in range(2):
        program.refresh()
        eventually(lambda: get(program, pod).json != served[-1], what="a refresh")
        served.append(get(program, pod).json)
    failed = program.wait_for("publish_failed", within=20)
    assert "has not answered for 10 s" in failed["message"]
    assert program.get("/livez").status == 200
    marker.unlink()
    eventually(lambda: f'"{served[-1]["AccessKeyId"]}"' in pod.contents()["default.json"].decode(), what="a publish")
    eventually(lambda: "fault" not in program.status(), what="no fault")


def test_broker_with_a_hung_volume_stops_in_two_seconds(pod: Pod, marker: Path) -> None:
    program = pod.start_program(program_of(marker))
    program.wait_for("refreshed")
    marker.touch()
    program.refresh()
    eventually(lambda: program.status()["generation"] == 2, what="a refresh")
    began = time.monotonic()
    program.signal(signal.SIGTERM)
    assert program.wait() == 0
    assert time.monotonic() - began < 2


def test_broker_that_hangs_at_its_start_stops_in_two_seconds(pod: Pod, marker: Path) -> None:
    """The first files are written before the listeners start."""
    marker.touch()
    program = pod.start_program(program_of(marker))
    program.wait_for("starting")
    began = time.monotonic()
    program.signal(signal.SIGTERM)
    assert program.wait() == 0
    assert time.monotonic() - began < 2
