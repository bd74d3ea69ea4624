"""Says what `sts-broker trust lint` found: for people, as JSON, and as SARIF 2.1.0 for CI systems.

Rules: what stands in a policy is anybody's text, and is made printable; a finding in a plan has the resource's address
and the line of the plan. It refuses to know how policies are judged.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from broker import __version__
from broker.core.model import printable, redacted
from broker.trust.linter.rules import RULES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from broker.trust.linter.rules import Finding, Rule
    from broker.trust.sources import Source

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
FORMATS = ("text", "json", "sarif")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """A finding, and the policy that it is about."""

    source: Source
    finding: Finding

    @property
    def line(self) -> int:
        """The line in the file. A policy in a plan is one text on one line, whatever lines it has itself."""
        return self.source.line if self.source.address else self.finding.line

    @property
    def sentence(self) -> str:
        """What was found, in one line."""
        return redacted(printable(f"{self.finding.rule.title}: {self.finding.detail}"))


def write_report(reported: Sequence[Reported], *, policies: int, form: str) -> None:
    """Print what was found in so many policies."""
    if form == "text":
        sys.stdout.write(as_text(reported, policies))
    else:
        document = as_json(reported, policies) if form == "json" else as_sarif(reported)
        sys.stdout.write(json.dumps(document, indent=2) + "\n")


def as_text(reported: Sequence[Reported], policies: int) -> str:
    """Return the findings as compilers tell theirs, each with why it matters and the mend, and how many there are."""
    lines = []
    for one in reported:
        rule = one.finding.rule
        place = " ".join(filter(None, (one.source.address, one.finding.statement))) or "policy"
        lines += [
            redacted(
                printable(f"{one.source.file}:{one.line}: {rule.severity.value}: {place}: {one.sentence} [{rule.id}]")
            ),
            f"    why:  {rule.why}",
            f"    mend: {rule.mend}",
        ]
    lines.append(f"{_count(len(reported), 'finding')} in {_count(policies, 'trust policy', 'trust policies')}")
    return "\n".join(lines) + "\n"


def as_json(reported: Sequence[Reported], policies: int) -> dict[str, object]:
    """Return the findings as JSON values."""
    return {
        "policies": policies,
        "findings": [
            {
                "rule": one.finding.rule.id,
                "severity": one.finding.rule.severity.value,
                "file": one.source.file,
                "line": one.line,
                "address": one.source.address,
                "statement": one.finding.statement,
                "message": one.sentence,
                "why": one.finding.rule.why,
                "mend": one.finding.rule.mend,
            }
            for one in reported
        ],
    }


def as_sarif(reported: Sequence[Reported]) -> dict[str, object]:
    """Return the findings as a SARIF log with one run."""
    places = {name: index for index, name in enumerate(RULES)}
    driver = {
        "name": "sts-broker trust lint",
        "version": __version__,
        "rules": [_sarif_rule(rule) for rule in RULES.values()],
    }
    results = [_sarif_result(one, places) for one in reported]
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}


def _sarif_rule(rule: Rule) -> dict[str, object]:
    return {
        "id": rule.id,
        "name": "".join(word.capitalize() for word in rule.id.split("-")),
        "shortDescription": {"text": f"{rule.title}."},
        "fullDescription": {"text": rule.why},
        "help": {"text": f"{rule.why} {rule.mend}", "markdown": f"{rule.why}\n\n**Mend:** {rule.mend}"},
        "defaultConfiguration": {"level": rule.severity.value},
    }


def _sarif_result(one: Reported, places: Mapping[str, int]) -> dict[str, object]:
    rule = one.finding.rule
    location: dict[str, Any] = {
        "physicalLocation": {
            "artifactLocation": {"uri": _uri(one.source.file)},
            "region": {"startLine": one.line},
        }
    }
    logical = printable(".".join(filter(None, (one.source.address, one.finding.statement))))
    if logical:
        location["logicalLocations"] = [{"fullyQualifiedName": logical}]
    return {
        "ruleId": rule.id,
        "ruleIndex": places[rule.id],
        "level": rule.severity.value,
        "message": {"text": f"{one.sentence}. {rule.mend}"},
        "locations": [location],
    }


def _uri(file: str) -> str:
    """Return a file as a URI: relative where it was named so, which CI systems look up in the checkout."""
    path = quote(file.removeprefix("./"))
    return f"file://{path}" if path.startswith("/") else path


def _count(number: int, one: str, several: str = "") -> str:
    return f"{number} {one if number == 1 else several or one + 's'}"
