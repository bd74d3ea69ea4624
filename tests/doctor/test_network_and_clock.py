"""The network path to STS and the node's clock: cases that the sandbox and a loopback network do not produce."""

from __future__ import annotations

import socket
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from broker.core.model import StsSpec
from broker.doctor.checks import Outcome, Report
from broker.doctor.examiners.connection_steps import STEP_SECONDS
from broker.doctor.examiners.network import PathToSts
from broker.doctor.examiners.node_clock import examine_clock, plausible_skew, skew_of
from broker.doctor.report import as_text
from broker.sts.client import new_client
from broker.sts.network_path import NetworkPath, find_network_path
from tests.support.fakes import FakeClock

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


class TestClock:
    """The clock skew that is read from servers."""

    @given(st.one_of(st.none(), st.booleans(), st.text(), st.floats(), st.integers()))
    def test_any_skew_from_a_server_can_be_added_to_a_time(self, reported: object) -> None:
        skew = plausible_skew(reported)
        if skew is not None:
            assert NOW + skew + timedelta(days=366)

    @given(st.datetimes(), st.sampled_from(["GMT", "+2359", "-2359", ""]))
    def test_skew_of_any_date_can_be_added_to_a_time(self, date: datetime, zone: str) -> None:
        skew = skew_of(f"{date:%a, %d %b} {date.year:04} {date:%H:%M:%S} {zone}", NOW)
        if skew is not None:
            assert NOW + skew + timedelta(days=366)

    @pytest.mark.parametrize("date", ["", "yesterday", "Tue, 24 Nov 2026 12:00:00", "Tue, 99 Nov 2026 12:00:00 GMT"])
    def test_header_without_a_valid_date_gives_no_skew(self, date: str) -> None:
        assert skew_of(date, NOW) is None

    def test_skew_is_measured_to_the_middle_of_the_second(self) -> None:
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
    def test_skew_over_one_minute_warns_and_over_five_fails(self, seconds: int | None, outcome: Outcome) -> None:
        report = Report()
        examine_clock(None if seconds is None else timedelta(seconds=seconds), report)
        assert [result.outcome for result in report.results] == [outcome]


class TestNetworkPath:
    """Failures that a loopback network does not produce."""

    def walk(self, **changes: object) -> Report:
        report = Report()
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

        walk = PathToSts(NetworkPath(**way), StsSpec(), "eu-west-1", report, FakeClock(), resolve=resolve, of="")  # type: ignore[arg-type]
        assert not walk.examine().is_reached
        return report

    @pytest.mark.parametrize(
        ("region", "changes", "url"),
        [
            ("eu-west-1", {}, "https://sts.eu-west-1.amazonaws.com"),
            ("cn-north-1", {}, "https://sts.cn-north-1.amazonaws.com.cn"),
            ("us-gov-west-1", {"use_fips": True}, "https://sts.us-gov-west-1.amazonaws.com"),
            ("us-east-1", {"use_fips": True, "use_dualstack": True}, "https://sts-fips.us-east-1.api.aws"),
            ("eu-west-1", {"endpoint_url": "https://minio.example:9000"}, "https://minio.example:9000"),
            ("eu-west-1", {"endpoint_url": "http://127.0.0.1:4566"}, "http://127.0.0.1:4566"),
        ],
    )
    def test_path_is_that_of_the_brokers_own_client(
        self, region: str, changes: dict[str, Any], url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HTTPS_PROXY", "proxy.example:3128")
        monkeypatch.setenv("HTTP_PROXY", "proxy.example:3128")
        monkeypatch.setenv("NO_PROXY", ".amazonaws.com.cn")
        spec = StsSpec(**changes)
        client = new_client(spec, region)
        way = find_network_path(client, spec)
        assert (way.url, way.proxy) == (
            url,
            "" if url.endswith(".cn") or url.startswith("http:") else "http://proxy.example:3128",
        )
        assert region in way.regions
        assert "proxy" not in repr(way), "a proxy URL may hold a password"
        assert Path(way.ca_file).is_file()
        assert find_network_path(client, replace(spec, ca_bundle="/ca.pem")).ca_file == "/ca.pem"
        client.close()

    def test_invalid_host_name_is_the_cause(self) -> None:
        result = self.walk(resolve=UnicodeError("label too long")).find("sts-name")
        assert result is not None
        assert (result.outcome, "not a valid host name" in result.found) == (Outcome.FAILED, True)

    def test_silent_name_server_is_the_cause_after_5_s(self) -> None:
        began = time.monotonic()
        result = self.walk(resolve="slow").find("sts-name")
        assert result is not None
        assert "no answer in 5 s" in result.found
        assert "port 53" in result.remedy
        assert time.monotonic() - began < STEP_SECONDS + 0.9

    @pytest.mark.parametrize("proxy", ["http://proxy:port", "http://:3128", "socks5://proxy:1080"])
    def test_malformed_proxy_url_is_the_cause(self, proxy: str) -> None:
        result = self.walk(resolve="127.0.0.1", proxy=proxy).find("sts-proxy")
        assert result is not None
        assert result.outcome is Outcome.FAILED
        assert result.remedy.startswith("Set HTTPS_PROXY=http://HOST:PORT, or unset it.")

    def test_password_of_a_proxy_is_not_printed(self) -> None:
        report = self.walk(
            resolve=socket.gaierror(socket.EAI_NONAME, "not known"),
            proxy="http://me:hunter-2-hunter@proxy.example:3128",
        )
        assert "hunter" not in as_text(report.results) + repr(report.results)
        assert "proxy.example:3128" in as_text(report.results)
