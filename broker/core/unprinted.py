"""Records that hold secrets, or what other parties wrote."""

from __future__ import annotations

from msgspec import Struct


class Unprinted(Struct, frozen=True):
    """A record that prints as its class alone, so that no log line and no exception quotes what it holds."""

    def __repr__(self) -> str:
        """Return the name of the class."""
        return f"<{type(self).__name__}>"
