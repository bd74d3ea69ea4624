"""The refusal that STS answers with, as an exception that any check of a request can raise."""

from __future__ import annotations


class Refusal(Exception):
    """STS says no: the code, message and HTTP status of its answer, and a `reason` that it keeps to itself."""

    def __init__(self, code: str, message: str, status: int = 400, *, reason: str = "") -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status
        self.reason = reason
