"""Log lines: one JSON object a line, or a console style for people; and what each of the loop's events is told as.

Rules: every line has an `event` from a closed list; what looks like a token is cut out of every line, whatever wrote
it; botocore and urllib3 are never heard below WARNING, because their debug lines quote requests and answers.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, TextIO

from broker.core import events
from broker.core.errors import BrokerError, Disposition, TokenAwaited
from broker.core.model import TOKEN_LIKE, printable, redacted
from broker.core.schedule import Phase
from broker.core.timestamps import timestamp

if TYPE_CHECKING:
    from broker.core.events import Event

EVENTS = (
    "configuration_invalid",
    "starting",
    "listening",
    "warning",
    "token_observed",
    "token_unfit",
    "token_request_failed",
    "source_unfit",
    "exchanged",
    "exchange_failed",
    "refreshed",
    "published_lost",
    "publish_failed",
    "refresh_requested",
    "clock_skewed",
    "stopping",
    "bug",
    "library",
)
"""The closed list; `library` is for lines of the libraries underneath."""
SKEW_WORTH_A_WARNING = timedelta(seconds=60)
_TOKEN_LIKE_IN_JSON = re.compile(r"(\\u[0-9a-f]{4}|\\.)|" + TOKEN_LIKE.pattern)
"""The same where `\\u000e` is one character, which is not to be cut in two."""
_log = logging.getLogger("broker")


def configure(style: str, level: str, stream: TextIO | None = None) -> None:
    """Send log lines to `stream` (standard error). `style` is json, console, or auto: console on a terminal."""
    stream = stream or sys.stderr
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter() if is_json(style, stream) else ConsoleFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # "connection pool is full" is no news here
    logging.raiseExceptions = False  # a line that cannot be written is not to be quoted instead
    _log.setLevel(level.upper())


def is_json(style: str, stream: TextIO) -> bool:
    """Return whether log lines on `stream` are JSON: `auto` is console on a terminal, otherwise JSON."""
    return style == "json" or (style == "auto" and not stream.isatty())


def tell(event: Event) -> None:
    """Write the line that belongs to the event, if it has one."""
    match event:
        case events.RefreshRequested():
            say(logging.INFO, "refresh_requested", "Refresh asked for.")
        case events.TokenObserved():
            _tell_token(event)
        case events.TokenUnfit(error=error):
            say(_level(error), "token_unfit", str(error), profile=event.profile, reason=error.reason)
        case events.SourceUnfit(error=error):  # no alarm: what is wrong with the source is told as its own
            say(logging.INFO, "source_unfit", str(error), profile=event.profile, reason=error.reason)
        case events.Exchanged():
            _tell_exchanged(event)
        case events.ExchangeFailed():
            _tell_exchange_failed(event)
        case events.Published():
            _tell_published(event)
        case events.PublishedLost():
            message = "Published files are gone; writing them again."
            say(logging.WARNING, "published_lost", message, profile=event.profile)
        case events.PublishFailed(error=error):
            say(
                logging.ERROR,
                "publish_failed",
                str(error),
                profile=event.profile,
                reason=error.reason,
                sink=error.sink,
                failures=event.failures,
                retry_in_seconds=_seconds(event.retry_in),
            )


def say(level: int, event: str, message: str, **fields: object) -> None:
    """Write one line. `event` is one of EVENTS; `fields` hold no secret."""
    _log.log(level, message, extra={"event": event, "fields": fields})


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, event, message, and the line's own fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": getattr(record, "event", "library"),
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return _TOKEN_LIKE_IN_JSON.sub(_kept_escape, json.dumps(line, default=str))


class ConsoleFormatter(logging.Formatter):
    """A line for people: clock time, level, event, sentence, fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, more than one where there is a traceback."""
        time = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        given = getattr(record, "fields", {})
        fields = " ".join(f"{name}={value}" for name, value in given.items() if value not in ("", None))
        event, message = getattr(record, "event", "library"), record.getMessage()
        lines = [f"{time} {record.levelname:<7} {event:<16} {message} {fields}".rstrip()]
        if record.exc_info:
            lines += self.formatException(record.exc_info).split("\n")
        return redacted("\n".join(printable(line) for line in lines))


def _kept_escape(found: re.Match[str]) -> str:
    return found[1] or "<redacted>"


def _level(error: BrokerError, phase: Phase = Phase.FRESH) -> int:
    """Return how loud to be: ERROR where somebody must act or readers are about to be left without credentials."""
    if isinstance(error, TokenAwaited):
        return logging.INFO
    urgent = error.disposition is Disposition.SLOW or phase in {Phase.MANDATORY, Phase.EXPIRED}
    return logging.ERROR if urgent else logging.WARNING


def _tell_token(event: events.TokenObserved) -> None:
    claims = event.token.claims
    say(
        logging.INFO,
        "token_observed",
        "There is a new token.",
        profile=event.profile,
        token=event.token.fingerprint,
        subject=claims.subject,
        expiry=timestamp(claims.expires_at),
    )


def _tell_exchanged(event: events.Exchanged) -> None:
    generation = event.generation
    say(
        logging.DEBUG,
        "exchanged",
        "STS gave new credentials.",
        profile=generation.profile,
        generation=generation.number,
        seconds=round(event.duration.total_seconds(), 3),
    )
    skew = generation.credentials.clock_skew
    if skew is not None and abs(skew) > SKEW_WORTH_A_WARNING:
        say(
            logging.WARNING,
            "clock_skewed",
            f"This node's clock is {abs(skew).total_seconds():.0f} s {'behind' if skew > timedelta(0) else 'ahead of'} "
            "that of STS: tokens and credentials seem to live longer or shorter than they do. Mend the node's NTP.",
            profile=generation.profile,
            clock_skew_seconds=round(skew.total_seconds(), 1),
        )


def _tell_exchange_failed(event: events.ExchangeFailed) -> None:
    error = event.error
    say(
        _level(error, event.phase),
        "exchange_failed",
        str(error),
        profile=event.profile,
        reason=error.reason,
        code=getattr(error, "code", ""),
        http_status=getattr(error, "http_status", None),
        request_id=getattr(error, "request_id", ""),
        token=event.fingerprint,
        phase=event.phase.value,
        failures=event.failures,
        retry_in_seconds=_seconds(event.retry_in),
    )


def _tell_published(event: events.Published) -> None:
    generation, credentials = event.generation, event.generation.credentials
    say(
        logging.INFO,
        "refreshed",
        "Published new credentials.",
        profile=generation.profile,
        generation=generation.number,
        reason=generation.reason,
        token=generation.fingerprint,
        role_arn=credentials.assumed_role_arn,
        request_id=credentials.request_id,
        expiry=timestamp(credentials.expires_at),
        next_refresh=timestamp(event.refresh_at),
    )


def _seconds(duration: timedelta) -> float:
    return round(duration.total_seconds(), 1)
