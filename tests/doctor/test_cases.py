"""Each misconfiguration is reported as the only cause, and the report ends with what to change."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from broker.doctor.checks import CHECKS
from broker.doctor.report import is_passed
from tests.doctor.cases import ALL

if TYPE_CHECKING:
    from tests.doctor.cases import Case
    from tests.doctor.faulty_pod import FaultyPod

CAUSES = {
    "no-region": "The settings are not valid (configuration)",
    "no-token": "The broker has no usable token (token_unavailable)",
    "garbled-token": "The broker has no usable token (token_malformed)",
    "sub-path": "The token file is never replaced (token_expired)",
    "other-audience": "The token has the wrong audience (token_audience_mismatch)",
    "behind": "The node's clock is wrong (clock)",
    "expired": "The token is not valid now (token_expired)",
    "not-yet": "The token is not valid now (token_rejected)",
    "in-cluster-issuer": "AWS does not accept the token's issuer URL (token_rejected)",
    "keys-forbidden": "STS cannot use the issuer's documents (token_rejected)",
    "other-key": "STS rejected the token (InvalidIdentityToken)",
    "policy-of-a-namespace": "The role does not trust this token (role_denied)",
    "misspelled-region": "The Region does not exist (exchange_unavailable)",
    "proxy-down": "The proxy does not lead to STS (exchange_unavailable)",
    "no-dns": "The name of the STS endpoint does not resolve (exchange_unavailable)",
    "closed-port": "The pod cannot connect to STS (exchange_unavailable)",
    "interception": "TLS with STS failed (exchange_unavailable)",
    "no-such-role": "STS denied the role (AccessDenied)",
    "no-provider": "STS rejected the token (InvalidIdentityToken)",
    "throttled": "STS throttled the request (Throttling)",
    "region-off": "STS rejected the request (RegionDisabledException)",
    "issuer-gone": "STS rejected the token (InvalidIdentityToken)",
    "echo": "The answer is not a valid STS response (response_invalid)",
    "external-id": "partner: STS denied the role (AccessDenied)",
    "identity": "STS does not confirm the new credentials (InvalidClientTokenId)",
    "no-volume": "The broker cannot publish files (publish_failed)",
}
"""The plain cause and its reason, for one case of each kind."""
TESTED_ELSEWHERE = {"memory", "broker", "web-identity-token", "web-identity-file"}
"""In test_container, test_further_checks and test_web_identity."""


@pytest.mark.parametrize("case", ALL, ids=lambda case: case.name)
def test_misconfiguration_is_the_one_cause(case: Case, pod: FaultyPod, monkeypatch: pytest.MonkeyPatch) -> None:
    case.change(pod)
    report = pod.diagnose(monkeypatch)
    named, others = (report.warned, report.failed) if case.is_warning else (report.failed, report.warned)
    assert (list(named), others) == ([case.check], {}), report.text
    assert case.matches(named[case.check]), report.text
    assert not named[case.check].endswith("-> "), "the remedy is missing"
    assert report.code == (0 if case.is_warning else 2 if case.check == "settings" else 1)
    *_, last = report.text.rstrip("\n").split("\n\n")
    if case.is_warning:
        assert is_passed(report.results)
        assert last.startswith("No problems found.")
        assert last.endswith(f"1 warning: {case.check}.")
    else:
        (cause,) = json.loads(report.document)["causes"]
        found, _, fix = named[case.check].partition(" -> ")
        assert last.splitlines()[0].startswith(f"Cause: {cause['cause']} (")
        assert last.splitlines()[1:] == [f"Found: {found}", f"Fix: {fix}"]
        assert (cause["found"], cause["fix"]) == (found, fix)


@pytest.mark.parametrize("name", CAUSES)
def test_last_lines_name_the_cause_and_its_reason(name: str, pod: FaultyPod, monkeypatch: pytest.MonkeyPatch) -> None:
    (case,) = (each for each in ALL if each.name == name)
    case.change(pod)
    cause, found, fix = pod.diagnose(monkeypatch).text.splitlines()[-3:]
    assert cause == f"Cause: {CAUSES[name]}"
    assert found.startswith("Found: ")
    assert fix.startswith("Fix: ")
    assert case.matches(f"{found} {fix}".replace("Fix: ", "-> "))


def test_cases_are_many_and_distinct() -> None:
    assert len({case.name for case in ALL}) == len(ALL) >= 100
    assert {case.check.split(" ")[0] for case in ALL} == set(CHECKS) - TESTED_ELSEWHERE
