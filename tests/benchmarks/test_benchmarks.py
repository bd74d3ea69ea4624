"""The benchmarks' rows, load generator and minimal STS."""

import io
import json
import socket
import threading
import urllib.error
import urllib.parse
import urllib.request
import xml.etree.ElementTree as ET
from datetime import UTC, datetime, tzinfo
from pathlib import Path

import pytest

from benchmarks import endpoint_client
from benchmarks.__main__ import main
from benchmarks.endpoint_client import EndpointClient
from benchmarks.lean_sts import LeanSts
from benchmarks.rows import Row, Skipped, table, with_figures


def credentials_response(**changes: str) -> bytes:
    """Return a correct response of the credentials endpoint, with these fields changed."""
    fields = {
        "AccessKeyId": "ASIA1",
        "SecretAccessKey": "secret",
        "Token": "token",
        "Expiration": "2099-01-01T00:00:00Z",
        **changes,
    }
    return b"HTTP/1.1 200 OK\r\n\r\n" + json.dumps(fields).encode()


def test_ratio_is_the_median_of_the_pairs() -> None:
    row = Row(figure="f", unit="s", samples=(2.0, 6.0, 30.0), against=(1.0, 2.0, 20.0), maximum_ratio=2.0)
    assert row.ratio == 2.0
    assert row.is_met is True


@pytest.mark.parametrize(
    ("maximum", "maximum_ratio", "met"), [(3.0, None, True), (2.9, None, False), (3.0, 1.4, False), (None, None, None)]
)
def test_every_limit_must_be_met(maximum: float | None, maximum_ratio: float | None, met: bool | None) -> None:
    row = Row(figure="f", unit="s", samples=(3.0,), against=(2.0,), maximum=maximum, maximum_ratio=maximum_ratio)
    assert row.is_met is met


def test_limit_of_a_ratio_without_a_reference_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing to compare with"):
        Row(figure="f", unit="s", samples=(3.0,), maximum_ratio=1.6)


def test_table_shows_median_spread_ratio_and_verdict() -> None:
    row = Row(figure="f", unit="s", samples=(1.0, 3.0, 2.0), against=(1.0, 1.0, 1.0), maximum_ratio=1.6)
    assert table([row]).splitlines()[-1] == "| f | 2.0 s (1.0 to 3.0) | 1.0 s | 2.00x | 1.6x | **no** |"


def test_skipped_figure_has_its_reason_and_no_verdict() -> None:
    row = Skipped(figure="f", reason="not installed: podman")
    assert table([row]).splitlines()[-1] == "| f | SKIPPED: not installed: podman | - | - | - | - |"
    assert row.is_met is None
    assert row.document() == {"figure": "f", "skipped": "not installed: podman"}


class TestPage:
    """`--write` replaces the table of docs/performance.md and the line below it."""

    FIGURES = f"{table([Row(figure='f', unit='s', samples=(1.0,))])}\n\nMedians of 1, today."

    def test_table_of_the_page_is_replaced_and_nothing_else(self) -> None:
        page = (Path(__file__).parents[2] / "docs/performance.md").read_text()
        written = with_figures(page, self.FIGURES)
        before, after = written.split(self.FIGURES)
        assert page.startswith(before)
        assert page.endswith(after)
        assert "Medians of" not in before + after
        assert "resident memory after an hour" not in before + after
        assert with_figures(written, self.FIGURES) == written

    def test_page_without_the_table_is_refused(self) -> None:
        with pytest.raises(ValueError, match="0 tables"):
            with_figures("# Performance\n", self.FIGURES)

    @pytest.mark.parametrize("arguments", [["--figure", "idle"], ["--json"]])
    def test_part_of_the_figures_is_not_written(self, arguments: list[str]) -> None:
        with pytest.raises(SystemExit) as ended:
            main(["--write", *arguments])
        assert ended.value.code == 2


def test_minimal_sts_issues_a_session_of_the_requested_role() -> None:
    listening = socket.create_server(("127.0.0.1", 0))
    sts = LeanSts(latency=0, lifetime=0, hang_up=True)
    threading.Thread(target=sts.serve, args=(listening,), daemon=True).start()
    url = f"http://127.0.0.1:{listening.getsockname()[1]}/"
    form = {
        "Action": "AssumeRoleWithWebIdentity",
        "RoleArn": "arn:aws:iam::123456789012:role/path/app",
        "RoleSessionName": "me",
        "DurationSeconds": "900",
    }
    with urllib.request.urlopen(url, urllib.parse.urlencode(form).encode()) as response:
        found = {
            element.tag.rpartition("}")[2]: element.text for _, element in ET.iterparse(io.BytesIO(response.read()))
        }
    assert found["Arn"] == "arn:aws:sts::123456789012:assumed-role/app/me"
    with pytest.raises(urllib.error.HTTPError, match="400"):
        urllib.request.urlopen(url, b"Action=GetCallerIdentity")


class _Year2100(datetime):
    """A clock in the year 2100."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> "_Year2100":
        """Return the first day of 2100."""
        assert tz is UTC
        return cls(2100, 1, 1, tzinfo=tz)


class TestEndpointClient:
    """Which responses of the credentials endpoint are correct."""

    def test_newer_generations_are_correct_and_older_ones_wrong(self) -> None:
        client = EndpointClient(address=("127.0.0.1", 1), target="/", token_file=Path("none"))
        for key in ("ASIA1", "ASIA1", "ASIA2"):
            client.check(credentials_response(AccessKeyId=key))
        assert (client.correct, client.wrong) == (3, [])
        client.check(credentials_response(AccessKeyId="ASIA1"), newest="ASIA1")  # requested before ASIA2 was seen
        assert (client.correct, client.wrong) == (4, [])
        client.check(credentials_response(AccessKeyId="ASIA1"))
        assert (client.correct, len(client.wrong)) == (4, 1)

    def test_repeated_body_is_wrong_once_it_has_expired_or_is_of_an_older_generation(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        client = EndpointClient(address=("127.0.0.1", 1), target="/", token_file=Path("none"))
        for _ in range(2):
            client.check(credentials_response())
        with monkeypatch.context() as later:
            later.setattr(endpoint_client, "datetime", _Year2100)
            client.check(credentials_response())
        assert (client.correct, len(client.wrong)) == (2, 1)
        client.check(credentials_response(AccessKeyId="ASIA2"))
        client.check(credentials_response())
        assert (client.correct, len(client.wrong)) == (3, 2)

    @pytest.mark.parametrize(
        "response",
        [
            b"",
            b"HTTP/1.1 503 Service Unavailable\r\n\r\n{}",
            b"HTTP/1.1 200 OK\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n\r\n{}",
            credentials_response()[:-20],
            credentials_response(Token=""),
            credentials_response(Expiration="2026-11-23T12:00:00Z"),
        ],
    )
    def test_lost_incomplete_blank_and_expired_responses_are_wrong(self, response: bytes) -> None:
        client = EndpointClient(address=("127.0.0.1", 1), target="/", token_file=Path("none"))
        client.check(response)
        assert (client.correct, len(client.wrong)) == (0, 1)
