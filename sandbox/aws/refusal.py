"""The exception for requests that STS refuses. Every check of a request can raise it."""

from __future__ import annotations


class Refusal(Exception):
    """A refused request: code, message and HTTP status of the response, and a `reason` that only the record has."""

    def __init__(self, code: str, message: str, status: int = 400, *, reason: str = "") -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status
        self.reason = reason
