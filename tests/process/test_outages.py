"""Outages of STS: readers keep their credentials, readiness follows their expiry, and the broker recovers."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from sandbox.aws import faults
from tests.support.program import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox import StsServer
    from tests.process.pod import Pod

pytestmark = pytest.mark.process


@pytest.mark.parametrize(
    "fault", [faults.INTERNAL_FAILURE, faults.EMPTY_502, faults.Reset(), faults.THROTTLING], ids=repr
)
def test_failed_refresh_does_not_change_files_and_readiness(pod: Pod, fault: faults.Fault) -> None:
    program = pod.start_and_publish()
    before = pod.contents()
    pod.sts.always(fault)
    for count in (1, 2):
        program.refresh()
        program.wait_for("exchange_failed", count=count)
    assert pod.contents() == before
    assert program.get("/readyz").status == 200
    assert program.status()["fault"]["count"] == 2
    pod.sts.always(None)
    program.refresh()
    program.wait_for("refreshed", count=2)
    assert pod.contents()["default.json"] != before["default.json"]
    assert "fault" not in program.status()


def test_broker_recovers_from_a_short_outage_before_expiry(
    brief_sts: Callable[[float], StsServer], new_pod: Callable[[StsServer], Pod]
) -> None:
    pod = new_pod(brief_sts(10))
    pod.sts.script(None, faults.INTERNAL_FAILURE, faults.Reset())
    program = pod.start_and_publish()
    before = pod.contents()
    program.wait_for("exchange_failed")
    assert pod.contents() == before
    answer = program.get("/readyz")
    if datetime.now(UTC) < datetime.fromisoformat(json.loads(before["default.json"])["Expiration"]):
        assert answer.status == 200  # unless the machine stalled for seconds
    program.wait_for("exchange_failed", count=2)
    program.wait_for("refreshed", count=2)
    assert program.get("/readyz").status == 200
    assert pod.contents()["default.json"] != before["default.json"]


def test_outage_beyond_expiry_makes_the_broker_unready_and_keeps_the_files(
    brief_sts: Callable[[float], StsServer], new_pod: Callable[[StsServer], Pod]
) -> None:
    pod = new_pod(brief_sts(3))
    pod.sts.script(None)
    pod.sts.always(faults.SERVICE_UNAVAILABLE)
    program = pod.start_and_publish()
    before = pod.contents()
    eventually(lambda: program.get("/readyz").status == 503, what="unready")
    unready = program.get("/readyz").body
    assert unready.startswith("default: exchange_unavailable: Cannot assume role ")
    assert "STS returned ServiceUnavailable" in unready
    assert pod.contents() == before
    assert program.get("/livez").status == 200
    pod.sts.always(None)
    eventually(lambda: program.get("/readyz").status == 200, what="ready again")
    assert pod.contents()["default.json"] != before["default.json"]


def test_hanging_exchange_ends_at_its_timeout_and_a_refresh_requested_meanwhile_follows(pod: Pod) -> None:
    program = pod.start_and_publish()
    before = pod.contents()
    pod.sts.script(faults.Hang())
    program.refresh()
    pod.sts.wait_for_calls(2)
    program.refresh()
    assert pod.contents() == before
    assert program.get("/readyz").status == 200
    failed = program.wait_for("exchange_failed", within=25)
    assert failed["reason"] == "exchange_unavailable"
    assert str(failed["message"]).startswith(f"No response from {pod.sts.url}: no complete answer within 20 s.")
    program.wait_for("refreshed", count=2)
    assert json.loads(pod.contents()["default.json"]) != json.loads(before["default.json"])
    assert [call.outcome for call in pod.sts.calls] == ["Success", "Hang", "Success"]
