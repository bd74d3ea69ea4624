"""A pod that is well is told to be, in every line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.doctor_lines import Outcome

if TYPE_CHECKING:
    import pytest

    from tests.doctor.ward import Ward


def test_well_configured_pod_is_ok_in_every_line(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    report = ward.report(monkeypatch)
    assert {line.label for line in report.lines if line.outcome is not Outcome.OK} == {"broker"}, report.text
    assert report.code == 0
    assert report.text.endswith("All is well.\n")
