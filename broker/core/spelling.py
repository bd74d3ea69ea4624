"""Suggest the known name that a misspelled one most likely means."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_MINIMUM_ABBREVIATION_LENGTH = 3
_MINIMUM_SIMILARITY = 0.65
"""Two swapped letters in a name of three give 0.67."""


def suggest(name: str, known: Iterable[str], *, ignored_prefixes: tuple[str, ...] = ()) -> str:
    """Return ` (did you mean X?)` for the known name nearest to `name`, or "" if none is near.

    A known name that begins with `name` is nearer than one that is only spelled like it. Upper and lower case count as
    the same letter. A prefix in `ignored_prefixes` is ignored, so that a common prefix does not make all names alike.
    """
    import difflib  # noqa: PLC0415 - 2 ms of CPU that a correctly spelled name does not need

    def comparable(text: str) -> str:
        prefix = next((each for each in ignored_prefixes if text.startswith(each)), "")
        return text.removeprefix(prefix).lower()

    by_key = {comparable(each): each for each in known}
    key = comparable(name)
    completions = [each for each in by_key if each.startswith(key)] if len(key) >= _MINIMUM_ABBREVIATION_LENGTH else []
    nearest = sorted(completions, key=len) or difflib.get_close_matches(key, by_key, n=1, cutoff=_MINIMUM_SIMILARITY)
    return f" (did you mean {by_key[nearest[0]]}?)" if nearest else ""
