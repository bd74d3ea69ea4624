"""Parse durations of the command line."""

from __future__ import annotations

import argparse

_MAXIMUM_SECONDS = 86400


def parse_seconds(text: str, maximum: int = _MAXIMUM_SECONDS) -> float:
    """Return a number of seconds above 0, up to `maximum`. Raises ArgumentTypeError."""
    try:
        number = float(text)
    except ValueError:
        number = 0
    if not 0 < number <= maximum:
        raise argparse.ArgumentTypeError(f"expected a number of seconds above 0, up to {maximum}; found {text!r}")
    return number
