"""Write the findings of `sts-broker trust lint`: as text, as JSON, and as SARIF 2.1.0 for CI systems.

Policies are untrusted, so control characters are escaped and tokens redacted. A finding in a Terraform plan has the
address of the resource and the line of the plan. This module does not judge policies.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from broker import __version__
from broker.core.model import printable, redacted
from broker.trust.linter.rules import RULES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from broker.trust.linter.rule import LintFinding, Rule
    from broker.trust.sources import Source

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class LocatedFinding:
    """A finding and the source of its policy."""

    source: Source
    finding: LintFinding

    @property
    def line(self) -> int:
        """The line in the file. In a plan, a policy is a string on one line, so its own line numbers do not apply."""
        return self.source.line if self.source.address else self.finding.line

    @property
    def message(self) -> str:
        """The finding in one line."""
        return redacted(printable(f"{self.finding.rule.title}: {self.finding.detail}"))


@dataclass(slots=True, kw_only=True)
class LintReport:
    """The result of a run. `policies` is the number of policies that were checked.

    `faults` has the inputs that cannot be read, `unjudged` what cannot be judged, and `notes` what is not judged by
    design, in sentences with the file's name.
    """

    findings: list[LocatedFinding] = field(default_factory=list)
    policies: int = 0
    faults: list[str] = field(default_factory=list)
    unjudged: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def write_report(report: LintReport, *, form: str) -> None:
    """Print the report as `form` (text, json or sarif). Text leaves `faults`, `unjudged` and `notes` to the caller."""
    if form == "text":
        sys.stdout.write(as_text(report))
    else:
        document = as_json(report) if form == "json" else as_sarif(report)
        sys.stdout.write(json.dumps(document, indent=2) + "\n")


def as_text(report: LintReport) -> str:
    """Return the findings in the format of compilers, each with reason and fix, and a summary line."""
    lines = []
    for one in report.findings:
        rule = one.finding.rule
        place = " ".join(filter(None, (one.source.address, one.finding.statement))) or "policy"
        lines += [
            redacted(
                printable(f"{one.source.file}:{one.line}: {rule.severity.value}: {place}: {one.message} [{rule.id}]")
            ),
            f"    why: {rule.why}",
            f"    fix: {rule.fix}",
        ]
    unjudged = f", {_count(len(report.unjudged), 'part')} not judged" if report.unjudged else ""
    checked = _count(report.policies, "trust policy", "trust policies")
    lines.append(f"{_count(len(report.findings), 'finding')} in {checked}{unjudged}")
    return "\n".join(lines) + "\n"


def as_json(report: LintReport) -> dict[str, object]:
    """Return the report as JSON values."""
    return {
        "policies": report.policies,
        "faults": clean(report.faults),
        "unjudged": clean(report.unjudged),
        "notes": clean(report.notes),
        "findings": [describe_finding(one) for one in report.findings],
    }


def describe_finding(one: LocatedFinding) -> dict[str, object]:
    """Return a finding as JSON values."""
    return {
        "rule": one.finding.rule.id,
        "severity": one.finding.rule.severity.value,
        "file": one.source.file,
        "line": one.line,
        "address": redacted(printable(one.source.address)),
        "statement": redacted(printable(one.finding.statement)),
        "message": one.message,
        "why": one.finding.rule.why,
        "fix": one.finding.rule.fix,
    }


def clean(sentences: Sequence[str]) -> list[str]:
    """Return sentences without tokens and control characters."""
    return [redacted(printable(one)) for one in sentences]


def as_sarif(
    report: LintReport, *, tool: str = "sts-broker trust lint", rules: Mapping[str, Rule] = RULES
) -> dict[str, object]:
    """Return the report as a SARIF log with one run. Faults and unjudged parts are notifications of the tool."""
    rule_indexes = {name: index for index, name in enumerate(rules)}
    driver = {
        "name": tool,
        "version": __version__,
        "rules": [_describe_rule(rule) for rule in rules.values()],
    }
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "results": [_describe_result(one, rule_indexes) for one in report.findings],
        "invocations": [
            {
                "executionSuccessful": not report.faults,
                "toolExecutionNotifications": [
                    {"level": level, "message": {"text": text}}
                    for level, sentences in (
                        ("error", report.faults),
                        ("warning", report.unjudged),
                        ("note", report.notes),
                    )
                    for text in clean(sentences)
                ],
            }
        ],
    }
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}


def _describe_rule(rule: Rule) -> dict[str, object]:
    return {
        "id": rule.id,
        "name": "".join(word.capitalize() for word in rule.id.split("-")),
        "shortDescription": {"text": f"{rule.title}."},
        "fullDescription": {"text": rule.why},
        "help": {"text": f"{rule.why} {rule.fix}", "markdown": f"{rule.why}\n\n**Fix:** {rule.fix}"},
        "defaultConfiguration": {"level": rule.severity.value},
    }


def _describe_result(one: LocatedFinding, rule_indexes: Mapping[str, int]) -> dict[str, object]:
    rule = one.finding.rule
    location: dict[str, Any] = {}
    if one.source.file:  # a role that IAM answered is in no file
        location["physicalLocation"] = {
            "artifactLocation": {"uri": _as_uri(one.source.file)},
            "region": {"startLine": one.line},
        }
    logical = redacted(printable(".".join(filter(None, (one.source.address, one.finding.statement)))))
    if logical:
        location["logicalLocations"] = [{"fullyQualifiedName": logical}]
    return {
        "ruleId": rule.id,
        "ruleIndex": rule_indexes[rule.id],
        "level": rule.severity.value,
        "message": {"text": f"{one.message}. {rule.fix}"},
        "locations": [location],
    }


def _as_uri(file: str) -> str:
    """Return a file as a URI. A relative path stays relative: CI systems resolve it in the checkout."""
    path = quote(file.removeprefix("./"))
    return f"file://{path}" if path.startswith("/") else path


def _count(number: int, one: str, several: str = "") -> str:
    return f"{number} {one if number == 1 else several or one + 's'}"
