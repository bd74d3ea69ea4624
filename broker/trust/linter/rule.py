"""What a rule of `sts-broker trust lint` is, and a finding on it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, unique


@unique
class Severity(Enum):
    """The severity of a finding. The values are SARIF levels."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A possible fault of a trust policy. `title` names it; `why` and `fix` are one sentence each."""

    id: str
    severity: Severity
    title: str
    why: str
    fix: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LintFinding:
    """A rule that a policy breaks, and the detail found. `statement` is "" where the whole policy breaks the rule."""

    rule: Rule
    statement: str
    line: int
    detail: str


def error(rule_id: str, title: str, why: str, fix: str) -> Rule:
    """Return a rule whose breach admits an unintended caller, or no caller at all."""
    return Rule(id=rule_id, severity=Severity.ERROR, title=title, why=why, fix=fix)


def warning(rule_id: str, title: str, why: str, fix: str) -> Rule:
    """Return a rule whose breach is a risk, or a broader grant than needed."""
    return Rule(id=rule_id, severity=Severity.WARNING, title=title, why=why, fix=fix)
