"""Each misconfiguration is reported as the only cause, with what to change."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from broker.doctor.checks import CHECKS
from tests.doctor.cases import ALL

if TYPE_CHECKING:
    from tests.doctor.cases import Case
    from tests.doctor.faulty_pod import FaultyPod


@pytest.mark.parametrize("case", ALL, ids=lambda case: case.name)
def test_misconfiguration_is_the_one_cause(case: Case, pod: FaultyPod, monkeypatch: pytest.MonkeyPatch) -> None:
    case.change(pod)
    report = pod.diagnose(monkeypatch)
    named, others = (report.warned, report.failed) if case.is_warning else (report.failed, report.warned)
    assert (list(named), others) == ([case.check], {}), report.text
    assert case.text in named[case.check], report.text
    assert not named[case.check].endswith("-> "), "the remedy is missing"
    assert report.code == (0 if case.is_warning else 2 if case.check == "settings" else 1)


def test_cases_are_many_and_distinct() -> None:
    assert len({case.name for case in ALL}) == len(ALL) >= 30
    assert {case.check.split(" ")[0] for case in ALL} == set(CHECKS) - {"memory", "broker"}
