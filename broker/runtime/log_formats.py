"""The formats of log lines: JSON for machines, console for people at a terminal.

Anything that looks like a JWT is removed from every line, whichever library wrote it.
"""

from __future__ import annotations

import json
import logging
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from broker.core.model import TOKEN_LIKE, printable, redacted

if TYPE_CHECKING:
    from typing import TextIO

_TOKEN_LIKE_IN_JSON = re.compile(r"(\\u[0-9a-f]{4}|\\.)|" + TOKEN_LIKE.pattern)
"""TOKEN_LIKE for JSON text, where an escape sequence such as `\\u000e` must not be cut in two."""


def is_json(style: str, stream: TextIO) -> bool:
    """Return whether log lines on `stream` are JSON: `auto` is console on a terminal, otherwise JSON."""
    return style == "json" or (style == "auto" and not stream.isatty())


class JsonFormatter(logging.Formatter):
    """One JSON object in each line: time, level, event, message, and the fields of the line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without a newline at its end."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": getattr(record, "event", "library"),
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return _TOKEN_LIKE_IN_JSON.sub(_redact_match, json.dumps(line, default=str))


class ConsoleFormatter(logging.Formatter):
    """A line to be read at a terminal: local time, level, event, message, fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line. A traceback adds lines of its own."""
        time = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        fields = " ".join(f"{name}={value}" for name, value in getattr(record, "fields", {}).items())
        event, message = getattr(record, "event", "library"), record.getMessage()
        lines = [f"{time} {record.levelname:<7} {event:<16} {message} {fields}".rstrip()]
        if record.exc_info:
            lines += self.formatException(record.exc_info).split("\n")
        return redacted("\n".join(printable(line) for line in lines))


def _redact_match(found: re.Match[str]) -> str:
    """Return an escape sequence unchanged, and `<redacted>` for a token."""
    return found[1] or "<redacted>"
