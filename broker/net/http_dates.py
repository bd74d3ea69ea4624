"""Read the time from a server's Date header. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

_MEAN_TRUNCATION: Final = timedelta(seconds=0.5)
"""A Date header has whole seconds, so on average half a second is cut off."""


def server_time(date: str) -> datetime | None:
    """Return the time in a Date header, corrected for the fraction that it omits; None if it has no valid time."""
    try:
        parsed = parsedate_to_datetime(date)
        return None if parsed.tzinfo is None else parsed + _MEAN_TRUNCATION
    except (ValueError, TypeError, OverflowError):
        return None
