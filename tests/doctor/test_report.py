"""How the report is rendered: as text, whose last lines are the causes in full, and as JSON."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.doctor.checks import CHECKS, CheckResult, Outcome, Report
from broker.doctor.report import as_json, as_text, is_passed, verdict

OK = CheckResult(check="settings", outcome=Outcome.OK, found="1 profile.")
WARNING = CheckResult(check="hidden", outcome=Outcome.WARNING, found="AWS_PROFILE is set.", remedy="Remove it.")
DENIED = CheckResult(
    check="exchange",
    outcome=Outcome.FAILED,
    found="STS answered AccessDenied.",
    remedy="Change the policy.",
    of="partner",
    reason="role_denied",
    error_code="AccessDenied",
)
FULL = CheckResult(check="publish-directory", outcome=Outcome.FAILED, found="No space left.", remedy="Raise sizeLimit.")
UNKNOWN = CheckResult(check="exchange", outcome=Outcome.NOT_CHECKED, found="", because="memory")

texts = st.text(max_size=30)
some_results = st.lists(
    st.builds(
        CheckResult,
        check=st.sampled_from(CHECKS),
        outcome=st.sampled_from(list(Outcome)),
        found=texts,
        remedy=texts,
        because=texts,
        of=st.sampled_from(["", "partner"]),
        reason=st.sampled_from(["", "role_denied"]),
        error_code=texts,
    ),
    min_size=1,
)


def last_paragraphs(*results: CheckResult) -> list[str]:
    """Return what the text says after the lines of the checks."""
    return as_text(list(results)).rstrip("\n").split("\n\n")[1:]


@given(some_results)
def test_any_text_in_a_result_is_safe_for_a_terminal_and_for_json(results: list[CheckResult]) -> None:
    text, document = as_text(results), json.loads(as_json(results))
    assert all(each.isprintable() for each in text.splitlines())
    assert [each["verdict"] for each in document["checks"]] == [result.outcome.value for result in results]
    assert document["verdict"] == verdict(results)


@given(some_results)
def test_every_cause_is_in_text_and_json_with_reason_and_fix(results: list[CheckResult]) -> None:
    causes = json.loads(as_json(results))["causes"]
    text = as_text(results)
    assert len(causes) == sum(result.outcome is Outcome.FAILED for result in results)
    for cause in causes:
        assert f"Cause: {cause['cause']} ({cause['error_code'] or cause['reason']})\n" in text
        assert f"Found: {cause['found']}\nFix: {cause['fix']}\n" in text
        assert cause["reason"]


@given(st.text(alphabet="abcXYZ019_-", min_size=20), st.sampled_from(["found", "remedy", "error_code"]))
def test_text_that_looks_like_a_token_is_removed(tail: str, place: str) -> None:
    texts = {"found": "", place: f"STS says eyJ{tail}.{tail}."}
    result = CheckResult(check="exchange", outcome=Outcome.FAILED, **texts)
    assert tail not in as_text([result])
    assert tail not in as_json([result])


def test_one_cause_is_the_last_paragraph_in_full() -> None:
    assert last_paragraphs(OK, DENIED) == [
        "Cause: partner: STS denied the role (AccessDenied)\nFound: STS answered AccessDenied.\nFix: Change the policy."
    ]


def test_several_causes_are_paragraphs_after_the_warnings() -> None:
    warnings, denied, full = last_paragraphs(OK, DENIED, FULL, WARNING)
    assert warnings == "1 warning: hidden."
    assert denied.startswith("Cause: partner: STS denied the role (AccessDenied)\n")
    assert full == (
        "Cause: The broker cannot publish files (publish_failed)\nFound: No space left.\nFix: Raise sizeLimit."
    )


def test_long_cause_is_not_cut() -> None:
    found, remedy = "a" * 5_000, "b" * 5_000
    (cause,) = last_paragraphs(CheckResult(check="audience", outcome=Outcome.FAILED, found=found, remedy=remedy))
    assert cause.splitlines()[1:] == [f"Found: {found}", f"Fix: {remedy}"]


@pytest.mark.parametrize(
    ("results", "line"),
    [
        ([OK], "No problems found."),
        ([OK, WARNING], "No problems found. 1 warning: hidden."),
        ([OK, WARNING, WARNING], "No problems found. 2 warnings: hidden, hidden."),
        (
            [OK, CheckResult(check="broker", outcome=Outcome.NOT_CHECKED, found="Unknown port.")],
            "No problems found. Not checked: broker.",
        ),
    ],
)
def test_report_without_a_cause_ends_with_one_line_and_passes(results: list[CheckResult], line: str) -> None:
    assert last_paragraphs(*results) == [line]
    assert is_passed(results)
    assert json.loads(as_json(results))["causes"] == []


def test_exchange_that_was_not_checked_does_not_pass() -> None:
    assert not is_passed([OK, UNKNOWN])
    assert verdict([OK, UNKNOWN]) == "incomplete"
    assert last_paragraphs(OK, UNKNOWN) == [
        "No cause found, but not everything was checked: exchange. See the lines above."
    ]


@pytest.mark.parametrize(
    ("reason", "code", "headline"),
    [
        ("exchange_throttled", "Throttling", "STS throttled the request (Throttling)"),
        ("exchange_unavailable", "", "STS is not available (exchange_unavailable)"),
        ("exchange_unavailable", "IDPCommunicationError", "STS cannot reach the issuer (IDPCommunicationError)"),
        ("", "", "STS gave no credentials (exchange)"),
    ],
)
def test_headline_names_the_failure_of_an_exchange(reason: str, code: str, headline: str) -> None:
    failed = CheckResult(
        check="exchange", outcome=Outcome.FAILED, found="", remedy="Wait.", reason=reason, error_code=code
    )
    (cause,) = last_paragraphs(failed)
    assert cause.splitlines()[0] == f"Cause: {headline}"


def test_results_are_in_the_order_of_the_checks() -> None:
    report = Report()
    for check in reversed(CHECKS):
        report.ok(check, "")
    assert [result.check for result in report.results] == list(CHECKS)
