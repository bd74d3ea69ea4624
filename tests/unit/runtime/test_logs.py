"""Log lines: valid for any text, without secrets, and with the right event, level and fields for each event."""

from __future__ import annotations

import ast
import io
import json
import logging
import re
import threading
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import broker
from broker.core import events
from broker.core.errors import (
    ExchangeError,
    PublishError,
    RoleDenied,
    TokenExpired,
    TokenRejected,
    TokenUnavailable,
    WorkerFailed,
)
from broker.core.model import redacted
from broker.core.schedule import Action, Decision, Phase, Reason
from broker.core.session_sizes import SessionSizes
from broker.runtime import logs
from tests.support.fakes import EPOCH, FakeClock, make_credentials, make_generation, make_jwt, make_token

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broker.core.events import Event

NOW = FakeClock().read()
LIBRARIES = ("urllib3", "botocore", "broker")


class Terminal(io.StringIO):
    """A stream that reports that it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _restore_logging() -> Iterator[None]:
    loggers = [logging.getLogger(), *map(logging.getLogger, LIBRARIES)]
    before = [(logger, logger.level, logger.handlers[:]) for logger in loggers]
    raising = logging.raiseExceptions
    yield
    logging.raiseExceptions = raising
    for logger, level, handlers in before:
        logger.setLevel(level)
        logger.handlers[:] = handlers


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


def read(stream: io.StringIO) -> str:
    """Return what was logged, once the log's thread has written it."""
    logs.flush(5)
    return stream.getvalue()


def parse_lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in read(stream).splitlines()]


def log(event: Event) -> list[dict[str, Any]]:
    """Return the lines that the event produces."""
    stream = io.StringIO()
    logs.configure("json", "debug", stream)
    logs.log_event(event)
    return parse_lines(stream)


def test_malformed_log_call_of_a_library_does_not_print_its_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json", "debug", io.StringIO())
    logging.getLogger("urllib3").error("%d", "swordfish")
    assert "swordfish" not in "".join(capsys.readouterr())


def test_bug_of_a_thread_is_one_json_line(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO) -> None:
    def crash() -> NoReturn:
        raise ZeroDivisionError

    monkeypatch.setattr(threading, "excepthook", logs.log_bug_of_thread)
    logs.configure("json", "info", stream)
    thread = threading.Thread(target=crash)
    thread.start()
    thread.join()
    (line,) = parse_lines(stream)
    assert (line["event"], line["level"]) == ("bug", "critical")
    assert "in crash" in line["traceback"]


class TestStyles:
    """The JSON and console formats."""

    def test_json_line_has_time_level_event_message_and_fields(self, stream: io.StringIO) -> None:
        logs.configure("json", "info", stream)
        logs.log_message(logging.WARNING, "warning", "Look out.", profile="default", retry_in_seconds=1.5)
        (line,) = parse_lines(stream)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", line.pop("time"))
        assert line == {
            "level": "warning",
            "event": "warning",
            "message": "Look out.",
            "profile": "default",
            "retry_in_seconds": 1.5,
        }

    def test_console_line_has_time_level_event_message_and_fields(self, stream: io.StringIO) -> None:
        logs.configure("console", "info", stream)
        logs.log_message(logging.INFO, "refreshed", "Done.", profile="default")
        assert re.fullmatch(r"\d\d:\d\d:\d\d INFO    refreshed        Done\. profile=default\n", read(stream))

    @pytest.mark.parametrize("style", ["json", "console"])
    def test_empty_fields_are_left_out_but_zero_is_kept(self, stream: io.StringIO, style: str) -> None:
        logs.configure(style, "info", stream)
        empty: Any = {"request_id": "", "http_status": None, "profiles": []}
        logs.log_message(logging.INFO, "refreshed", "Done.", failures=0, ready=False, **empty)
        line = read(stream)
        assert [name for name in ("request_id", "http_status", "profiles") if name in line] == []
        assert [name for name in ("failures", "ready") if name not in line] == []

    def test_auto_is_console_on_a_terminal(self) -> None:
        terminal = Terminal()
        logs.configure("auto", "info", terminal)
        logs.log_message(logging.INFO, "starting", "Hello.")
        assert not read(terminal).startswith("{")

    def test_auto_is_json_on_other_streams(self, stream: io.StringIO) -> None:
        logs.configure("auto", "info", stream)
        logs.log_message(logging.INFO, "starting", "Hello.")
        assert read(stream).startswith("{")

    @pytest.mark.parametrize(("level", "lines"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
    def test_lines_below_the_minimum_level_are_not_written(self, stream: io.StringIO, level: str, lines: int) -> None:
        logs.configure("json", level, stream)
        for each in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
            logs.log_message(each, "warning", "x")
        assert len(parse_lines(stream)) == lines

    def test_configuring_again_replaces_the_stream(self, stream: io.StringIO) -> None:
        logs.configure("json", "info", io.StringIO())
        logs.configure("json", "info", stream)
        logs.log_message(logging.INFO, "starting", "Hello.")
        assert len(parse_lines(stream)) == 1

    def test_json_line_of_a_bug_contains_the_traceback(self, stream: io.StringIO) -> None:
        logs.configure("json", "info", stream)
        _log_bug("oops")
        (line,) = parse_lines(stream)
        assert line["event"] == "bug"
        assert "ZeroDivisionError: oops" in line["traceback"]

    def test_line_of_a_library_has_the_event_library(self, stream: io.StringIO) -> None:
        logs.configure("json", "info", stream)
        logging.getLogger("some_library").warning("%d things", 3)
        (line,) = parse_lines(stream)
        assert (line["event"], line["message"]) == ("library", "3 things")


class TestHostileText:
    """Claims, responses and file names may contain any text."""

    @given(message=st.text(), value=st.text() | st.binary() | st.lists(st.text()))
    @example(message="\x0eyJabcdefghijk", value="\ud83eyJabcdefghijk")
    @example(message="\\u000eyJabcdefghijk", value="\\\\eyJabcdefghijk")
    @example(message="\n\r\x1b[2J\x00\u2028\ud800", value='"\\')
    def test_json_line_is_one_line_of_valid_json(self, message: str, value: object) -> None:
        stream = io.StringIO()
        logs.configure("json", "info", stream)
        logs.log_message(logging.INFO, "warning", "%s", **_any_field(value))
        logging.getLogger("broker").info("%s", message)
        first, second = read(stream).split("\n")[:-1]
        assert json.loads(first)["event"] == "warning"
        assert json.loads(second)["message"] == redacted(message)

    @given(message=st.text(), value=st.text(min_size=1))
    @example(message="\x1b[31m", value="a\nINFO refreshed Forged.")
    def test_console_line_is_one_printable_line(self, message: str, value: str) -> None:
        stream = io.StringIO()
        logs.configure("console", "info", stream)
        logs.log_message(logging.INFO, "warning", message.replace("%", ""), **_any_field(value))
        written = read(stream)
        assert written.endswith("\n")
        assert written[:-1].isprintable()

    def test_console_traceback_keeps_its_line_breaks_and_no_other_control_characters(self, stream: io.StringIO) -> None:
        logs.configure("console", "info", stream)
        _log_bug("\x1b[2J")
        assert "\x1b" not in read(stream)
        assert "\nTraceback (most recent call last):\n" in read(stream)


class TestSecrets:
    """No line contains a token, whichever code wrote it."""

    @pytest.mark.parametrize("style", ["json", "console"])
    @pytest.mark.parametrize("text", ["{}", "({})", "a={}&b", '"{}"', "\x0e{}", "\\{}", "\\u000{}", "\n{}", "x{}"])
    def test_token_is_removed_from_messages_and_fields(self, stream: io.StringIO, style: str, text: str) -> None:
        logs.configure(style, "debug", stream)
        token = make_jwt()
        fields: Any = {"subject": text.format(token), "profiles": [token], "fault": {"message": token}}
        logs.log_message(logging.INFO, "warning", text.format(token), **fields)
        assert "<redacted>" in read(stream)
        assert not any(part in read(stream) for part in token.split("."))

    @pytest.mark.parametrize("style", ["json", "console"])
    def test_token_is_removed_from_tracebacks(self, stream: io.StringIO, style: str) -> None:
        logs.configure(style, "debug", stream)
        _log_bug(f"cannot decode {make_jwt()}")
        assert "cannot decode <redacted>" in read(stream)
        assert not any(part in read(stream) for part in make_jwt().split("."))

    def test_beginning_of_a_token_is_removed(self, stream: io.StringIO) -> None:
        """Some STS messages quote part of a token."""
        logs.configure("json", "debug", stream)
        logs.log_message(logging.INFO, "warning", f"Bad token {make_jwt()[:60]}…")
        assert parse_lines(stream)[0]["message"] == "Bad token <redacted>…"

    def test_words_that_resemble_a_token_are_kept(self) -> None:
        assert redacted("eyJ eyJafjalla, keyJournal") == "eyJ eyJafjalla, keyJournal"

    @pytest.mark.parametrize("library", ["botocore.parsers", "urllib3.connectionpool", "botocore"])
    def test_debug_lines_of_libraries_are_not_written(self, stream: io.StringIO, library: str) -> None:
        """They quote requests and responses, including credentials."""
        logs.configure("json", "debug", stream)
        logging.getLogger(library).debug("Response body: SecretAccessKey")
        logging.getLogger(library).info("Response body: SecretAccessKey")
        assert read(stream) == ""

    def test_line_about_published_credentials_does_not_contain_them(self) -> None:
        generation = make_generation()
        line = str(log(events.Published(at=NOW, generation=generation, refresh_at=EPOCH)))
        assert generation.credentials.secret_access_key.reveal() not in line
        assert generation.credentials.session_token.reveal() not in line
        assert generation.credentials.access_key_id not in line


class TestEvents:
    """The line that each event produces."""

    def test_turns_and_decisions_produce_no_line(self) -> None:
        decision = Decision(action=Action.WAIT, phase=Phase.FRESH, reason=Reason.NOT_DUE)
        assert log(events.Turned(at=NOW)) == []
        assert log(events.Decided(at=NOW, profile="default", decision=decision)) == []

    def test_requested_refresh_is_logged(self) -> None:
        (line,) = log(events.RefreshRequested(at=NOW))
        assert (line["event"], line["level"]) == ("refresh_requested", "info")

    def test_observed_token_has_fingerprint_subject_and_expiry(self) -> None:
        token = make_token()
        (line,) = log(events.TokenObserved(at=NOW, profile="default", token=token))
        assert line["event"] == "token_observed"
        assert (line["token_fingerprint"], line["subject"]) == (token.fingerprint, "system:serviceaccount:demo:app")
        assert line["token_expires_at"] == "2026-11-23T13:00:00Z"
        assert token.raw.reveal() not in str(line)

    @pytest.mark.parametrize("error", [TokenUnavailable("No token."), TokenExpired("Old.", "Wait.")])
    def test_unfit_token_is_a_warning_with_its_reason(self, error: TokenUnavailable | TokenExpired) -> None:
        (line,) = log(events.TokenUnfit(at=NOW, profile="default", error=error))
        assert (line["event"], line["level"], line["reason"]) == ("token_unfit", "warning", error.reason)
        assert line["message"] == str(error)

    def test_exchange_is_logged_at_debug_level_with_its_duration(self) -> None:
        (line,) = log(events.Exchanged(at=NOW, generation=make_generation(), duration=timedelta(milliseconds=1234)))
        assert (line["event"], line["level"], line["exchange_duration_seconds"]) == ("exchanged", "debug", 1.234)

    @pytest.mark.parametrize(
        ("skew", "found"),
        [
            (None, None),
            (timedelta(seconds=60), None),
            (timedelta(seconds=-60), None),
            (timedelta(seconds=61), "61 s behind the clock of STS"),
            (timedelta(minutes=-5), "300 s ahead of the clock of STS"),
        ],
    )
    def test_clock_skew_above_a_minute_is_a_warning(self, skew: timedelta | None, found: str | None) -> None:
        generation = make_generation(clock_skew=skew)
        warnings = log(events.Exchanged(at=NOW, generation=generation, duration=timedelta(0)))[1:]
        assert [line["event"] for line in warnings] == (["clock_skewed"] if found else [])
        assert all((found or "") in line["message"] for line in warnings)

    @pytest.mark.parametrize(
        ("before", "now", "expected"),
        [
            (None, {}, []),
            (None, {"packed_policy_percent": 79, "session_token_percent": 79}, []),
            (None, {"packed_policy_percent": 80}, [{"packed_policy_percent": 80}]),
            ({}, {"packed_policy_percent": 80}, [{"packed_policy_percent": 80}]),
            ({"packed_policy_percent": 80}, {"packed_policy_percent": 80}, []),
            ({"packed_policy_percent": 95}, {"packed_policy_percent": 81}, [{"packed_policy_percent": 81}]),
            ({"packed_policy_percent": 95}, {"packed_policy_percent": 79}, []),
            (
                {"packed_policy_percent": 90, "session_token_percent": 70},
                {"packed_policy_percent": 90, "session_token_percent": 99, "session_token_bytes": 4055},
                [{"session_token_percent": 99, "session_token_bytes": 4055}],
            ),
            (
                None,
                {"packed_policy_percent": 100, "session_token_percent": 100},
                [{"packed_policy_percent": 100}, {"session_token_percent": 100}],
            ),
        ],
    )
    def test_size_near_its_limit_is_a_warning_once_for_each_change(
        self, before: dict[str, int] | None, now: dict[str, int], expected: list[dict[str, int]]
    ) -> None:
        generation = make_generation(number=2, sizes=SessionSizes(**now))
        previous = None if before is None else make_credentials(sizes=SessionSizes(**before))
        event = events.Exchanged(at=NOW, generation=generation, duration=timedelta(0), previous=previous)
        warnings = log(event)[1:]
        fields = {"packed_policy_percent", "session_token_percent", "session_token_bytes"}
        assert [{name: line[name] for name in fields & line.keys()} for line in warnings] == expected
        for line in warnings:
            assert (line["event"], line["level"], line["profile"]) == ("size_near_limit", "warning", "default")
            assert "BROKER_SESSION_POLICY" in line["message"]

    @pytest.mark.parametrize(
        ("error", "phase", "level"),
        [
            (TokenRejected("No."), Phase.FRESH, "warning"),
            (TokenRejected("No."), Phase.ADVISORY, "warning"),
            (TokenRejected("No."), Phase.MANDATORY, "error"),
            (TokenRejected("No."), Phase.EXPIRED, "error"),
            (RoleDenied("No."), Phase.FRESH, "error"),
        ],
    )
    def test_failed_exchange_is_an_error_if_an_operator_must_act_or_credentials_are_about_to_lapse(
        self, error: TokenRejected | RoleDenied, phase: Phase, level: str
    ) -> None:
        (line,) = log(_make_failure(error, phase))
        assert (line["event"], line["level"], line["phase"]) == ("exchange_failed", level, phase.value)

    def test_failed_exchange_has_the_fields_that_aws_support_needs(self) -> None:
        error = RoleDenied("No.", "Fix it.", code="AccessDenied", http_status=403, request_id="r-1")
        (line,) = log(_make_failure(error, Phase.FRESH))
        assert (line["error_code"], line["http_status"], line["request_id"]) == ("AccessDenied", 403, "r-1")
        assert (line["reason"], line["failures"], line["retry_in_seconds"]) == ("role_denied", 3, 1.3)
        assert line["token_fingerprint"] == "0123456789ab"
        assert line["message"] == "No. Fix it."

    def test_exchange_without_a_response_has_no_fields_of_a_response(self) -> None:
        (line,) = log(_make_failure(TokenRejected("No."), Phase.FRESH))
        assert {"error_code", "http_status", "request_id"} & set(line) == set()

    def test_exchange_of_a_chained_role_names_the_source_generation(self) -> None:
        failure = _make_failure(RoleDenied("No."), Phase.FRESH, fingerprint="default-2")
        (line,) = log(failure)
        assert line["source_generation"] == "default-2"
        assert "token_fingerprint" not in line

    def test_bug_in_a_worker_has_the_frames_that_led_to_it(self) -> None:
        error = WorkerFailed("A bug.")
        error.stack = "share (x.py:1) > divide (y.py:2)"
        (line,) = log(_make_failure(error, Phase.FRESH))
        assert line["stack"] == error.stack

    def test_refresh_has_assumed_role_expiry_and_next_refresh(self) -> None:
        (line,) = log(events.Published(at=NOW, generation=make_generation(), refresh_at=EPOCH + timedelta(minutes=30)))
        assert (line["event"], line["reason"]) == ("refreshed", "refresh_due")
        assert line["assumed_role_arn"] == make_credentials().assumed_role_arn
        assert "role_arn" not in line, "that is the role, not the session"
        assert (line["expires_at"], line["next_refresh_at"]) == ("2026-11-23T13:00:00Z", "2026-11-23T12:30:00Z")

    def test_restored_generation_has_its_schedule_and_no_reason(self) -> None:
        due_at = EPOCH + timedelta(minutes=30)
        (line,) = log(events.Restored(at=NOW, generation=make_generation(), phase=Phase.FRESH, refresh_at=due_at))
        assert (line["event"], line["level"], line["generation"]) == ("restored", "info", 1)
        assert (line["expires_at"], line["next_refresh_at"]) == ("2026-11-23T13:00:00Z", "2026-11-23T12:30:00Z")
        assert "reason" not in line, "it is not a refresh"

    def test_failed_publish_has_the_sink(self) -> None:
        error = PublishError("Full.", "Make room.", sink="files", errno=28)
        event = events.PublishFailed(at=NOW, profile="a", error=error, failures=2, retry_in=timedelta(seconds=2))
        (line,) = log(event)
        assert (line["event"], line["level"], line["sink"]) == ("publish_failed", "error", "files")
        assert (line["failures"], line["retry_in_seconds"]) == (2, 2.0)


def test_list_of_events_matches_the_events_in_the_code() -> None:
    """Reads from the source the event of each `log_message(…)` and of each `extra={"event": …}`."""
    logged = set()
    for path in Path(broker.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in {"log_message", "logs.log_message"}:
                logged.add(ast.literal_eval(node.args[1]))
            if isinstance(node, ast.keyword) and node.arg == "extra" and isinstance(node.value, ast.Dict):
                given = dict(zip(map(ast.unparse, filter(None, node.value.keys)), node.value.values, strict=True))
                if isinstance(given["'event'"], ast.Constant):
                    logged.add(given["'event'"].value)
    assert sorted(logged | {"library"}) == sorted(logs.EVENTS)


def _any_field(value: object) -> Any:  # noqa: ANN401 - to give a field a value that its type does not allow
    return {"subject": value}


def _log_bug(message: str) -> None:
    """Log an exception with this message, as the end of the main loop does."""

    def fail() -> NoReturn:
        raise ZeroDivisionError(message)

    try:
        fail()
    except ZeroDivisionError:
        logging.getLogger("broker").critical("A bug.", exc_info=True, extra={"event": "bug"})


def _make_failure(error: ExchangeError, phase: Phase, fingerprint: str = "0123456789ab") -> events.ExchangeFailed:
    return events.ExchangeFailed(
        at=NOW,
        profile="default",
        error=error,
        duration=timedelta(seconds=1),
        fingerprint=fingerprint,
        phase=phase,
        failures=3,
        retry_in=timedelta(seconds=1.26),
    )
