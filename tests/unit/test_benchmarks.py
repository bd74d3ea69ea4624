"""The benchmarks' verdicts and their stand-in for STS: wrong ones would make the README lie."""

import io
import socket
import threading
import urllib.parse
import urllib.request
import xml.etree.ElementTree as ET

import pytest

from benchmarks.lean_sts import LeanSts
from benchmarks.rows import Row, table


def test_ratio_is_the_median_of_the_pairs() -> None:
    row = Row(figure="f", unit="s", samples=(2.0, 6.0, 30.0), against=(1.0, 2.0, 20.0), maximum_ratio=2.0)
    assert row.ratio == 2.0
    assert row.is_met is True


@pytest.mark.parametrize(
    ("maximum", "maximum_ratio", "met"), [(3.0, None, True), (2.9, None, False), (3.0, 1.4, False), (None, None, None)]
)
def test_every_bound_must_be_met(maximum: float | None, maximum_ratio: float | None, met: bool | None) -> None:
    row = Row(figure="f", unit="s", samples=(3.0,), against=(2.0,), maximum=maximum, maximum_ratio=maximum_ratio)
    assert row.is_met is met


def test_table_shows_median_spread_ratio_and_verdict() -> None:
    row = Row(figure="f", unit="s", samples=(1.0, 3.0, 2.0), against=(1.0, 1.0, 1.0), maximum_ratio=1.6)
    assert table([row]).splitlines()[-1] == "| f | 2.0 s (1.0 to 3.0) | 1.0 s | 2.00x | 1.6x | **no** |"


def test_lean_sts_answers_for_the_role_that_was_asked_for() -> None:
    listening = socket.create_server(("127.0.0.1", 0))
    sts = LeanSts(latency=0, lifetime=0, hang_up=True)
    threading.Thread(target=sts.serve, args=(listening,), daemon=True).start()
    url = f"http://127.0.0.1:{listening.getsockname()[1]}/"
    form = {"RoleArn": "arn:aws:iam::123456789012:role/path/app", "RoleSessionName": "me", "DurationSeconds": "900"}
    with urllib.request.urlopen(url, urllib.parse.urlencode(form).encode()) as answer:
        found = {element.tag.rpartition("}")[2]: element.text for _, element in ET.iterparse(io.BytesIO(answer.read()))}
    assert found["Arn"] == "arn:aws:sts::123456789012:assumed-role/app/me"
