"""Search for secrets in texts. Any 20 consecutive characters of a secret count."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Mapping

WINDOW_CHARACTERS = 20


class Canaries:
    """A collection of named secrets to search for."""

    def __init__(self) -> None:
        self._windows: dict[str, str] = {}
        self.names: set[str] = set()

    def add(self, name: str, secret: str) -> None:
        """Add a secret. Raises ValueError if it is too short to be recognized."""
        if len(secret) < WINDOW_CHARACTERS:
            raise ValueError(f"{name} has only {len(secret)} characters")
        self.names.add(name)
        for start in range(len(secret) - WINDOW_CHARACTERS + 1):
            self._windows[secret[start : start + WINDOW_CHARACTERS]] = name

    def found_in(self, text: str) -> set[str]:
        """Return the names of the secrets of which the text contains a part, as it is or percent-encoded."""
        found = set()
        for each in {text, unquote(text)}:
            for start in range(len(each) - WINDOW_CHARACTERS + 1):
                name = self._windows.get(each[start : start + WINDOW_CHARACTERS])
                if name is not None:
                    found.add(name)
        return found

    def found_in_any(self, texts: Mapping[str, str]) -> dict[str, set[str]]:
        """Return the keys of `texts` whose text contains secrets, each with the names of those secrets."""
        return {place: found for place, text in texts.items() if (found := self.found_in(text))}
