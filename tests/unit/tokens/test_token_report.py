"""`sts-broker token`: a token's claims and dates, for people and for programs, and never the token itself."""

from __future__ import annotations

import io
import json
import os
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from broker.core.errors import TokenAudienceMismatch, TokenError, TokenMalformed, TokenUnavailable
from broker.doctor.checks import Outcome, Report
from broker.doctor.examiners.bound_token import TokenLocation, examine_claims
from broker.tokens.decoding import parse_token
from broker.tokens.token_report import document, find_fault, lines, rotates_at, show
from tests.support.fakes import AUDIENCE, EPOCH, make_jwt, make_token

if TYPE_CHECKING:
    from pathlib import Path

    from broker.core.model import BoundToken

HOUR = timedelta(hours=1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Write a token issued five minutes ago by the machine's clock, which `show` reads."""
    path = tmp_path / "token"
    path.write_text(make_jwt(issued_at=datetime.now(UTC) - timedelta(minutes=5)))
    return path


def shown(path: str, *, audience: str = "", as_json: bool = False, **environ: str) -> tuple[int, str]:
    """Return exit code and output."""
    output = io.StringIO()
    code = show(path=path, audience=audience, as_json=as_json, environ=environ, output=output)
    return code, output.getvalue()


def printed_lines(token: BoundToken, now: datetime, *, audience: str = AUDIENCE) -> dict[str, str]:
    """Return the lines that are printed for people, by name."""
    fault = find_fault(token, audience=audience, now=now, origin="/token")
    return dict(lines(token, fault, now, origin="/token"))


def with_not_before(token: BoundToken, not_before: datetime) -> BoundToken:
    return replace(token, claims=replace(token.claims, not_before=not_before))


def test_usable_token_is_printed_line_by_line() -> None:
    token = parse_token(make_jwt(), origin="/token")
    assert printed_lines(token, EPOCH + timedelta(minutes=5, seconds=3)) == {
        "token": f"{token.fingerprint} from /token (unverified)",
        "issuer": "https://oidc.example/cluster",
        "subject": "system:serviceaccount:demo:app",
        "audience": AUDIENCE,
        "pod": "demo/app-7d9c5b6f8-x2x7k",
        "node": "node-1",
        "key": "key-1 (RS256)",
        "session": "demo.app-7d9c5b6f8-x2x7k",
        "issued": "2026-11-23T12:00:00Z, 5 min 3 s ago",
        "rotation": "2026-11-23T12:48:00Z, in 42 min 57 s",
        "expires": "2026-11-23T13:00:00Z, in 54 min 57 s",
        "verdict": "can be sent to STS",
    }


def test_token_of_another_issuer_has_only_lines_with_a_value() -> None:
    token = make_token(issued_at=None, pod="", namespace="", service_account="")
    assert set(printed_lines(token, EPOCH)) == {
        "token",
        "issuer",
        "subject",
        "audience",
        "session",
        "expires",
        "verdict",
    }


def test_overdue_rotation_and_expiry_are_printed_as_past() -> None:
    printed = printed_lines(make_token(), EPOCH + timedelta(hours=2))
    assert printed["rotation"].endswith("overdue by 1 h 12 min")
    assert printed["expires"].endswith("expired 1 h ago")
    assert printed["verdict"].endswith("[token_expired]")


def test_token_from_the_future_reports_a_clock_that_is_behind() -> None:
    printed = printed_lines(make_token(), EPOCH - timedelta(minutes=5))
    assert printed["issued"] == "2026-11-23T12:00:00Z, in 5 min: this node's clock is behind"


@pytest.mark.parametrize(
    ("ahead", "is_usable"), [(timedelta(0), True), (timedelta(seconds=60), True), (timedelta(seconds=61), False)]
)
def test_token_that_is_not_yet_valid_cannot_be_sent(ahead: timedelta, is_usable: bool) -> None:
    token = with_not_before(make_token(), EPOCH + ahead)
    fault = find_fault(token, audience=AUDIENCE, now=EPOCH, origin="/token")
    assert (fault is None) is is_usable
    assert (printed_lines(token, EPOCH)["verdict"] == "can be sent to STS") is is_usable
    if fault is not None:
        assert fault.exit_code == 3
        assert fault.message == (
            "The token in /token is not valid before 2026-11-23T12:01:01Z (nbf), 1 min 1 s from now by this node's "
            "clock."
        )


@pytest.mark.parametrize("claim", ["not_before", "issued_at"])
@pytest.mark.parametrize("ahead", [-HOUR, timedelta(0), timedelta(seconds=60), timedelta(seconds=61), HOUR])
def test_doctor_has_the_same_verdict_about_dates_in_the_future(claim: str, ahead: timedelta) -> None:
    token = make_token(lifetime=timedelta(days=1))
    not_before, issued_at = (EPOCH + ahead, EPOCH) if claim == "not_before" else (EPOCH, EPOCH + ahead)
    token = replace(token, claims=replace(token.claims, not_before=not_before, issued_at=issued_at))
    report = Report()
    location = TokenLocation(path="/token", audience=AUDIENCE, publish_directory="/published", is_copy=True)
    may_be_sent = examine_claims(token, location, report, EPOCH)
    fault = find_fault(token, audience=AUDIENCE, now=EPOCH, origin="/token")
    assert may_be_sent is (fault is None)
    assert (report.find("token-life", "", Outcome.FAILED) is None) is (fault is None)


def test_token_issued_in_the_future_but_valid_now_can_be_sent() -> None:
    """`doctor` warns about it, and does not fail either."""
    token = with_not_before(make_token(issued_at=EPOCH + timedelta(minutes=5)), EPOCH)
    assert printed_lines(token, EPOCH)["verdict"] == "can be sent to STS"


@pytest.mark.parametrize(
    ("age", "printed"),
    [
        (timedelta(0), "0 s ago"),
        (timedelta(seconds=0.9), "0 s ago"),
        (timedelta(minutes=1), "1 min ago"),
        (timedelta(hours=25, minutes=1), "1 d 1 h ago"),
        (timedelta(days=2, seconds=5), "2 d 5 s ago"),
    ],
)
def test_spans_have_at_most_two_units(age: timedelta, printed: str) -> None:
    assert printed_lines(make_token(lifetime=timedelta(days=9)), EPOCH + age)["issued"].endswith(f", {printed}")


def test_claims_cannot_move_the_cursor() -> None:
    token = make_token(subject="a\x1b[2J\nverdict      fit", issuer="\ud800")
    assert all(value.isprintable() for value in printed_lines(token, EPOCH).values())


@pytest.mark.parametrize(
    ("lifetime", "after"),
    [
        (timedelta(minutes=10), timedelta(minutes=8)),
        (HOUR, timedelta(minutes=48)),
        (timedelta(hours=24), timedelta(hours=19, minutes=12)),
        (timedelta(days=365), timedelta(hours=24)),
    ],
)
def test_rotation_is_due_at_80_percent_or_after_a_day(lifetime: timedelta, after: timedelta) -> None:
    assert rotates_at(make_token(lifetime=lifetime)) == EPOCH + after


def test_rotation_of_a_token_without_iat_is_unknown() -> None:
    assert rotates_at(make_token(issued_at=None)) is None


def test_document_of_a_usable_token() -> None:
    token = parse_token(make_jwt(), origin="x")
    assert document(token, None, EPOCH + timedelta(minutes=50)) == {
        "fit": True,
        "fault": None,
        "fingerprint": token.fingerprint,
        "issuer": "https://oidc.example/cluster",
        "subject": "system:serviceaccount:demo:app",
        "audiences": [AUDIENCE],
        "namespace": "demo",
        "service_account": "app",
        "pod": "app-7d9c5b6f8-x2x7k",
        "node": "node-1",
        "algorithm": "RS256",
        "key_id": "key-1",
        "session_name": "demo.app-7d9c5b6f8-x2x7k",
        "issued_at": "2026-11-23T12:00:00Z",
        "expires_at": "2026-11-23T13:00:00Z",
        "age_seconds": 3000,
        "rotation_in_seconds": -120,
        "expires_in_seconds": 600,
    }


def test_document_of_an_unusable_token_without_iat() -> None:
    fault = TokenAudienceMismatch("Another audience.", "Change it.")
    shown = document(make_token(issued_at=None), fault, EPOCH)
    assert shown["fit"] is False
    assert shown["fault"] == {
        "reason": "token_audience_mismatch",
        "message": "Another audience.",
        "remedy": "Change it.",
    }
    assert (shown["issued_at"], shown["age_seconds"], shown["rotation_in_seconds"]) == (None, None, None)


def test_usable_token_is_exit_code_0(path: Path) -> None:
    code, output = shown(str(path))
    assert code == 0
    assert "verdict      can be sent to STS\n" in output


def test_unusable_token_is_shown_and_is_exit_code_3(path: Path) -> None:
    code, output = shown(str(path), audience="other")
    assert code == 3
    assert "has audience sts.amazonaws.com; expected other." in output


@pytest.mark.parametrize("as_json", [True, False])
def test_token_and_signature_are_never_shown(path: Path, as_json: bool) -> None:
    _, output = shown(str(path), as_json=as_json)
    assert not any(part in output for part in path.read_text().split("."))


def test_json_is_one_document(path: Path) -> None:
    code, output = shown(str(path), as_json=True)
    parsed: dict[str, Any] = json.loads(output)
    assert code == 0
    assert parsed["fit"] is True
    assert 290 < parsed["age_seconds"] < 3000


def test_path_and_audience_come_from_the_environment_if_not_given(path: Path) -> None:
    assert shown("", AWS_WEB_IDENTITY_TOKEN_FILE=str(path))[0] == 0
    assert shown("", AWS_WEB_IDENTITY_TOKEN_FILE=str(path), BROKER_AUDIENCE="other")[0] == 3
    assert shown("", audience=AUDIENCE, AWS_WEB_IDENTITY_TOKEN_FILE=str(path), BROKER_AUDIENCE="other")[0] == 0


def test_path_has_a_default() -> None:
    with pytest.raises(TokenUnavailable, match=r"No token in /var/run/secrets/sts.amazonaws.com/token"):
        shown("", AWS_WEB_IDENTITY_TOKEN_FILE="")


def test_pipe_is_accepted_on_the_command_line_only() -> None:
    """A shell gives `<(kubectl create token app)` as a pipe. A pipe in the settings would block the broker."""
    reading, writing = os.pipe()
    with os.fdopen(reading), os.fdopen(writing, "w") as pipe:
        pipe.write(make_jwt())
        pipe.close()
        path = f"/dev/fd/{reading}"
        with pytest.raises(TokenUnavailable, match="it is a FIFO"):
            shown("", AWS_WEB_IDENTITY_TOKEN_FILE=path)
        assert f"from {path} (unverified)" in shown(path)[1]


class TestStandardInput:
    """`-` stands for standard input."""

    @pytest.fixture
    def give(self, monkeypatch: pytest.MonkeyPatch) -> Any:  # noqa: ANN401 - a function
        def give(content: bytes) -> None:
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content), encoding="utf-8", errors="strict"))

        return give

    def test_token_is_read(self, path: Path, give: Any) -> None:  # noqa: ANN401 - a function
        give(path.read_bytes() + b"\n")
        code, output = shown("-")
        assert code == 0
        assert "from standard input (unverified)" in output

    @pytest.mark.parametrize("content", [b"", b" \n"])
    def test_nothing_is_unavailable(self, give: Any, content: bytes) -> None:  # noqa: ANN401 - a function
        give(content)
        with pytest.raises(TokenUnavailable, match="Nothing on standard input"):
            shown("-")

    def test_utf_16_is_named(self, give: Any) -> None:  # noqa: ANN401 - a function
        give(make_jwt().encode("utf-16"))
        with pytest.raises(TokenMalformed, match="standard input looks like UTF-16"):
            shown("-")

    @pytest.mark.parametrize("content", [b"\xff\xfe", b"abc", b"x" * 30_000])
    def test_nonsense_is_malformed(self, give: Any, content: bytes) -> None:  # noqa: ANN401 - a function
        give(content)
        with pytest.raises(TokenMalformed, match="standard input"):
            shown("-")


@given(
    issued=st.none() | st.integers(-60_000_000_000, 200_000_000_000),
    expires=st.integers(-60_000_000_000, 250_000_000_000),
    text=st.text(min_size=1),
)
def test_every_token_that_parses_can_be_shown(issued: int | None, expires: int, text: str) -> None:
    token = parse_token(make_jwt(iat=issued, exp=expires, sub=text, iss=text), origin="x")
    fault: TokenError | None = find_fault(token, audience=AUDIENCE, now=EPOCH, origin="x")
    assert all(value.isprintable() for _, value in lines(token, fault, EPOCH, origin="x"))
    assert json.dumps(document(token, fault, EPOCH)).isascii()
