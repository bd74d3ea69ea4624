"""What a check says: a line with a verdict, what was found, and what to do about it.

Rules: whoever accepts may still warn; text that somebody else wrote is made fit for a terminal here, and short.
Knows nothing of what is checked.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, unique
from typing import TYPE_CHECKING

from broker.core.model import printable, redacted

if TYPE_CHECKING:
    from collections.abc import Iterable

_QUOTED_LENGTH = 200


@unique
class Verdict(Enum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    """It works, or may: somebody should look at it."""
    FAILED = "failed"
    """STS would refuse."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line. `check` is a stable word for what was looked at; `remedy` is "" where there is nothing to do."""

    check: str
    verdict: Verdict
    found: str
    remedy: str = ""


def ok(check: str, found: str) -> Finding:
    """Return a line with nothing to do."""
    return Finding(check=check, verdict=Verdict.OK, found=found)


def warning(check: str, found: str, remedy: str) -> Finding:
    """Return a line for somebody to look at."""
    return Finding(check=check, verdict=Verdict.WARNING, found=found, remedy=remedy)


def failed(check: str, found: str, remedy: str) -> Finding:
    """Return a line that STS would refuse."""
    return Finding(check=check, verdict=Verdict.FAILED, found=found, remedy=remedy)


def is_accepted(findings: Iterable[Finding]) -> bool:
    """Say whether no line failed."""
    return all(finding.verdict is not Verdict.FAILED for finding in findings)


def quoted(text: str) -> str:
    """Return what a stranger wrote, without tokens and control characters, and cut."""
    shown = redacted(printable(text))
    return shown if len(shown) <= _QUOTED_LENGTH else f"{shown[:_QUOTED_LENGTH]}…"
