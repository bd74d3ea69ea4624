"""Finds secrets where they must not be: any 20 characters in a row of any secret count."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Mapping

WINDOW_CHARACTERS = 20


class Canaries:
    """Remembers secrets by name."""

    def __init__(self) -> None:
        self._windows: dict[str, str] = {}
        self.names: set[str] = set()

    def add(self, name: str, secret: str) -> None:
        """Remember a secret. ValueError: too short to be recognised."""
        if len(secret) < WINDOW_CHARACTERS:
            raise ValueError(f"{name} has {len(secret)} characters only")
        self.names.add(name)
        for start in range(len(secret) - WINDOW_CHARACTERS + 1):
            self._windows[secret[start : start + WINDOW_CHARACTERS]] = name

    def found_in(self, text: str) -> set[str]:
        """Return the names of the secrets of which a piece stands in the text, as it is or percent-encoded."""
        found = set()
        for each in {text, unquote(text)}:
            for start in range(len(each) - WINDOW_CHARACTERS + 1):
                name = self._windows.get(each[start : start + WINDOW_CHARACTERS])
                if name is not None:
                    found.add(name)
        return found

    def found_in_any(self, texts: Mapping[str, str]) -> dict[str, set[str]]:
        """Return the places (keys of `texts`) that hold secrets, each with their names."""
        return {place: found for place, text in texts.items() if (found := self.found_in(text))}
