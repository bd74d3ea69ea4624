"""What a server's Date header says of the time. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

_CUT_OFF: Final = timedelta(seconds=0.5)
"""Of a Date header, on average."""


def server_time(date: str) -> datetime | None:
    """Return the time that a Date header tells, with the half second that it cuts off; None where it tells none."""
    try:
        told = parsedate_to_datetime(date)
        return None if told.tzinfo is None else told + _CUT_OFF
    except (ValueError, TypeError, OverflowError):
        return None
