"""`sts-broker doctor` on this node's clock, compared with STS's. Pure."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from broker.net.http_dates import server_time

if TYPE_CHECKING:
    from datetime import datetime

    from broker.doctor.checks import Report

SKEW_WARNING: Final = timedelta(seconds=60)
SKEW_MAXIMUM: Final = timedelta(minutes=5)
"""What AWS allows between a signed request's time and its own (IAM User Guide, "Troubleshooting signed requests")."""
_NEGLIGIBLE: Final = timedelta(seconds=1)
_CENTURY_SECONDS: Final = 100 * 365.25 * 86400
"""The longest plausible difference: a node that has lost its clock starts in 1970."""


def skew_of(date: str, now: datetime) -> timedelta | None:
    """Return by how much the clock of a Date header is ahead of `now`; None if the header has no valid time."""
    theirs = server_time(date)
    return None if theirs is None else plausible_skew((theirs - now).total_seconds())


def plausible_skew(seconds: object) -> timedelta | None:
    """Return a difference that a server reported, in seconds; None if it is not a number, or over a century."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not abs(seconds) <= _CENTURY_SECONDS:
        return None
    return timedelta(seconds=seconds)


def examine_clock(skew: timedelta | None, report: Report) -> None:
    """Add the result for this node's clock. `skew` is STS's clock minus this node's; None if STS's is unknown."""
    if skew is None:
        report.not_checked(("clock",), "STS's time is not known.")
        return
    side = "behind" if skew > timedelta(0) else "ahead of"
    found = f"This node's clock is {abs(skew).total_seconds():.0f} s {side} STS's"
    remedy = "Check the node's time service (chrony, ntpd, or the hypervisor's)."
    if abs(skew) > SKEW_MAXIMUM:
        found = f"{found}: STS refuses signed requests, and tokens and credentials appear older or newer than they are."
        report.failed("clock", found, remedy)
    elif abs(skew) > SKEW_WARNING:
        report.warning("clock", f"{found}.", remedy)
    else:
        report.ok("clock", f"{found}." if abs(skew) > _NEGLIGIBLE else "This node's clock agrees with STS's.")
