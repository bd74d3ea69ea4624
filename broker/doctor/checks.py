"""The checks of `sts-broker doctor`, their fixed order, and the report that collects their results.

A check that could not run, or whose failure is a consequence of another one, is not a failure of its own: its result
names the check that explains it. Every check has a section in docs/operations.md. Pure.
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
    "web-identity-token",
    "web-identity-file",
    "publish-directory",
    "publish-volume",
    "publish-neighbours",
    "hidden",
    "notify",
    "broker",
)
"""In the order of the report."""
POLICY_FROM_IAM: Final = "iam"
"""The value of `--policy` that stands for the trust policy in IAM, instead of a file."""


@unique
class Outcome(Enum):
    """The outcome of one check."""

    OK = "ok"
    WARNING = "warning"
    """It works, but somebody should look at it."""
    FAILED = "failed"
    """This is a cause: fix it."""
    FOLLOWS = "follows"
    """It failed as a consequence of another check's finding."""
    NOT_CHECKED = "not checked"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """The result of one check.

    `of` names the profile, token or Region that was checked, and is empty if there is only one. `because` is the label
    of the result that explains this one. `reason` is the `reason` that the broker logs for the same failure, and
    `error_code` the error code of AWS; either may be empty.
    """

    check: str
    outcome: Outcome
    found: str
    remedy: str = ""
    because: str = ""
    of: str = ""
    reason: str = ""
    error_code: str = ""

    @property
    def label(self) -> str:
        """The name of this result in the report."""
        return label(self.check, self.of)

    @property
    def link(self) -> str:
        """The section of the documentation that explains the check."""
        return f"docs/operations.md#doctor-{self.check}"


class Report:
    """Collects the results of all checks.

    `announce` is called with the name of each step that may take a while, before that step begins.
    """

    def __init__(self, announce: Callable[[str], None] = lambda _: None) -> None:
        self.announce = announce
        self._results: list[CheckResult] = []

    @property
    def results(self) -> list[CheckResult]:
        """All results, in the order of `CHECKS`."""
        return sorted(self._results, key=lambda result: CHECKS.index(result.check))

    def ok(self, check: str, found: str, *, of: str = "") -> None:
        """Add a result that needs no action."""
        self._results.append(CheckResult(check=check, outcome=Outcome.OK, found=found, of=of))

    def warning(self, check: str, found: str, remedy: str, *, of: str = "") -> None:
        """Add a result that somebody should look at."""
        self._results.append(CheckResult(check=check, outcome=Outcome.WARNING, found=found, remedy=remedy, of=of))

    def failed(  # noqa: PLR0913 - what failed, and all that identifies it
        self, check: str, found: str, remedy: str, *, of: str = "", reason: str = "", error_code: str = ""
    ) -> None:
        """Add a cause. `reason` and `error_code` are those of `CheckResult`."""
        outcome = Outcome.FAILED
        self._results.append(
            CheckResult(
                check=check, outcome=outcome, found=found, remedy=remedy, of=of, reason=reason, error_code=error_code
            )
        )

    def follows(self, check: str, found: str, because: str, *, of: str = "") -> None:
        """Add a failure that another result explains."""
        self._results.append(CheckResult(check=check, outcome=Outcome.FOLLOWS, found=found, because=because, of=of))

    def not_checked(self, checks: Iterable[str], found: str, *, because: str = "", of: str = "") -> None:
        """Add a result for each of these checks, with the reason why it did not run."""
        self._results += [
            CheckResult(check=check, outcome=Outcome.NOT_CHECKED, found=found, because=because, of=of)
            for check in checks
        ]

    def find(self, check: str, of: str = "", *outcomes: Outcome) -> CheckResult | None:
        """Return the result of a check; if outcomes are given, only a result that has one of them."""
        found = (result for result in self._results if (result.check, result.of) == (check, of))
        return next((result for result in found if not outcomes or result.outcome in outcomes), None)

    def first_failed(self, checks: Iterable[str], of: str = "") -> CheckResult | None:
        """Return the first cause among these checks."""
        return next((result for check in checks if (result := self.find(check, of, Outcome.FAILED))), None)

    def change(
        self, result: CheckResult, outcome: Outcome, *, found: str = "", remedy: str = "", because: str = ""
    ) -> CheckResult:
        """Replace a result's outcome, and each text that is given. Return the new result."""
        changed = replace(
            result, outcome=outcome, found=found or result.found, remedy=remedy or result.remedy, because=because
        )
        self._results[self._results.index(result)] = changed
        return changed


def label(check: str, of: str) -> str:
    """Return the name of a check in the report, with what it was made for in parentheses."""
    return f"{check} ({of})" if of else check


def find_causes(results: Iterable[CheckResult]) -> list[CheckResult]:
    """Return the results that name what to fix."""
    return [result for result in results if result.outcome is Outcome.FAILED]
