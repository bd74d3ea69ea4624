"""What is told beyond the one cause: files of others, times, roles that STS calls otherwise, what costs too long."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from broker.core.errors import ExchangeUnavailable
from broker.core.model import PublishSpec, StsSpec
from broker.doctor.checks import Outcome, Sheet
from broker.doctor.examiners.exchange import PATIENCE, Exchanges
from broker.doctor.examiners.issuer import examine_issuer
from broker.doctor.examiners.network import PathToSts
from broker.doctor.examiners.publish_directory import examine_directory
from broker.sts.network_path import Way
from broker.tokens.token_file import parse_token
from sandbox.aws import faults
from tests.doctor.faulty_pod import HOST
from tests.support.fakes import FakeClock, make_credentials, make_profile, make_token
from tests.support.fronts import Sayer, TlsFront

if TYPE_CHECKING:
    from pathlib import Path

    from broker.core.model import ProfileSpec, Proof, TemporaryCredentials
    from tests.doctor.faulty_pod import Ward

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


class TestDirectory:
    """Who is at home in the publish directory."""

    def look(self, directory: Path, proc: Path, **changes: int) -> Sheet:
        sheet = Sheet()
        spec = replace(PublishSpec(directory=str(directory)), **changes)  # type: ignore[arg-type]  # a mode
        examine_directory(spec, ["default"], sheet, proc=str(proc), now=NOW)
        return sheet

    def outcome(self, sheet: Sheet, check: str) -> Outcome:
        line = sheet.find(check)
        assert line is not None
        return line.outcome

    def test_what_is_no_stranger_is_passed_over(self, tmp_path: Path) -> None:
        good = {"Version": 1, "Expiration": "2026-11-24T12:30:00Z"}
        (tmp_path / "default.json").write_text(json.dumps(good))
        (tmp_path / "over.json").write_text(json.dumps({**good, "Expiration": "2026-11-24T11:59:59Z"}))
        (tmp_path / "two.json").write_text(json.dumps({**good, "Version": 2}))
        (tmp_path / "other.json").write_text("[1]")
        (tmp_path / "garbage.json").write_bytes(b"\xff")
        (tmp_path / "deep.json").write_text("[" * 60_000)
        (tmp_path / "link.json").symlink_to(tmp_path / "default.json")
        os.mkfifo(tmp_path / "pipe.json")
        (tmp_path / "directory.json").mkdir()
        sheet = self.look(tmp_path, tmp_path)
        assert self.outcome(sheet, "publish-neighbours") is Outcome.OK
        (tmp_path / "billing.json").write_text(json.dumps(good))
        assert self.outcome(self.look(tmp_path, tmp_path), "publish-neighbours") is Outcome.WARNING

    def test_volume_is_not_checked_where_the_kernel_tells_of_none(self, tmp_path: Path) -> None:
        assert self.outcome(self.look(tmp_path, tmp_path / "nowhere"), "publish-volume") is Outcome.NOT_CHECKED

    @pytest.mark.parametrize(
        ("mode_of_directory", "mode", "outcome"),
        [
            (0o750, 0o640, Outcome.OK),
            (0o755, 0o644, Outcome.OK),
            (0o701, 0o640, Outcome.OK),
            (0o700, 0o600, Outcome.OK),
            (0o700, 0o640, Outcome.WARNING),
            (0o750, 0o644, Outcome.WARNING),
        ],
    )
    def test_directory_must_let_in_whom_the_files_let_read(
        self, tmp_path: Path, mode_of_directory: int, mode: int, outcome: Outcome
    ) -> None:
        (tmp_path / "aws").mkdir()
        (tmp_path / "aws").chmod(mode_of_directory)
        assert self.outcome(self.look(tmp_path / "aws", tmp_path, mode=mode), "publish-directory") is outcome

    def test_probe_cannot_be_taken_for_credentials(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        seen: list[tuple[str, bytes]] = []
        rename = os.rename

        def watch(source: str, target: str, **options: int) -> None:
            rename(source, target, **options)
            seen.append((target, (tmp_path / target).read_bytes()))

        monkeypatch.setattr(os, "rename", watch)
        self.look(tmp_path, tmp_path)
        ((name, content),) = seen
        assert name.startswith(".doctor-")
        assert content.strip() == b""
        assert list(tmp_path.iterdir()) == []


class TestExchanges:
    """What may come of an exchange that the sandbox does not give."""

    class Exchanger:
        """Gives credentials of this life, after so long."""

        def __init__(self, clock: FakeClock, took: timedelta, credentials: TemporaryCredentials) -> None:
            self.clock, self.took, self.credentials, self.asked = clock, took, credentials, 0

        def exchange(self, profile: ProfileSpec, proof: Proof) -> TemporaryCredentials:
            del profile, proof
            self.asked += 1
            self.clock.advance(self.took)
            return self.credentials

        def client(self, region: str, *, signed: bool) -> object:
            raise ExchangeUnavailable(f"none in {region}, signed: {signed}")

    def make(self, took: timedelta, lifetime: timedelta) -> tuple[Sheet, Exchanger]:
        clock, sheet = FakeClock(), Sheet()
        exchanger = self.Exchanger(clock, took, make_credentials(lifetime=lifetime))
        exchanges = Exchanges(exchanger, StsSpec(endpoint_url="http://a"), sheet, clock)  # type: ignore[arg-type]
        for name in ("one", "two", "three"):
            exchanges.make(make_profile(name), name, make_token(), "")
        return sheet, exchanger

    def test_all_together_are_given_a_minute(self) -> None:
        sheet, exchanger = self.make(PATIENCE * 0.6, timedelta(hours=1))
        assert exchanger.asked == 2
        line = sheet.find("exchange", "three")
        assert line is not None
        assert (line.outcome, "--profile three" in line.found) == (Outcome.NOT_CHECKED, True)

    def test_less_than_was_asked_for_is_told_as_such(self) -> None:
        sheet, _ = self.make(timedelta(0), timedelta(minutes=15))
        line = sheet.find("session", "one")
        assert line is not None
        assert "3600 s were asked for, and STS gave less" in line.remedy


def test_sts_that_does_not_know_get_caller_identity_is_a_warning(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    ward.go_direct()
    ward.box.sts.always(
        faults.Refuse(code="NotImplemented", message="A header", status=501), action="GetCallerIdentity"
    )
    report = ward.report(monkeypatch)
    assert (report.failed, list(report.warned)) == ({}, ["identity"])
    assert "NotImplemented" in report.warned["identity"]


def test_other_identity_than_sts_said_is_a_cause(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    ward.box.sts.always(faults.Spoiled.WRONG_ROLE, action="GetCallerIdentity")
    report = ward.report(monkeypatch)
    assert list(report.failed) == ["identity"]
    assert "somebody-else" in report.failed["identity"]


def test_policy_without_a_token_is_not_asked(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    ward.question = replace(ward.question, policy="/nowhere", token="/nowhere")
    report = ward.report(monkeypatch)
    assert list(report.failed) == ["token-file"]
    assert report.because("trust-policy") == "token-file"


def test_denial_names_the_way_to_ask_the_policy(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    ward.trust("unasked", subjects=["system:serviceaccount:other:app"])
    report = ward.report(monkeypatch)
    assert "--policy iam says which condition" in report.of(Outcome.NOT_CHECKED)["trust-policy"]


def test_two_tokens_and_two_regions_are_told_apart(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    other = ward.box.projected_token(ward.disk / "other-volume", audience="vault")
    ward.canaries.add("the other token", other.path.read_text())
    ward.settings(f"""
region: eu-west-1
role_arn: {ward.hospital.role_arn}
profiles:
  - name: one
  - {{name: two, web_identity_token_file: "{other.path}", region: us-east-1}}
""")
    report = ward.report(monkeypatch)
    assert list(report.failed) == ["audience (two)", "sts-proxy (us-east-1)"]
    assert report.because("exchange (two)") == "audience (two)"
    assert "exchange (one)" in report.of(Outcome.OK)
    assert "sts-tls (eu-west-1)" in report.of(Outcome.OK)


def test_region_that_is_new_is_believed_when_it_resolves(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    ward.hospital.proxy.routes["sts.mars-north-1.amazonaws.com:443"] = ward.hospital.sts_front.port
    ward.hospital.sts_front.context = ward.hospital.authority.server("sts.mars-north-1.amazonaws.com")
    ward.environ["AWS_REGION"] = "mars-north-1"
    report = ward.report(monkeypatch)
    assert (report.failed, report.warned) == ({}, {})
    assert "mars-north-1, which this release does not know" in report.of(Outcome.OK)["region"]


def test_certificate_that_is_valid_by_the_clock_of_sts_is_put_down_to_our_clock(ward: Ward) -> None:
    """Let a server's clock be 30 days ahead: its certificate is not valid yet, by ours."""
    there = datetime.now(UTC) + timedelta(days=30)
    date = there.strftime("%a, %d %b %Y %H:%M:%S GMT").encode()
    for starts, outcome in ((timedelta(days=20), Outcome.FOLLOWS), (timedelta(days=40), Outcome.FAILED)):
        sayer = Sayer(b"HTTP/1.1 200 OK\r\nDate: " + date + b"\r\nContent-Length: 0\r\n\r\n")
        context = ward.hospital.authority.server("localhost", starts=starts)
        with TlsFront(context, sayer.port) as front:
            sheet, url = Sheet(), f"https://localhost:{front.port}"
            bundle = str(ward.hospital.authority.bundle)
            way = Way(url=url, proxy="", ca_file=bundle, regions=frozenset())
            spec, clock = StsSpec(endpoint_url=url), FakeClock(datetime.now(UTC))
            walk = PathToSts(way, spec, "eu-west-1", sheet, clock, resolve=lambda _, __: ["127.0.0.1"], of="")
            reached = walk.examine()
        sayer.__exit__()
        line = sheet.find("sts-tls")
        assert line is not None
        assert (line.outcome, reached.is_reached) == (outcome, False)
        assert reached.skew is not None
        assert reached.skew > timedelta(days=29)


def test_plain_endpoint_goes_by_the_proxy_for_http(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    ward.environ |= {"AWS_ENDPOINT_URL_STS": "http://sts.plain.example", "HTTP_PROXY": ward.box.sts.url, "NO_PROXY": ""}
    report = ward.report(monkeypatch)
    assert "(HTTP_PROXY)" in report.of(Outcome.OK)["sts-proxy"]
    assert "cross the network unencrypted" in report.warned["sts-tls"]
    assert "exchange" in report.of(Outcome.OK), "the sandbox's STS asks for no path"


@pytest.mark.parametrize(("starts", "outcome"), [(20, Outcome.FOLLOWS), (40, Outcome.FAILED)])
def test_issuers_certificate_that_is_valid_by_the_clock_of_sts_is_put_down_to_our_clock(
    ward: Ward, starts: int, outcome: Outcome
) -> None:
    """Let STS's clock be 30 days ahead of ours; of both certificates, ours says that they are not valid yet."""
    hospital, sheet = ward.hospital, Sheet()
    hospital.issuer_front.context = hospital.authority.server(HOST, starts=timedelta(days=starts))
    examine_issuer(
        parse_token(ward.volume.path.read_text(), origin="a test"),
        sheet,
        environ=ward.environ,
        ca_bundle=str(hospital.authority.bundle),
        now=datetime.now(UTC) + timedelta(days=30),
        of="",
    )
    line = sheet.find("issuer-documents")
    assert line is not None
    assert "is not valid yet" in line.found
    assert line.outcome is outcome
