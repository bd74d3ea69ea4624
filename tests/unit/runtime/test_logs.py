"""Log lines: parsable whatever is said, silent about secrets whoever speaks, and each event told in one way."""

from __future__ import annotations

import ast
import io
import json
import logging
import re
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import broker
from broker.core import events
from broker.core.errors import PublishError, RoleDenied, TokenExpired, TokenRejected, TokenUnavailable
from broker.core.model import redacted
from broker.core.schedule import Action, Decision, Phase, Reason
from broker.runtime import logs
from tests.support.fakes import EPOCH, FakeClock, make_credentials, make_generation, make_jwt, make_token

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broker.core.events import Event

NOW = FakeClock().read()
LIBRARIES = ("urllib3", "botocore", "broker")


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
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


def json_lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def told(event: Event) -> list[dict[str, Any]]:
    """Return the lines that the event is told as."""
    stream = io.StringIO()
    logs.configure("json", "debug", stream)
    logs.tell(event)
    return json_lines(stream)


def test_librarys_mistaken_log_call_does_not_show_its_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json", "debug", io.StringIO())
    logging.getLogger("urllib3").error("%d", "swordfish")
    assert "swordfish" not in "".join(capsys.readouterr())


class TestStyles:
    """JSON and console."""

    def test_json_line_has_time_level_event_message_and_fields(self, stream: io.StringIO) -> None:
        logs.configure("json", "info", stream)
        logs.say(logging.WARNING, "warning", "Look out.", profile="default", seconds=1.5)
        (line,) = json_lines(stream)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", line.pop("time"))
        assert line == {
            "level": "warning",
            "event": "warning",
            "message": "Look out.",
            "profile": "default",
            "seconds": 1.5,
        }

    def test_console_line_leaves_out_empty_fields(self, stream: io.StringIO) -> None:
        logs.configure("console", "info", stream)
        logs.say(logging.INFO, "refreshed", "Done.", profile="default", code="", http_status=None)
        assert re.fullmatch(r"\d\d:\d\d:\d\d INFO    refreshed        Done\. profile=default\n", stream.getvalue())

    def test_auto_is_console_on_a_terminal(self) -> None:
        terminal = Terminal()
        logs.configure("auto", "info", terminal)
        logs.say(logging.INFO, "starting", "Hello.")
        assert not terminal.getvalue().startswith("{")

    def test_auto_is_json_elsewhere(self, stream: io.StringIO) -> None:
        logs.configure("auto", "info", stream)
        logs.say(logging.INFO, "starting", "Hello.")
        assert stream.getvalue().startswith("{")

    @pytest.mark.parametrize(("level", "lines"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
    def test_level_is_the_least_that_is_written(self, stream: io.StringIO, level: str, lines: int) -> None:
        logs.configure("json", level, stream)
        for each in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
            logs.say(each, "warning", "x")
        assert len(json_lines(stream)) == lines

    def test_configuring_again_replaces_the_stream(self, stream: io.StringIO) -> None:
        logs.configure("json", "info", io.StringIO())
        logs.configure("json", "info", stream)
        logs.say(logging.INFO, "starting", "Hello.")
        assert len(json_lines(stream)) == 1

    def test_traceback_of_a_bug_is_part_of_its_json_line(self, stream: io.StringIO) -> None:
        logs.configure("json", "info", stream)
        _log_a_bug("oops")
        (line,) = json_lines(stream)
        assert line["event"] == "bug"
        assert "ZeroDivisionError: oops" in line["traceback"]

    def test_line_of_a_library_says_so(self, stream: io.StringIO) -> None:
        logs.configure("json", "info", stream)
        logging.getLogger("somebody").warning("%d things", 3)
        (line,) = json_lines(stream)
        assert (line["event"], line["message"]) == ("library", "3 things")


class TestHostileText:
    """Claims, answers and file names are anybody's text."""

    @given(message=st.text(), value=st.text() | st.binary() | st.lists(st.text()))
    @example(message="\x0eyJabcdefghijk", value="\ud83eyJabcdefghijk")
    @example(message="\\u000eyJabcdefghijk", value="\\\\eyJabcdefghijk")
    @example(message="\n\r\x1b[2J\x00\u2028\ud800", value='"\\')
    def test_json_line_is_one_line_of_valid_json(self, message: str, value: object) -> None:
        stream = io.StringIO()
        logs.configure("json", "info", stream)
        logs.say(logging.INFO, "warning", "%s", value=value)
        logging.getLogger("broker").info("%s", message)
        first, second = stream.getvalue().split("\n")[:-1]
        assert json.loads(first)["event"] == "warning"
        assert json.loads(second)["message"] == redacted(message)

    @given(message=st.text(), value=st.text(min_size=1))
    @example(message="\x1b[31m", value="a\nINFO refreshed Forged.")
    def test_console_line_is_one_printable_line(self, message: str, value: str) -> None:
        stream = io.StringIO()
        logs.configure("console", "info", stream)
        logs.say(logging.INFO, "warning", message.replace("%", ""), value=value)
        written = stream.getvalue()
        assert written.endswith("\n")
        assert written[:-1].isprintable()

    def test_console_traceback_keeps_its_lines_and_nothing_else_that_moves_the_cursor(
        self, stream: io.StringIO
    ) -> None:
        logs.configure("console", "info", stream)
        _log_a_bug("\x1b[2J")
        assert "\x1b" not in stream.getvalue()
        assert "\nTraceback (most recent call last):\n" in stream.getvalue()


class TestSecrets:
    """No token in any line, whatever wrote it."""

    @pytest.mark.parametrize("style", ["json", "console"])
    @pytest.mark.parametrize("text", ["{}", "({})", "a={}&b", '"{}"', "\x0e{}", "\\{}", "\\u000{}", "\n{}", "x{}"])
    def test_token_is_cut_out_of_messages_and_fields(self, stream: io.StringIO, style: str, text: str) -> None:
        logs.configure(style, "debug", stream)
        token = make_jwt()
        logs.say(logging.INFO, "warning", text.format(token), a=text.format(token), b=[token], c={"d": token})
        assert "<redacted>" in stream.getvalue()
        assert not any(part in stream.getvalue() for part in token.split("."))

    @pytest.mark.parametrize("style", ["json", "console"])
    def test_token_is_cut_out_of_tracebacks(self, stream: io.StringIO, style: str) -> None:
        logs.configure(style, "debug", stream)
        _log_a_bug(f"cannot decode {make_jwt()}")
        assert "cannot decode <redacted>" in stream.getvalue()
        assert not any(part in stream.getvalue() for part in make_jwt().split("."))

    def test_beginning_of_a_token_is_cut_out_too(self, stream: io.StringIO) -> None:
        """STS quotes some in part."""
        logs.configure("json", "debug", stream)
        logs.say(logging.INFO, "warning", f"Bad token {make_jwt()[:60]}…")
        assert json_lines(stream)[0]["message"] == "Bad token <redacted>…"

    def test_ordinary_words_are_left_alone(self) -> None:
        assert redacted("eyJ eyJafjalla, keyJournal") == "eyJ eyJafjalla, keyJournal"

    @pytest.mark.parametrize("library", ["botocore.parsers", "urllib3.connectionpool", "botocore"])
    def test_debug_lines_of_libraries_are_never_heard(self, stream: io.StringIO, library: str) -> None:
        """They quote requests and answers, keys and all."""
        logs.configure("json", "debug", stream)
        logging.getLogger(library).debug("Response body: SecretAccessKey")
        logging.getLogger(library).info("Response body: SecretAccessKey")
        assert stream.getvalue() == ""

    def test_credentials_are_in_no_line_about_them(self) -> None:
        generation = make_generation()
        line = str(told(events.Published(at=NOW, generation=generation, refresh_at=EPOCH)))
        assert generation.credentials.secret_access_key.reveal() not in line
        assert generation.credentials.session_token.reveal() not in line
        assert generation.credentials.access_key_id not in line


class TestEvents:
    """What each event is told as."""

    def test_turns_and_decisions_are_told_as_nothing(self) -> None:
        decision = Decision(action=Action.WAIT, phase=Phase.FRESH, reason=Reason.NOT_DUE)
        assert told(events.Turned(at=NOW)) == []
        assert told(events.Decided(at=NOW, profile="default", decision=decision)) == []

    def test_requested_refresh_is_told(self) -> None:
        (line,) = told(events.RefreshRequested(at=NOW))
        assert (line["event"], line["level"]) == ("refresh_requested", "info")

    def test_observed_token_is_told_by_fingerprint_subject_and_expiry(self) -> None:
        token = make_token()
        (line,) = told(events.TokenObserved(at=NOW, profile="default", token=token))
        assert line["event"] == "token_observed"
        assert (line["token"], line["subject"]) == (token.fingerprint, "system:serviceaccount:demo:app")
        assert line["expiry"] == "2026-11-23T13:00:00Z"
        assert token.raw.reveal() not in str(line)

    @pytest.mark.parametrize("error", [TokenUnavailable("No token."), TokenExpired("Old.", "Wait.")])
    def test_unfit_token_is_a_warning_with_its_reason(self, error: TokenUnavailable | TokenExpired) -> None:
        (line,) = told(events.TokenUnfit(at=NOW, profile="default", error=error))
        assert (line["event"], line["level"], line["reason"]) == ("token_unfit", "warning", error.reason)
        assert line["message"] == str(error)

    def test_exchange_is_told_at_debug_level(self) -> None:
        (line,) = told(events.Exchanged(at=NOW, generation=make_generation(), duration=timedelta(milliseconds=1234)))
        assert (line["event"], line["level"], line["seconds"]) == ("exchanged", "debug", 1.234)

    @pytest.mark.parametrize(
        ("skew", "told_as"),
        [
            (None, None),
            (timedelta(seconds=60), None),
            (timedelta(seconds=-60), None),
            (timedelta(seconds=61), "61 s behind that"),
            (timedelta(minutes=-5), "300 s ahead of that"),
        ],
    )
    def test_clock_that_is_off_by_more_than_a_minute_is_warned_of(
        self, skew: timedelta | None, told_as: str | None
    ) -> None:
        generation = make_generation(clock_skew=skew)
        warnings = told(events.Exchanged(at=NOW, generation=generation, duration=timedelta(0)))[1:]
        assert [line["event"] for line in warnings] == (["clock_skewed"] if told_as else [])
        assert all((told_as or "") in line["message"] for line in warnings)

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
    def test_failed_exchange_is_an_error_where_somebody_must_act(
        self, error: TokenRejected | RoleDenied, phase: Phase, level: str
    ) -> None:
        (line,) = told(_failed(error, phase))
        assert (line["event"], line["level"], line["phase"]) == ("exchange_failed", level, phase.value)

    def test_failed_exchange_has_what_support_will_ask_for(self) -> None:
        error = RoleDenied("No.", "Mend it.", code="AccessDenied", http_status=403, request_id="r-1")
        (line,) = told(_failed(error, Phase.FRESH))
        assert (line["code"], line["http_status"], line["request_id"]) == ("AccessDenied", 403, "r-1")
        assert (line["reason"], line["failures"], line["retry_in_seconds"]) == ("role_denied", 3, 1.3)
        assert line["message"] == "No. Mend it."

    def test_refresh_is_told_with_role_expiry_and_next_refresh(self) -> None:
        (line,) = told(events.Published(at=NOW, generation=make_generation(), refresh_at=EPOCH + timedelta(minutes=30)))
        assert (line["event"], line["reason"]) == ("refreshed", "refresh_due")
        assert line["role_arn"] == make_credentials().assumed_role_arn
        assert (line["expiry"], line["next_refresh"]) == ("2026-11-23T13:00:00Z", "2026-11-23T12:30:00Z")

    def test_failed_publish_names_the_sink(self) -> None:
        error = PublishError("Full.", "Make room.", sink="files", errno=28)
        event = events.PublishFailed(at=NOW, profile="a", error=error, failures=2, retry_in=timedelta(seconds=2))
        (line,) = told(event)
        assert (line["event"], line["level"], line["sink"]) == ("publish_failed", "error", "files")
        assert (line["failures"], line["retry_in_seconds"]) == (2, 2.0)


def test_closed_list_of_events_is_exactly_what_the_code_says() -> None:
    """Read from the source: the event of each `say(…)`, and of each `extra={"event": …}`."""
    said = set()
    for path in Path(broker.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in {"say", "logs.say"}:
                said.add(ast.literal_eval(node.args[1]))
            if isinstance(node, ast.keyword) and node.arg == "extra" and isinstance(node.value, ast.Dict):
                given = dict(zip(map(ast.unparse, filter(None, node.value.keys)), node.value.values, strict=True))
                if isinstance(given["'event'"], ast.Constant):
                    said.add(given["'event'"].value)
    assert sorted(said | {"library"}) == sorted(logs.EVENTS)


def _log_a_bug(message: str) -> None:
    """Log an exception with this message as the loop's end does."""

    def fail() -> NoReturn:
        raise ZeroDivisionError(message)

    try:
        fail()
    except ZeroDivisionError:
        logging.getLogger("broker").critical("A bug.", exc_info=True, extra={"event": "bug"})


def _failed(error: TokenRejected | RoleDenied, phase: Phase) -> events.ExchangeFailed:
    return events.ExchangeFailed(
        at=NOW,
        profile="default",
        error=error,
        duration=timedelta(seconds=1),
        fingerprint="0123456789ab",
        phase=phase,
        failures=3,
        retry_in=timedelta(seconds=1.26),
    )
