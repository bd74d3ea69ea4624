"""`sts-broker doctor`'s lines as text for people, and as JSON.

Rules: whatever was read of a token, a server or a file is made fit for a terminal, and what looks like a token is cut
out; checks that one thing keeps from being made share a line.
"""

from __future__ import annotations

import json
from itertools import groupby
from typing import TYPE_CHECKING

from broker.core.model import printable, redacted
from broker.doctor.checks import Outcome, causes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from broker.doctor.checks import Line

_OUTCOME_WIDTH = len(Outcome.NOT_CHECKED.value) + 1


def as_text(lines: Sequence[Line]) -> str:
    """Return the report for people: a line for each check, and the cause last, where the eye is."""
    return "".join(f"{redacted(printable(line))}\n" for line in _text(lines))


def as_json(lines: Sequence[Line]) -> str:
    """Return the report as one JSON object."""
    checks = [
        {
            "id": line.check,
            "of": line.of or None,
            "verdict": line.outcome.value,
            "found": redacted(printable(line.found)),
            "do": redacted(printable(line.remedy)) or None,
            "because": line.because or None,
            "link": line.link,
        }
        for line in lines
    ]
    document = {"verdict": verdict(lines), "causes": [line.label for line in causes(lines)], "checks": checks}
    return json.dumps(document, indent=2) + "\n"


def verdict(lines: Sequence[Line]) -> str:
    """Return the whole in a word: failed, warning or ok."""
    outcomes = {line.outcome for line in lines}
    return next((each.value for each in (Outcome.FAILED, Outcome.WARNING) if each in outcomes), Outcome.OK.value)


def _text(lines: Sequence[Line]) -> Iterator[str]:
    width = max((len(line.label) for line in lines if line.outcome is not Outcome.NOT_CHECKED), default=0) + 1
    indent = " " * (_OUTCOME_WIDTH + width)
    for (outcome, found, because), group in groupby(lines, lambda line: (line.outcome, line.found, line.because)):
        if outcome is Outcome.NOT_CHECKED:
            unmade = [line.label for line in group]
            names = ", ".join(unmade) if len(unmade) < len(lines) - 1 else "all else"
            yield f"{outcome.value:<{_OUTCOME_WIDTH}}{names}: {_reason(found, because)}"
            continue
        for line in group:
            yield f"{outcome.value:<{_OUTCOME_WIDTH}}{line.label:<{width}}{_reason(found, because)}"
            if line.remedy and outcome is not Outcome.FOLLOWS:
                yield f"{indent}-> {line.remedy}"
            if outcome in (Outcome.FAILED, Outcome.WARNING):
                yield f"{indent}   {line.link}"
    yield ""
    yield _summary(lines)


def _reason(found: str, because: str) -> str:
    return f"{found} Because of {because}." if because and found else found or f"because of {because}."


def _summary(lines: Sequence[Line]) -> str:
    found = causes(lines)
    warned = sum(line.outcome is Outcome.WARNING for line in lines)
    warnings = f"; {warned} warning{'s' if warned > 1 else ''}" if warned else ""
    if not found:
        return f"Nothing failed{warnings}." if warned else "All is well."
    several = "The causes are" if len(found) > 1 else "The cause is"
    return f"{several} {', '.join(line.label for line in found)}{warnings}."
