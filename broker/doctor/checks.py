"""The checks of `sts-broker doctor`, in a fixed order, and how a check's line gives way to a cause.

Rules: a check that could not be made, or that only shows what another has found already, is no fault of its own: it
names the check that explains it. Each check has a heading of its own in docs/operations.md. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, unique
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

CHECKS: Final = (
    "settings",
    "memory",
    "token-file",
    "token-mount",
    "token-secrecy",
    "audience",
    "subject",
    "clock",
    "token-life",
    "issuer",
    "issuer-documents",
    "issuer-keys",
    "signature",
    "trust-policy",
    "region",
    "sts-proxy",
    "sts-name",
    "sts-connection",
    "sts-tls",
    "exchange",
    "identity",
    "session",
    "publish-directory",
    "publish-volume",
    "publish-neighbours",
    "hidden",
    "broker",
)
"""In the order in which they are told."""
POLICY_OF_IAM: Final = "iam"
"""In place of a file with a trust policy: what IAM has."""


@unique
class Outcome(Enum):
    """What came of a check."""

    OK = "ok"
    WARNING = "warning"
    """It works: somebody should look at it."""
    FAILED = "failed"
    """This is a cause: mend it."""
    FOLLOWS = "follows"
    """It failed, and what another check found explains it."""
    NOT_CHECKED = "not checked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line. `of` names the profile, token or Region where there are several; `because` is another line's label."""

    check: str
    outcome: Outcome
    found: str
    remedy: str = ""
    because: str = ""
    of: str = ""

    @property
    def label(self) -> str:
        """What names the line for a person."""
        return f"{self.check} ({self.of})" if self.of else self.check

    @property
    def link(self) -> str:
        """Where the documentation tells more."""
        return f"docs/operations.md#doctor-{self.check}"


class Sheet:
    """Collects the lines; `tell` hears of each thing that may take a while, before it is begun."""

    def __init__(self, tell: Callable[[str], None] = lambda _: None) -> None:
        self.tell = tell
        self._lines: list[Line] = []

    @property
    def lines(self) -> list[Line]:
        """What was added, in the order of `CHECKS`."""
        return sorted(self._lines, key=lambda line: CHECKS.index(line.check))

    def ok(self, check: str, found: str, *, of: str = "") -> None:
        """Add a line with nothing to do."""
        self._lines.append(Line(check=check, outcome=Outcome.OK, found=found, of=of))

    def warning(self, check: str, found: str, remedy: str, *, of: str = "") -> None:
        """Add a line for somebody to look at."""
        self._lines.append(Line(check=check, outcome=Outcome.WARNING, found=found, remedy=remedy, of=of))

    def failed(self, check: str, found: str, remedy: str, *, of: str = "") -> None:
        """Add a cause."""
        self._lines.append(Line(check=check, outcome=Outcome.FAILED, found=found, remedy=remedy, of=of))

    def follows(self, check: str, found: str, because: str, *, of: str = "") -> None:
        """Add a fault that another line explains."""
        self._lines.append(Line(check=check, outcome=Outcome.FOLLOWS, found=found, because=because, of=of))

    def not_checked(self, checks: Iterable[str], found: str, *, because: str = "", of: str = "") -> None:
        """Add a line for each of these checks, saying why it was not made."""
        self._lines += [
            Line(check=check, outcome=Outcome.NOT_CHECKED, found=found, because=because, of=of) for check in checks
        ]

    def find(self, check: str, of: str = "", *outcomes: Outcome) -> Line | None:
        """Return the line of a check, with one of these outcomes where some are given."""
        found = (line for line in self._lines if (line.check, line.of) == (check, of))
        return next((line for line in found if not outcomes or line.outcome in outcomes), None)

    def first_failed(self, checks: Iterable[str], of: str = "") -> Line | None:
        """Return the first cause among these checks."""
        return next((line for check in checks if (line := self.find(check, of, Outcome.FAILED))), None)

    def change(self, line: Line, outcome: Outcome, *, found: str = "", remedy: str = "", because: str = "") -> Line:
        """Put another outcome, and what else is given, in place of a line's. Return the line as it is then."""
        changed = replace(
            line, outcome=outcome, found=found or line.found, remedy=remedy or line.remedy, because=because
        )
        self._lines[self._lines.index(line)] = changed
        return changed


def causes(lines: Iterable[Line]) -> list[Line]:
    """Return the lines that say what is to be mended."""
    return [line for line in lines if line.outcome is Outcome.FAILED]
