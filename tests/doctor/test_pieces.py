"""What the sandbox cannot show: odd mounts, odd dates, how lines are printed, causes that meet."""

from __future__ import annotations

import json
import socket
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.core.model import StsSpec
from broker.doctor.causes import Refusal, TokenGroup, settle
from broker.doctor.checks import CHECKS, Line, Outcome, Sheet
from broker.doctor.examiners.connection_steps import STEP_SECONDS
from broker.doctor.examiners.mounts import is_mounted_alone, mount_of
from broker.doctor.examiners.network import PathToSts
from broker.doctor.examiners.node_clock import examine_clock, plausible_skew, skew_of
from broker.doctor.report import as_json, as_text, verdict
from broker.sts.client import new_client
from broker.sts.network_path import Way, way_of
from tests.support.fakes import FakeClock

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


class TestMounts:
    """What /proc/self/mountinfo says."""

    @pytest.fixture
    def proc(self, tmp_path: Path) -> Path:
        (tmp_path / "proc/self").mkdir(parents=True)
        return tmp_path / "proc"

    def write(self, proc: Path, *lines: str) -> None:
        (proc / "self/mountinfo").write_text("\n".join(lines) + "\n")

    def test_nearest_mount_holds_a_path_and_the_last_of_two_counts(self, proc: Path) -> None:
        self.write(
            proc,
            "20 1 0:1 / / rw - overlay none rw",
            "21 20 0:2 / /nowhere rw shared:1 master:2 - ext4 /dev/x rw",
            "22 20 0:3 / /nowhere rw - tmpfs none rw",
            "23 20 0:4 / /nowhere/aws-other rw - ext4 none rw",
        )
        mount = mount_of("/nowhere/aws", str(proc))
        assert mount is not None
        assert (mount.point, mount.kind, mount.is_in_memory, mount.is_containers_own) == (
            "/nowhere",
            "tmpfs",
            True,
            False,
        )

    def test_spaces_in_a_mount_point_are_read(self, proc: Path) -> None:
        self.write(proc, r"20 1 0:1 / /no\040where rw - tmpfs none rw")
        mount = mount_of("/no where/aws", str(proc))
        assert mount is not None
        assert mount.point == "/no where"

    def test_link_is_followed_to_the_mount(self, proc: Path, tmp_path: Path) -> None:
        (tmp_path / "real").mkdir()
        (tmp_path / "link").symlink_to(tmp_path / "real")
        self.write(proc, "20 1 0:1 / / rw - overlay none rw", f"21 20 0:2 / {tmp_path}/real rw - tmpfs none rw")
        mount = mount_of(str(tmp_path / "link"), str(proc))
        assert mount is not None
        assert mount.is_in_memory

    @pytest.mark.parametrize("line", ["", "nonsense", "20 1 0:1 / /", "- tmpfs", "20 1 0:1 / /x rw - "])
    def test_line_that_makes_no_sense_is_passed_over(self, proc: Path, line: str) -> None:
        self.write(proc, line)
        assert mount_of("/x", str(proc)) is None

    def test_kernel_that_does_not_tell_is_no_fault(self, tmp_path: Path) -> None:
        assert mount_of("/x", str(tmp_path)) is None
        assert not is_mounted_alone("/x", str(tmp_path))

    def test_directory_is_not_a_file_that_is_mounted_alone(self, proc: Path, tmp_path: Path) -> None:
        self.write(proc, f"21 20 0:2 / {tmp_path} rw - tmpfs none rw")
        assert not is_mounted_alone(str(tmp_path), str(proc))


class TestClock:
    """How far this node is off."""

    @given(st.one_of(st.none(), st.booleans(), st.text(), st.floats(), st.integers()))
    def test_whatever_a_server_says_of_the_clocks_can_be_added_to_a_time(self, said: object) -> None:
        skew = plausible_skew(said)
        if skew is not None:
            assert NOW + skew + timedelta(days=366)

    @given(st.datetimes(), st.sampled_from(["GMT", "+2359", "-2359", ""]))
    def test_any_date_can_be_added_to_a_time(self, date: datetime, zone: str) -> None:
        skew = skew_of(f"{date:%a, %d %b} {date.year:04} {date:%H:%M:%S} {zone}", NOW)
        if skew is not None:
            assert NOW + skew + timedelta(days=366)

    @pytest.mark.parametrize("date", ["", "yesterday", "Tue, 24 Nov 2026 12:00:00", "Tue, 99 Nov 2026 12:00:00 GMT"])
    def test_header_that_tells_no_time_tells_no_skew(self, date: str) -> None:
        assert skew_of(date, NOW) is None

    def test_skew_is_counted_to_the_middle_of_the_second(self) -> None:
        assert skew_of("Tue, 24 Nov 2026 12:05:00 GMT", NOW) == timedelta(minutes=5, seconds=0.5)

    @pytest.mark.parametrize(
        ("seconds", "outcome"),
        [
            (0, Outcome.OK),
            (-59, Outcome.OK),
            (60, Outcome.OK),
            (61, Outcome.WARNING),
            (-300, Outcome.WARNING),
            (301, Outcome.FAILED),
            (None, Outcome.NOT_CHECKED),
        ],
    )
    def test_a_minute_is_a_warning_and_five_are_a_fault(self, seconds: int | None, outcome: Outcome) -> None:
        sheet = Sheet()
        examine_clock(None if seconds is None else timedelta(seconds=seconds), sheet)
        assert [line.outcome for line in sheet.lines] == [outcome]


outcomes = st.sampled_from(list(Outcome))
texts = st.text(max_size=30)
some_lines = st.lists(
    st.builds(
        Line,
        check=st.sampled_from(CHECKS),
        outcome=outcomes,
        found=texts,
        remedy=texts,
        because=texts,
        of=st.sampled_from(["", "partner"]),
    ),
    min_size=1,
)


class TestReport:
    """Text and JSON."""

    @given(some_lines)
    def test_whatever_stands_in_a_line_neither_moves_a_cursor_nor_breaks_json(self, lines: list[Line]) -> None:
        text, document = as_text(lines), json.loads(as_json(lines))
        assert all(each.isprintable() for each in text.splitlines())
        assert [each["verdict"] for each in document["checks"]] == [line.outcome.value for line in lines]
        assert document["verdict"] == verdict(lines)

    @given(st.text(alphabet="abcXYZ019_-", min_size=20), st.sampled_from(["found", "remedy"]))
    def test_what_looks_like_a_token_is_cut_out(self, tail: str, place: str) -> None:
        line = Line(check="exchange", outcome=Outcome.FAILED, **{"found": "", place: f"STS says eyJ{tail}.{tail}."})
        assert tail not in as_text([line])
        assert tail not in as_json([line])

    def test_summary_counts(self) -> None:
        ok = Line(check="settings", outcome=Outcome.OK, found="a")
        warning = Line(check="hidden", outcome=Outcome.WARNING, found="b", remedy="c")
        failed = Line(check="exchange", outcome=Outcome.FAILED, found="d", remedy="e", of="partner")
        assert as_text([ok]).splitlines()[-1] == "All is well."
        assert as_text([ok, warning]).splitlines()[-1] == "Nothing failed; 1 warning."
        assert as_text([ok, warning, warning]).splitlines()[-1] == "Nothing failed; 2 warnings."
        assert as_text([failed, warning]).splitlines()[-1] == "The cause is exchange (partner); 1 warning."
        assert as_text([failed, failed]).splitlines()[-1] == "The causes are exchange (partner), exchange (partner)."

    def test_lines_come_in_the_order_of_the_checks(self) -> None:
        sheet = Sheet()
        for check in reversed(CHECKS):
            sheet.ok(check, "")
        assert [line.check for line in sheet.lines] == list(CHECKS)


class TestCauses:
    """A refusal, and what was seen before it."""

    def sheet(self, *failed: str) -> Sheet:
        sheet = Sheet()
        for check in failed:
            sheet.failed(check, "It is wrong.", "Mend it.")
        return sheet

    def settled(self, sheet: Sheet, reason: str, said: str) -> dict[str, Outcome]:
        refusal = Refusal(reason=reason, said=said)
        group = TokenGroup(of="", accounts={"": "123456789012"}, refusals={"": refusal}, served=frozenset())
        settle(sheet, [group], {"": refusal})
        return {line.check: line.outcome for line in sheet.lines}

    @pytest.mark.parametrize(
        ("reason", "said", "follows"),
        [
            ("token_rejected", "Couldn't retrieve verification key", True),
            ("token_rejected", "The ID Token signature is invalid", True),
            ("exchange_unavailable", "STS answered IDPCommunicationError to a", True),
            ("exchange_unavailable", "Cannot connect", False),
            ("token_rejected", "No OpenIDConnect provider found", False),
            ("token_rejected", "Incorrect token audience", False),
            ("token_rejected", "Token expired: current date/time", False),
            ("request_invalid", "DurationSeconds", False),
        ],
    )
    def test_refusal_follows_from_the_issuer_where_that_explains_it(
        self, reason: str, said: str, *, follows: bool
    ) -> None:
        outcomes = self.settled(self.sheet("issuer-keys", "exchange"), reason, said)
        assert outcomes["issuer-keys"] is Outcome.FAILED
        assert (outcomes["exchange"] is Outcome.FOLLOWS) == follows

    def test_provider_that_is_missing_follows_from_a_url_that_iam_does_not_take(self) -> None:
        outcomes = self.settled(self.sheet("issuer", "exchange"), "token_rejected", "No OpenIDConnect provider found")
        assert outcomes == {"issuer": Outcome.FAILED, "exchange": Outcome.FOLLOWS}

    def test_role_that_denies_has_seen_the_token_verified(self) -> None:
        outcomes = self.settled(self.sheet("signature", "exchange"), "role_denied", "AccessDenied")
        assert outcomes == {"signature": Outcome.WARNING, "exchange": Outcome.FAILED}

    def test_private_key_that_is_published_is_a_fault_whatever_sts_says(self) -> None:
        sheet = Sheet()
        sheet.failed("issuer-keys", "PRIVATE KEY: Key key-1 has d.", "Take it away.")
        sheet.failed("signature", "It is not by the published key.", "Publish it.")
        settle(sheet, [TokenGroup(of="", accounts={"": "1"}, refusals={}, served=frozenset({""}))], {})
        assert [line.outcome for line in sheet.lines] == [Outcome.FAILED, Outcome.WARNING]

    def test_policy_explains_a_denial_and_nothing_else(self) -> None:
        assert self.settled(self.sheet("trust-policy", "exchange"), "role_denied", "AccessDenied") == {
            "trust-policy": Outcome.FAILED,
            "exchange": Outcome.FOLLOWS,
        }
        outcomes = self.settled(self.sheet("trust-policy", "exchange"), "exchange_throttled", "Rate exceeded")
        assert set(outcomes.values()) == {Outcome.FAILED}

    def test_expired_token_follows_from_a_clock_that_is_off(self) -> None:
        outcomes = self.settled(self.sheet("clock", "exchange", "identity"), "token_rejected", "Token expired: now")
        assert outcomes == {"clock": Outcome.FAILED, "exchange": Outcome.FOLLOWS, "identity": Outcome.FOLLOWS}


class TestWay:
    """Steps that a loopback network does not fail at."""

    def walk(self, **changes: object) -> Sheet:
        sheet = Sheet()
        way = {
            "url": "https://sts.eu-west-1.amazonaws.com",
            "proxy": "",
            "ca_file": "",
            "regions": frozenset({"eu-west-1"}),
            **{name: value for name, value in changes.items() if name != "resolve"},
        }

        def resolve(_: str, __: int) -> list[str]:
            found = changes["resolve"]
            if isinstance(found, Exception):
                raise found
            if found == "slow":
                time.sleep(STEP_SECONDS + 1)
            return [str(found)]

        walk = PathToSts(Way(**way), StsSpec(), "eu-west-1", sheet, FakeClock(), resolve=resolve, of="")  # type: ignore[arg-type]
        assert not walk.examine().is_reached
        return sheet

    @pytest.mark.parametrize(
        ("region", "changes", "url"),
        [
            ("eu-west-1", {}, "https://sts.eu-west-1.amazonaws.com"),
            ("cn-north-1", {}, "https://sts.cn-north-1.amazonaws.com.cn"),
            ("us-gov-west-1", {"use_fips": True}, "https://sts.us-gov-west-1.amazonaws.com"),
            ("us-east-1", {"use_fips": True, "use_dualstack": True}, "https://sts-fips.us-east-1.api.aws"),
            ("eu-west-1", {"endpoint_url": "https://minio.example:9000"}, "https://minio.example:9000"),
        ],
    )
    def test_way_is_the_one_that_the_brokers_client_takes(
        self, region: str, changes: dict[str, Any], url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HTTPS_PROXY", "proxy.example:3128")
        monkeypatch.setenv("NO_PROXY", ".amazonaws.com.cn")
        spec = StsSpec(**changes)
        client = new_client(spec, region)
        way = way_of(client, spec)
        assert (way.url, way.proxy) == (url, "" if url.endswith(".cn") else "http://proxy.example:3128")
        assert region in way.regions
        assert "proxy" not in repr(way), "it may have a password"
        assert Path(way.ca_file).is_file()
        assert way_of(client, replace(spec, ca_bundle="/ca.pem")).ca_file == "/ca.pem"
        client.close()

    def test_name_that_no_host_can_have_is_told(self) -> None:
        line = self.walk(resolve=UnicodeError("label too long")).find("sts-name")
        assert line is not None
        assert (line.outcome, "not a valid host name" in line.found) == (Outcome.FAILED, True)

    def test_name_server_that_never_answers_is_given_up(self) -> None:
        began = time.monotonic()
        line = self.walk(resolve="slow").find("sts-name")
        assert line is not None
        assert "no answer in 5 s" in line.found
        assert "port 53" in line.remedy
        assert time.monotonic() - began < STEP_SECONDS + 0.9

    @pytest.mark.parametrize("proxy", ["http://proxy:port", "http://:3128", "socks5://proxy:1080"])
    def test_proxy_that_is_none_is_told(self, proxy: str) -> None:
        line = self.walk(resolve="127.0.0.1", proxy=proxy).find("sts-proxy")
        assert line is not None
        assert (line.outcome, line.remedy) == (Outcome.FAILED, "Write HTTPS_PROXY=http://HOST:PORT.")

    def test_password_of_a_proxy_is_never_told(self) -> None:
        sheet = self.walk(
            resolve=socket.gaierror(socket.EAI_NONAME, "not known"),
            proxy="http://me:hunter-2-hunter@proxy.example:3128",
        )
        assert "hunter" not in as_text(sheet.lines) + repr(sheet.lines)
        assert "proxy.example:3128" in as_text(sheet.lines)

    def test_plain_http_is_a_warning_off_loopback(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.listen()
            sheet = Sheet()
            url = f"http://0.0.0.0:{server.getsockname()[1]}"
            way = Way(url=url, proxy="", ca_file="", regions=frozenset())
            spec = StsSpec(endpoint_url=url)

            def resolve(_: str, __: int) -> list[str]:
                return ["127.0.0.1"]

            walk = PathToSts(way, spec, "eu-west-1", sheet, FakeClock(), resolve=resolve, of="")
            import threading  # noqa: PLC0415 - for this test alone

            def answer() -> None:
                for _ in range(2):  # the step that connects, the step that asks
                    connection, _address = server.accept()
                    with connection:
                        connection.recv(4096)
                        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

            thread = threading.Thread(target=answer)
            thread.start()
            reached = walk.examine()
            thread.join()
        line = sheet.find("sts-tls")
        assert (reached.is_reached, reached.skew) == (True, None)
        assert line is not None
        assert (line.outcome, "cross the network unencrypted" in line.found) == (Outcome.WARNING, True)
