"""The log: how it is set up, and which line each event of the main loop produces.

Each line has an `event` from the closed list EVENTS and fields from `ReportFields`. `log_formats` renders it. Logging
never blocks: `log_writer` queues the lines, and drops new ones when nobody reads them. botocore and urllib3 log at
WARNING or above only, because their debug lines quote requests and responses.
"""

from __future__ import annotations

import logging
import sys
from datetime import timedelta
from typing import TYPE_CHECKING, TextIO, Unpack

from broker.core import events
from broker.core.errors import BrokerError, Disposition, TokenAwaited
from broker.core.schedule import Phase
from broker.core.session_sizes import UNKNOWN_SIZES, is_newly_near
from broker.core.timestamps import timestamp
from broker.runtime import log_writer
from broker.runtime.log_formats import ConsoleFormatter, JsonFormatter, is_json

if TYPE_CHECKING:
    import threading

    from broker.core.events import Event
    from broker.core.report_fields import ReportFields
    from broker.runtime.log_writer import LogWriter

EVENTS = (
    "configuration_invalid",
    "starting",
    "listening",
    "warning",
    "restored",
    "restore_skipped",
    "token_observed",
    "token_unfit",
    "token_request_failed",
    "source_unfit",
    "exchanged",
    "exchange_failed",
    "refreshed",
    "web_identity_token_refreshed",
    "web_identity_token_failed",
    "published_lost",
    "publish_failed",
    "notified",
    "notify_failed",
    "notify_superseded",
    "command_signaled",
    "command_stopping",
    "command_restarted",
    "refresh_requested",
    "clock_skewed",
    "size_near_limit",
    "log_lines_dropped",
    "stopping",
    "bug",
    "library",
)
"""All values of `event`. `library` marks lines that a library wrote."""
MAXIMUM_SILENT_SKEW = timedelta(seconds=60)
"""A larger clock skew, in either direction, is logged as a warning."""
_SIZE_REMEDY = (
    "Shorten session_policy (BROKER_SESSION_POLICY), or list fewer policy_arns (BROKER_POLICY_ARNS) and tags. Tags "
    "that a chained role inherits count, too."
)
_log = logging.getLogger("broker")


def configure(style: str, level: str, stream: TextIO | None = None) -> None:
    """Write log lines to `stream` (default: standard error), at `level` and above.

    `style` is `json`, `console`, or `auto`, which means console on a terminal and JSON elsewhere. A forked child may
    call this again.
    """
    stream = stream or sys.stderr
    handler = QueueingHandler(log_writer.get_writer(stream))
    handler.setFormatter(JsonFormatter() if is_json(style, stream) else ConsoleFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # its warning "connection pool is full" is harmless here
    logging.raiseExceptions = False  # otherwise a line that cannot be formatted is printed with its arguments
    _log.setLevel(level.upper())


def log_bug_of_thread(found: threading.ExceptHookArgs) -> None:
    """Write what ended a thread as a log line: a `threading.excepthook`. Python's own prints text that isn't JSON."""
    _log.critical(
        "A thread of the broker ended because of a bug. Report it with this traceback.",
        exc_info=found.exc_value,
        extra={"event": "bug"},
    )


def flush(seconds: float = log_writer.FLUSH_SECONDS) -> None:
    """Wait until all lines are written, `seconds` at most."""
    log_writer.flush(seconds)


def count_dropped_lines() -> int:
    """Return how many lines this process has lost."""
    return log_writer.count_dropped_lines()


def log_event(event: Event) -> None:  # noqa: C901 - one case for each event
    """Write the lines for an event of the main loop. Some events have none."""
    match event:
        case events.RefreshRequested():
            log_message(logging.INFO, "refresh_requested", "Received SIGHUP: refreshing all profiles.")
        case events.Restored():
            _log_restoration(event)
        case events.TokenObserved():
            _log_token(event)
        case events.TokenUnfit(error=error):
            level = _choose_level(error)
            log_message(level, "token_unfit", str(error), profile=event.profile, reason=error.reason)
        case events.SourceUnfit(error=error):  # INFO, because the source profile logs its own fault
            log_message(logging.INFO, "source_unfit", str(error), profile=event.profile, reason=error.reason)
        case events.Exchanged():
            _log_exchange(event)
        case events.ExchangeFailed():
            _log_exchange_failure(event)
        case events.Published():
            _log_publication(event)
        case events.PublishedLost():
            message = (
                "Published files are missing from the publish directory; something deleted them or replaced the "
                "directory. Publishing them again."
            )
            log_message(logging.WARNING, "published_lost", message, profile=event.profile)
        case events.PublishFailed():
            _log_publish_failure(event)


def log_message(level: int, event: str, message: str, /, **fields: Unpack[ReportFields]) -> None:
    """Write one line.

    `level` is one of `logging`, `event` one of EVENTS. Fields that are None or empty are left out.
    """
    filled = {name: value for name, value in fields.items() if value not in ("", None, [])}
    _log.log(level, message, extra={"event": event, "fields": filled})


class QueueingHandler(logging.Handler):
    """Passes formatted lines to a writer. logging itself calls `flush` at the end of the process."""

    def __init__(self, writer: LogWriter) -> None:
        super().__init__()
        self._writer = writer
        writer.describe_loss = self._describe_loss

    def emit(self, record: logging.LogRecord) -> None:
        """Queue the line. What cannot be formatted is left out."""
        try:
            line = self.format(record)
        except Exception:  # noqa: BLE001 - a malformed call of a library, which logging would print with its arguments
            self.handleError(record)
        else:
            self._writer.put(line)

    def flush(self) -> None:
        """Wait for a second at most until all lines are written."""
        self._writer.flush(log_writer.FLUSH_SECONDS)

    def _describe_loss(self, count: int) -> str:
        message = f"{count} log lines were dropped, because standard error took no more. Check what reads the log."
        record = _log.makeRecord(
            _log.name,
            logging.WARNING,
            __file__,
            0,
            message,
            (),
            None,
            extra={"event": "log_lines_dropped", "fields": {"dropped_lines": count}},
        )
        return self.format(record)


def _choose_level(error: BrokerError, phase: Phase = Phase.FRESH) -> int:
    """Return ERROR if an operator must act or readers are about to lose their credentials, otherwise WARNING."""
    if isinstance(error, TokenAwaited):
        return logging.INFO
    urgent = error.disposition is Disposition.SLOW or phase in {Phase.MANDATORY, Phase.EXPIRED}
    return logging.ERROR if urgent else logging.WARNING


def _log_token(event: events.TokenObserved) -> None:
    claims = event.token.claims
    log_message(
        logging.INFO,
        "token_observed",
        "Found a new token.",
        profile=event.profile,
        token_fingerprint=event.token.fingerprint,
        subject=claims.subject,
        token_expires_at=timestamp(claims.expires_at),
    )


def _log_exchange(event: events.Exchanged) -> None:
    generation = event.generation
    log_message(
        logging.DEBUG,
        "exchanged",
        "STS issued new credentials.",
        profile=generation.profile,
        generation=generation.number,
        exchange_duration_seconds=round(event.duration.total_seconds(), 3),
    )
    skew = generation.credentials.clock_skew
    if skew is not None and abs(skew) > MAXIMUM_SILENT_SKEW:
        direction = "behind" if skew > timedelta(0) else "ahead of"
        log_message(
            logging.WARNING,
            "clock_skewed",
            f"The node's clock is {abs(skew).total_seconds():.0f} s {direction} the clock of STS, so tokens and "
            "credentials seem to last longer or shorter than they do. Fix time synchronization (NTP) on the node.",
            profile=generation.profile,
            clock_skew_seconds=round(skew.total_seconds(), 1),
        )
    _log_sizes(event)


def _log_sizes(event: events.Exchanged) -> None:
    """Warn of sizes near their limits, unless the credentials that are replaced have had the same."""
    profile, sizes = event.generation.profile, event.generation.credentials.sizes
    before = event.previous.sizes if event.previous else UNKNOWN_SIZES
    if is_newly_near(sizes.packed_policy_percent, before.packed_policy_percent):
        log_message(
            logging.WARNING,
            "size_near_limit",
            f"Session policies and tags of profile {profile} use {sizes.packed_policy_percent} % of the space that "
            f"STS has for them. Above 100 %, STS refuses the call (PackedPolicyTooLarge). {_SIZE_REMEDY}",
            profile=profile,
            packed_policy_percent=sizes.packed_policy_percent,
        )
    if is_newly_near(sizes.session_token_percent, before.session_token_percent):
        log_message(
            logging.WARNING,
            "size_near_limit",
            f"The session token of profile {profile} has {sizes.session_token_percent} % of the maximum size. "
            f"{_SIZE_REMEDY}",
            profile=profile,
            session_token_percent=sizes.session_token_percent,
            session_token_bytes=sizes.session_token_bytes,
        )


def _log_exchange_failure(event: events.ExchangeFailed) -> None:
    error = event.error
    token_fingerprint, source_generation = _split_fingerprint(event.fingerprint)
    log_message(
        _choose_level(error, event.phase),
        "exchange_failed",
        str(error),
        profile=event.profile,
        reason=error.reason,
        error_code=getattr(error, "code", ""),
        http_status=getattr(error, "http_status", None),
        request_id=getattr(error, "request_id", ""),
        token_fingerprint=token_fingerprint,
        source_generation=source_generation,
        phase=event.phase.value,
        failures=event.failures,
        retry_in_seconds=_round_seconds(event.retry_in),
        stack=getattr(error, "stack", ""),
    )


def _log_restoration(event: events.Restored) -> None:
    fields = _describe_generation(event)
    log_message(logging.INFO, "restored", "Restored the published credentials of an earlier start.", **fields)


def _log_publication(event: events.Published) -> None:
    fields = _describe_generation(event)
    fields["reason"] = event.generation.reason
    log_message(logging.INFO, "refreshed", "Published new credentials.", **fields)


def _describe_generation(event: events.Restored | events.Published) -> ReportFields:
    """Return the fields that describe credentials which readers have."""
    generation, credentials = event.generation, event.generation.credentials
    token_fingerprint, source_generation = _split_fingerprint(generation.fingerprint)
    return {
        "profile": generation.profile,
        "generation": generation.number,
        "token_fingerprint": token_fingerprint,
        "source_generation": source_generation,
        "assumed_role_arn": credentials.assumed_role_arn,
        "request_id": credentials.request_id,
        "expires_at": timestamp(credentials.expires_at),
        "next_refresh_at": timestamp(event.refresh_at),
    }


def _log_publish_failure(event: events.PublishFailed) -> None:
    log_message(
        logging.ERROR,
        "publish_failed",
        str(event.error),
        profile=event.profile,
        reason=event.error.reason,
        sink=event.error.sink,
        failures=event.failures,
        retry_in_seconds=_round_seconds(event.retry_in),
    )


def _split_fingerprint(fingerprint: str) -> tuple[str, str]:
    """Return `token_fingerprint` and `source_generation` of an exchange, of which one is "".

    The fingerprint of a token is hexadecimal; that of the source credentials of a chained role is `PROFILE-NUMBER`.
    """
    return ("", fingerprint) if "-" in fingerprint else (fingerprint, "")


def _round_seconds(duration: timedelta) -> float:
    return round(duration.total_seconds(), 1)
