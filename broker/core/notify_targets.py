"""The programs to notify about new credentials, and why one could not be notified.

Values only: `broker.notify` reaches the programs, and `notifications` decides when.
"""

from __future__ import annotations

from typing import Final

from broker.core.records import Struct

SIGNALS: Final = ("HUP", "INT", "QUIT", "TERM", "USR1", "USR2", "WINCH")
"""The signals that a program can be notified with. `exec` forwards the same ones."""


class HttpTarget(Struct, frozen=True, kw_only=True):
    """A program that is notified with an HTTP request to a loopback address.

    `bearer_file` is the path of a file whose content is sent as bearer token; "" for none.
    """

    url: str
    method: str = "POST"
    bearer_file: str = ""

    @property
    def label(self) -> str:
        """The target in logs and metrics. It lacks the query, which may hold a secret."""
        return self.url.partition("?")[0]


class SignalTarget(Struct, frozen=True, kw_only=True):
    """A process that is notified with a signal, one of SIGNALS. Either `pid_file` or `process`, a name, is set."""

    signal: str
    pid_file: str = ""
    process: str = ""

    @property
    def label(self) -> str:
        """The target in logs and metrics."""
        return f"pid_file:{self.pid_file}" if self.pid_file else f"process:{self.process}"


NotifyTarget = HttpTarget | SignalTarget


class NotifyFailure(Struct, frozen=True, kw_only=True):
    """Why a program was not notified: what failed and was found, and what to change. Neither holds a secret."""

    message: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}"
