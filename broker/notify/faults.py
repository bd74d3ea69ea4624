"""The error of this package."""

from __future__ import annotations


class CannotNotify(Exception):
    """A program could not be notified. `message` is what failed and was found, `remedy` what to change."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(f"{message} {remedy}")
        self.message = message
        self.remedy = remedy
