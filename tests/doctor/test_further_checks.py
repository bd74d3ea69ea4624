"""Checks beyond the single cause: foreign files, time limits, identities, several tokens and Regions."""

from __future__ import annotations

import json
import os
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from broker.core.errors import ExchangeUnavailable
from broker.core.model import PublishSpec, StsSpec
from broker.doctor.checks import Outcome, Report
from broker.doctor.examiners.exchange import TOTAL_TIMEOUT, Exchanges
from broker.doctor.examiners.issuer import examine_issuer
from broker.doctor.examiners.network import PathToSts
from broker.doctor.examiners.publish_directory import examine_directory
from broker.sts.network_path import NetworkPath
from broker.tokens.decoding import parse_token
from sandbox.aws import faults
from tests.doctor.faulty_pod import HOST
from tests.support.fakes import FakeClock, make_credentials, make_profile, make_token
from tests.support.fronts import Sayer, TlsFront
from tests.support.nobody import as_nobody

if TYPE_CHECKING:
    from broker.core.model import ProfileSpec, Proof, TemporaryCredentials
    from tests.doctor.faulty_pod import FaultyPod

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


class TestDirectory:
    """The publish directory: foreign files, modes, and the test file."""

    def examine(self, directory: Path, proc: Path, **changes: int) -> Report:
        report = Report()
        spec = replace(PublishSpec(directory=str(directory)), **changes)
        examine_directory(spec, ["default"], report, proc=str(proc), now=NOW)
        return report

    def outcome(self, report: Report, check: str) -> Outcome:
        result = report.find(check)
        assert result is not None
        return result.outcome

    def test_file_without_unexpired_credentials_is_not_a_neighbour(self, tmp_path: Path) -> None:
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
        report = self.examine(tmp_path, tmp_path)
        assert self.outcome(report, "publish-neighbours") is Outcome.OK
        (tmp_path / "billing.json").write_text(json.dumps(good))
        assert self.outcome(self.examine(tmp_path, tmp_path), "publish-neighbours") is Outcome.WARNING

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can change its user")
    def test_file_that_cannot_be_replaced_in_a_sticky_directory_fails(self, tmp_path: Path) -> None:
        with tempfile.TemporaryDirectory() as path:
            Path(path).chmod(0o1777)
            (Path(path) / "credentials").write_text("earlier")
            os.chown(Path(path) / "credentials", 4242, 4242)
            with as_nobody():
                result = self.examine(Path(path), tmp_path).find("publish-directory")
            assert result is not None
            assert result.outcome is Outcome.FAILED
            assert "user 4242 owns credentials, and the directory is sticky (mode 1777)" in result.found
            assert "runAsUser of the broker's container to 4242" in result.remedy
            assert [each.name for each in Path(path).iterdir()] == ["credentials"]

    def test_volume_is_not_checked_without_a_mount_table(self, tmp_path: Path) -> None:
        assert self.outcome(self.examine(tmp_path, tmp_path / "nowhere"), "publish-volume") is Outcome.NOT_CHECKED

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
    def test_directory_must_admit_everybody_who_may_read_the_files(
        self, tmp_path: Path, mode_of_directory: int, mode: int, outcome: Outcome
    ) -> None:
        (tmp_path / "aws").mkdir()
        (tmp_path / "aws").chmod(mode_of_directory)
        assert self.outcome(self.examine(tmp_path / "aws", tmp_path, mode=mode), "publish-directory") is outcome

    def test_test_file_cannot_be_mistaken_for_credentials(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen: list[tuple[str, bytes]] = []
        rename = os.rename

        def watch(source: str, target: str, **options: int) -> None:
            rename(source, target, **options)
            seen.append((target, (tmp_path / target).read_bytes()))

        monkeypatch.setattr(os, "rename", watch)
        self.examine(tmp_path, tmp_path)
        ((name, content),) = seen
        assert name.startswith(".doctor-")
        assert content.strip() == b""
        assert list(tmp_path.iterdir()) == []


class TestExchanges:
    """Results of an exchange that the sandbox does not produce."""

    class Exchanger:
        """Returns these credentials after this time."""

        def __init__(self, clock: FakeClock, took: timedelta, credentials: TemporaryCredentials) -> None:
            self.clock, self.took, self.credentials, self.asked = clock, took, credentials, 0

        def exchange(self, profile: ProfileSpec, proof: Proof) -> TemporaryCredentials:
            del profile, proof
            self.asked += 1
            self.clock.advance(self.took)
            return self.credentials

        def client(self, region: str, *, signed: bool) -> object:
            raise ExchangeUnavailable(f"none in {region}, signed: {signed}")

    def make(self, took: timedelta, lifetime: timedelta) -> tuple[Report, Exchanger]:
        clock, report = FakeClock(), Report()
        exchanger = self.Exchanger(clock, took, make_credentials(lifetime=lifetime))
        exchanges = Exchanges(exchanger, StsSpec(endpoint_url="http://a"), report, clock)  # type: ignore[arg-type]
        for name in ("one", "two", "three"):
            exchanges.exchange(make_profile(name), name, make_token(), "")
        return report, exchanger

    def test_exchanges_after_the_total_timeout_are_not_checked(self) -> None:
        report, exchanger = self.make(TOTAL_TIMEOUT * 0.6, timedelta(hours=1))
        assert exchanger.asked == 2
        result = report.find("exchange", "three")
        assert result is not None
        assert (result.outcome, "--profile three" in result.found) == (Outcome.NOT_CHECKED, True)

    def test_shorter_session_than_requested_is_reported(self) -> None:
        report, _ = self.make(timedelta(0), timedelta(minutes=15))
        result = report.find("session", "one")
        assert result is not None
        assert "requested 3600 s, and STS granted less" in result.remedy


def test_other_sts_without_get_caller_identity_is_a_warning(pod: FaultyPod, monkeypatch: pytest.MonkeyPatch) -> None:
    pod.use_plain_sts()
    pod.sandbox.sts.always(
        faults.Refuse(code="NotImplemented", message="A header", status=501), action="GetCallerIdentity"
    )
    report = pod.diagnose(monkeypatch)
    assert (report.failed, list(report.warned)) == ({}, ["identity"])
    assert "NotImplemented" in report.warned["identity"]


def test_other_identity_than_the_exchange_returned_is_the_cause(
    pod: FaultyPod, monkeypatch: pytest.MonkeyPatch
) -> None:
    pod.sandbox.sts.always(faults.Spoiled.WRONG_ROLE, action="GetCallerIdentity")
    report = pod.diagnose(monkeypatch)
    assert list(report.failed) == ["identity"]
    assert "somebody-else" in report.failed["identity"]


def test_trust_policy_is_not_checked_without_a_token(pod: FaultyPod, monkeypatch: pytest.MonkeyPatch) -> None:
    pod.options = replace(pod.options, policy="/nowhere", token="/nowhere")
    report = pod.diagnose(monkeypatch)
    assert list(report.failed) == ["token-file"]
    assert report.cause_of("trust-policy") == "token-file"


def test_denied_role_names_the_options_that_check_the_trust_policy(
    pod: FaultyPod, monkeypatch: pytest.MonkeyPatch
) -> None:
    pod.use_new_role("unasked", subjects=["system:serviceaccount:other:app"])
    report = pod.diagnose(monkeypatch)
    assert (
        "use the operator tools: add --policy iam if your shell may read the role in IAM"
        in report.results_with(Outcome.NOT_CHECKED)["trust-policy"]
    )


def test_two_tokens_and_two_regions_have_results_of_their_own(pod: FaultyPod, monkeypatch: pytest.MonkeyPatch) -> None:
    other = pod.sandbox.projected_token(pod.disk / "other-volume", audience="vault")
    pod.canaries.add("the other token", other.path.read_text())
    pod.write_settings(f"""
region: eu-west-1
role_arn: {pod.network.role_arn}
profiles:
  - name: one
  - {{name: two, web_identity_token_file: "{other.path}", region: us-east-1}}
""")
    report = pod.diagnose(monkeypatch)
    assert list(report.failed) == ["audience (two)", "sts-proxy (us-east-1)"]
    assert report.cause_of("exchange (two)") == "audience (two)"
    assert "exchange (one)" in report.results_with(Outcome.OK)
    assert "sts-tls (eu-west-1)" in report.results_with(Outcome.OK)


def test_unknown_region_whose_host_answers_is_ok(pod: FaultyPod, monkeypatch: pytest.MonkeyPatch) -> None:
    pod.network.proxy.routes["sts.mars-north-1.amazonaws.com:443"] = pod.network.sts_front.port
    pod.network.sts_front.context = pod.network.authority.server("sts.mars-north-1.amazonaws.com")
    pod.environ["AWS_REGION"] = "mars-north-1"
    report = pod.diagnose(monkeypatch)
    assert (report.failed, report.warned) == ({}, {})
    assert "mars-north-1, which this release does not know" in report.results_with(Outcome.OK)["region"]


def test_certificate_valid_by_the_clock_of_sts_follows_from_the_node_clock(pod: FaultyPod) -> None:
    """The server's clock is 30 days ahead, so its certificate is not valid yet by the node's clock."""
    there = datetime.now(UTC) + timedelta(days=30)
    date = there.strftime("%a, %d %b %Y %H:%M:%S GMT").encode()
    for starts, outcome in ((timedelta(days=20), Outcome.FOLLOWS), (timedelta(days=40), Outcome.FAILED)):
        sayer = Sayer(b"HTTP/1.1 200 OK\r\nDate: " + date + b"\r\nContent-Length: 0\r\n\r\n")
        context = pod.network.authority.server("localhost", starts=starts)
        with TlsFront(context, sayer.port) as front:
            report, url = Report(), f"https://localhost:{front.port}"
            bundle = str(pod.network.authority.bundle)
            way = NetworkPath(url=url, proxy="", ca_file=bundle, regions=frozenset())
            spec, clock = StsSpec(endpoint_url=url), FakeClock(datetime.now(UTC))
            walk = PathToSts(way, spec, "eu-west-1", report, clock, resolve=lambda _, __: ["127.0.0.1"], of="")
            reached = walk.examine()
        sayer.__exit__()
        result = report.find("sts-tls")
        assert result is not None
        assert (result.outcome, reached.is_reached) == (outcome, False)
        assert reached.skew is not None
        assert reached.skew > timedelta(days=29)


def test_plain_http_endpoint_is_examined_without_a_proxy(pod: FaultyPod, monkeypatch: pytest.MonkeyPatch) -> None:
    pod.environ |= {
        "AWS_ENDPOINT_URL_STS": pod.sandbox.sts.url,
        "HTTP_PROXY": "http://127.0.0.1:9",
        "NO_PROXY": "",
    }
    report = pod.diagnose(monkeypatch)
    assert report.results_with(Outcome.OK)["sts-proxy"].startswith("No proxy is used.")
    assert "exchange" in report.results_with(Outcome.OK)


def test_endpoint_for_all_services_is_reported_as_not_read(pod: FaultyPod, monkeypatch: pytest.MonkeyPatch) -> None:
    pod.environ["AWS_ENDPOINT_URL"] = "http://127.0.0.1:4566"
    assert "AWS_ENDPOINT_URL is set, but the broker does not read it" in pod.diagnose(monkeypatch).warned["settings"]
    pod.environ["AWS_ENDPOINT_URL_STS"] = pod.sandbox.sts.url
    assert "settings" not in pod.diagnose(monkeypatch).warned


@pytest.mark.parametrize(("starts", "outcome"), [(20, Outcome.FOLLOWS), (40, Outcome.FAILED)])
def test_issuer_certificate_valid_by_the_clock_of_sts_follows_from_the_node_clock(
    pod: FaultyPod, starts: int, outcome: Outcome
) -> None:
    """The clock of STS is 30 days ahead. By the node's clock, neither certificate is valid yet."""
    network, report = pod.network, Report()
    network.issuer_front.context = network.authority.server(HOST, starts=timedelta(days=starts))
    examine_issuer(
        parse_token(pod.volume.path.read_text(), origin="a test"),
        report,
        environ=pod.environ,
        ca_bundle=str(network.authority.bundle),
        now=datetime.now(UTC) + timedelta(days=30),
        of="",
    )
    result = report.find("issuer-documents")
    assert result is not None
    assert "is not valid yet" in result.found
    assert result.outcome is outcome
