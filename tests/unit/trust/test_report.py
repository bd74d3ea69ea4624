"""Reports of findings: each format has file, line, rule, reason and fix."""

from __future__ import annotations

import json
from typing import Any

import pytest
from jsonschema import Draft7Validator

from broker import __version__
from broker.trust.linter.report import LintReport, LocatedFinding, as_json, as_sarif, as_text
from broker.trust.linter.rule import LintFinding
from broker.trust.linter.rules import RULES
from broker.trust.sources import Source
from tests.support.sarif import SARIF

HERE = Source(file="policies/trust.json", text="")
PLAN = Source(file="/tmp/plan one.json", text="", address='module.a.aws_iam_role.b["c"]', line=12)


def make_finding(rule: str = "no-condition", source: Source = HERE, **changes: Any) -> LocatedFinding:  # noqa: ANN401 - fields
    given = {"statement": "Trust", "line": 4, "detail": "the statement has no condition", **changes}
    return LocatedFinding(source=source, finding=LintFinding(rule=RULES[rule], **given))


def make_report(*findings: LocatedFinding, policies: int) -> LintReport:
    return LintReport(findings=list(findings), policies=policies)


def test_text_has_place_rule_reason_and_fix() -> None:
    first, why, fix, last = as_text(make_report(make_finding(), policies=1)).splitlines()
    assert first.startswith("policies/trust.json:4: error: Trust: An Allow for web identities without a condition: ")
    assert first.endswith("the statement has no condition [no-condition]")
    assert (why, fix) == (f"    why: {RULES['no-condition'].why}", f"    fix: {RULES['no-condition'].fix}")
    assert last == "1 finding in 1 trust policy"


def test_finding_in_a_plan_names_the_resource_and_the_line_of_the_plan() -> None:
    assert as_text(make_report(make_finding(source=PLAN), policies=2)).startswith(
        '/tmp/plan one.json:12: error: module.a.aws_iam_role.b["c"] Trust: '
    )
    assert as_text(make_report(make_finding(source=PLAN), policies=2)).endswith("\n1 finding in 2 trust policies\n")


def test_report_has_what_was_not_judged_in_every_format() -> None:
    report = LintReport(policies=2, faults=["a.json: broken"], unjudged=["b.json: A: unknown"], notes=["c.json: form"])
    assert as_text(report) == "0 findings in 2 trust policies, 1 part not judged\n"
    document = as_json(report)
    assert [document[key] for key in ("faults", "unjudged", "notes")] == [report.faults, report.unjudged, report.notes]
    log: Any = as_sarif(report)
    (invocation,) = log["runs"][0]["invocations"]
    assert invocation["executionSuccessful"] is False
    assert [(one["level"], one["message"]["text"]) for one in invocation["toolExecutionNotifications"]] == [
        ("error", "a.json: broken"),
        ("warning", "b.json: A: unknown"),
        ("note", "c.json: form"),
    ]


def test_text_without_findings_is_the_summary() -> None:
    assert as_text(make_report(policies=3)) == "0 findings in 3 trust policies\n"


def test_control_characters_are_escaped_and_tokens_redacted() -> None:
    token = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJ4In0.c2lnbmF0dXJl"
    text = as_text(make_report(make_finding(statement="\x1b[2J", detail=f"\x1b]0;x\x07\ud800 {token}"), policies=1))
    assert "\x1b" not in text
    assert "c2lnbmF0dXJl" not in text
    text.encode()


def test_json_has_the_same_content() -> None:
    document = as_json(make_report(make_finding(source=PLAN), policies=2))
    assert document["policies"] == 2
    assert document["findings"] == [
        {
            "rule": "no-condition",
            "severity": "error",
            "file": "/tmp/plan one.json",
            "line": 12,
            "address": 'module.a.aws_iam_role.b["c"]',
            "statement": "Trust",
            "message": "An Allow for web identities without a condition: the statement has no condition",
            "why": RULES["no-condition"].why,
            "fix": RULES["no-condition"].fix,
        }
    ]


@pytest.mark.parametrize(
    "findings",
    [
        [],
        [make_finding()],
        [make_finding(rule, source) for rule in RULES for source in (HERE, PLAN)],
        [make_finding(statement="")],
    ],
)
def test_sarif_has_what_the_standard_requires(findings: list[LocatedFinding]) -> None:
    log: Any = json.loads(json.dumps(as_sarif(make_report(*findings, policies=1))))
    Draft7Validator.check_schema(SARIF)
    Draft7Validator(SARIF).validate(log)
    (run,) = log["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == list(RULES)
    assert run["tool"]["driver"]["version"] == __version__
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]


def test_sarif_has_files_as_uris() -> None:
    def uri(file: str) -> str:
        log: Any = as_sarif(make_report(make_finding(source=Source(file=file, text="")), policies=1))
        location = log["runs"][0]["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]
        return str(location["uri"])

    assert uri("policies/trust.json") == "policies/trust.json"
    assert uri("./trust.json") == "trust.json"
    assert uri("/tmp/plan one.json") == "file:///tmp/plan%20one.json"
    assert uri("standard input") == "standard%20input"
