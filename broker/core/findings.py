"""Findings: the results of a check, each with a verdict, what was found, and what to change.

Text of other parties is shortened and made safe for a terminal here. This module does not know what is checked.
"""

from __future__ import annotations

from enum import Enum, unique
from typing import TYPE_CHECKING

from broker.core.model import printable, redacted
from broker.core.records import Struct

if TYPE_CHECKING:
    from collections.abc import Iterable

_MAXIMUM_QUOTED_LENGTH = 200


@unique
class Verdict(Enum):
    """The severity of a finding."""

    OK = "ok"
    WARNING = "warning"
    """It works, or may work, but needs attention."""
    FAILED = "failed"
    """STS would reject it."""


class Finding(Struct, frozen=True, kw_only=True):
    """One result. `check` is a stable identifier of the check; `remedy` is "" if there is nothing to change."""

    check: str
    verdict: Verdict
    found: str
    remedy: str = ""


def ok(check: str, found: str) -> Finding:
    """Return a finding that needs no action."""
    return Finding(check=check, verdict=Verdict.OK, found=found)


def warning(check: str, found: str, remedy: str) -> Finding:
    """Return a finding that needs attention."""
    return Finding(check=check, verdict=Verdict.WARNING, found=found, remedy=remedy)


def failed(check: str, found: str, remedy: str) -> Finding:
    """Return a finding about something that STS would reject."""
    return Finding(check=check, verdict=Verdict.FAILED, found=found, remedy=remedy)


def is_accepted(findings: Iterable[Finding]) -> bool:
    """Return whether no finding failed. Warnings are accepted."""
    return all(finding.verdict is not Verdict.FAILED for finding in findings)


def quoted(text: str) -> str:
    """Return text of another party without tokens and control characters, shortened to 200 characters."""
    shown = redacted(printable(text))
    return shown if len(shown) <= _MAXIMUM_QUOTED_LENGTH else f"{shown[:_MAXIMUM_QUOTED_LENGTH]}…"
