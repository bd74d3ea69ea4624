"""Format instants in the one form that every reader of the broker accepts: UTC, whole seconds, with a `Z`.

Some SDKs cannot parse any other form of `Expiration`. Fractions of a second are truncated, never rounded up.
"""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime


def timestamp(instant: datetime) -> str:
    """Return an aware instant as `YYYY-MM-DDTHH:MM:SSZ`."""
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
