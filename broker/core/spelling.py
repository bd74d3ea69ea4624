"""Suggest the known name that a misspelled one most likely means."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def suggest(name: str, known: Iterable[str]) -> str:
    """Return ` (did you mean X?)` for the known name nearest to `name`, or "" where none is near.

    Upper and lower case count as the same letter.
    """
    by_lower_case = {each.lower(): each for each in known}
    nearest = difflib.get_close_matches(name.lower(), by_lower_case, n=1)
    return f" (did you mean {by_lower_case[nearest[0]]}?)" if nearest else ""
