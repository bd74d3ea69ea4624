"""`sts-broker doctor` on this node's clock, against STS's. Pure."""

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
_TOLD: Final = timedelta(seconds=1)
_CENTURY_SECONDS: Final = 100 * 365.25 * 86400
"""A node that lost its clock is in 1970."""


def skew_of(date: str, now: datetime) -> timedelta | None:
    """Return how far the clock behind a Date header is ahead of `now`; None where the header tells no time."""
    theirs = server_time(date)
    return None if theirs is None else believed((theirs - now).total_seconds())


def believed(seconds: object) -> timedelta | None:
    """Return what a server says of the clocks; None where no two clocks can be so far apart, or it is no number."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not abs(seconds) <= _CENTURY_SECONDS:
        return None
    return timedelta(seconds=seconds)


def examine_clock(skew: timedelta | None, sheet: Report) -> None:
    """Say how far this node's clock is off; `skew` is STS's clock less ours, None where nobody told it."""
    if skew is None:
        sheet.not_checked(("clock",), "No STS told its time.")
        return
    side = "behind" if skew > timedelta(0) else "ahead of"
    told = f"This node's clock is {abs(skew).total_seconds():.0f} s {side} STS's"
    remedy = "Look at the node's time service (chrony, ntpd, or the hypervisor's)."
    if abs(skew) > SKEW_MAXIMUM:
        said = f"{told}: signed requests are refused, and tokens and credentials seem older or younger than they are."
        sheet.failed("clock", said, remedy)
    elif abs(skew) > SKEW_WARNING:
        sheet.warning("clock", f"{told}.", remedy)
    else:
        sheet.ok("clock", f"{told}." if abs(skew) > _TOLD else "This node's clock is STS's.")
