"""A broker beside the doctor: what it says, and what is done where the memory of both is short."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

from sandbox.http.loopback import LoopbackServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sandbox.http.loopback import Request, Wire
    from tests.doctor.faulty_pod import Ward

ROLE = "arn:aws:iam::123456789012:role/doctor-app"
REFUSED = {
    "reason": "token_rejected",
    "message": "STS answered InvalidIdentityToken to a: Couldn't retrieve verification key from your provider.",
    "remedy": "Publish the keys.",
}


@pytest.fixture
def broker(ward: Ward) -> Iterator[Callable[[object], None]]:
    """Let a broker say this at its health listener."""
    servers: list[LoopbackServer] = []

    def say(status: object) -> None:
        body = status if isinstance(status, bytes) else json.dumps(status).encode()

        def answer(request: Request, wire: Wire) -> None:
            wire.send(200 if request.path == "/status" else 404, {}, body)

        servers.append(LoopbackServer(answer=answer))
        ward.environ["BROKER_HEALTH_ADDRESS"] = f"127.0.0.1:{servers[-1].port}"

    yield say
    for server in servers:
        server.stop()


def status(*, ready: bool, fault: dict[str, str] | None = None, skew: object = 0.1, role: str = ROLE) -> dict[str, Any]:
    profile = {"profile": "default", "role_arn": role, "ready": ready, "fault": fault}
    return {"ready": ready, "clock_skew_seconds": skew, "profiles": [profile]}


Say: TypeAlias = "Callable[[object], None]"


def test_ready_broker_is_told(ward: Ward, broker: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    broker(status(ready=True))
    report = ward.report(monkeypatch)
    assert (report.failed, report.warned) == ({}, {})
    assert "is ready" in report.text


def test_broker_that_is_not_ready_while_all_is_well_is_told_how_to_try_at_once(
    ward: Ward, broker: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker(status(ready=False, fault=REFUSED))
    report = ward.report(monkeypatch)
    assert (report.failed, list(report.warned), report.code) == ({}, ["broker"], 0)
    assert "is not ready (default: token_rejected)" in report.warned["broker"]
    assert "SIGHUP" in report.warned["broker"]


def test_broker_that_started_with_other_settings_is_told_to_be_restarted(
    ward: Ward, broker: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker(status(ready=True, role=f"{ROLE}-of-yesterday"))
    report = ward.report(monkeypatch)
    assert (report.failed, list(report.warned)) == ({}, ["broker"])
    assert "default for arn:aws:iam::123456789012:role/doctor-app-of-yesterday" in report.warned["broker"]
    assert "restart it" in report.warned["broker"]


def test_broker_that_is_not_ready_follows_from_the_cause(
    ward: Ward, broker: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker(status(ready=False, fault=REFUSED))
    ward.environ["BROKER_AUDIENCE"] = "vault"
    report = ward.report(monkeypatch)
    assert list(report.failed) == ["audience"]
    assert report.because("broker") == "audience"


@pytest.mark.parametrize("said", [b"", b"<html>", b"[]", b"{}", b'{"profiles": 1}', b"[" * 100_000, b"\xff"])
def test_something_else_at_its_port_is_no_broker(
    ward: Ward, broker: Say, monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    broker(said)
    report = ward.report(monkeypatch)
    assert (report.failed, report.warned) == ({}, {})
    assert "No broker answers at 127.0.0.1:" in report.text


@pytest.mark.parametrize("skew", ["x", True, 1e300, float("nan"), float("inf"), None, []])
def test_whatever_it_says_of_the_clock_is_no_bug(
    ward: Ward, broker: Say, monkeypatch: pytest.MonkeyPatch, skew: object
) -> None:
    broker(status(ready=True, skew=skew))
    assert ward.report(monkeypatch).code == 0


@pytest.mark.parametrize("profiles", [[1], [{}], [{"profile": 1, "fault": "x"}], [{"profile": "\x1b[2J", "fault": {}}]])
def test_whatever_stands_in_its_status_is_no_bug(
    ward: Ward, broker: Say, monkeypatch: pytest.MonkeyPatch, profiles: list[object]
) -> None:
    broker({"ready": False, "clock_skew_seconds": "x", "profiles": profiles})
    report = ward.report(monkeypatch)
    assert list(report.warned) == ["broker"]
    assert "\x1b" not in report.text


class TestShortMemory:
    """The doctor goes without botocore, and says so."""

    @pytest.fixture(autouse=True)
    def _short(self, ward: Ward) -> None:
        ward.memory_left(10)

    def test_exchange_of_the_running_broker_is_taken(
        self, ward: Ward, broker: Say, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        broker(status(ready=True))
        report = ward.report(monkeypatch)
        assert (report.failed, list(report.warned)) == ({}, ["memory"])
        assert "10 MiB of the container's memory are left" in report.warned["memory"]
        assert "The running broker has credentials, and no fault." in report.text
        assert report.because("sts-tls") == report.because("identity") == "memory"
        assert ward.box.sts.calls == []

    def test_refusal_that_the_running_broker_met_is_taken(
        self, ward: Ward, broker: Say, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        broker(status(ready=False, fault=REFUSED))
        report = ward.report(monkeypatch)
        assert list(report.failed) == ["exchange"]
        assert "verification key from your provider. -> Publish the keys." in report.failed["exchange"]

    def test_refusal_is_put_down_to_what_explains_it(
        self, ward: Ward, broker: Say, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        broker(status(ready=False, fault=REFUSED))
        ward.hospital.house.publish("/openid/v1/jwks", b"", status=403)
        report = ward.report(monkeypatch)
        assert list(report.failed) == ["issuer-documents"]
        assert report.because("exchange") == "issuer-documents"

    def test_clock_is_the_one_that_the_running_broker_measured(
        self, ward: Ward, broker: Say, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        broker(status(ready=True, skew=700.0))
        assert list(ward.report(monkeypatch).failed) == ["clock"]

    @pytest.mark.parametrize("fault", [None, {**REFUSED, "reason": "publish_failed"}])
    def test_without_its_word_the_exchange_is_not_checked(
        self, ward: Ward, broker: Say, monkeypatch: pytest.MonkeyPatch, fault: dict[str, str] | None
    ) -> None:
        broker(status(ready=False, fault=fault))
        report = ward.report(monkeypatch)
        assert report.failed == {}
        assert report.because("exchange") == "memory"

    def test_botocore_is_not_loaded(self, ward: Ward) -> None:
        program = (
            "import os, sys\n"
            "from broker.doctor.command import Question, examine\n"
            "from broker.doctor.environment import Surroundings\n"
            "around = Surroundings(environ=os.environ, proc=sys.argv[1], cgroup=sys.argv[2])\n"
            "lines, code = examine(Question(), around)\n"
            "assert code == 0, lines\n"
            "assert 'pydantic' not in sys.modules, 'settings are loaded apart'\n"
            "print('botocore' in sys.modules)\n"
        )
        for cgroup, is_loaded in ((ward.cgroup, "False"), ("/nowhere", "True")):
            done = subprocess.run(
                [sys.executable, "-c", program, ward.proc, cgroup],
                env=ward.environ,
                capture_output=True,
                text=True,
                check=False,
                timeout=30,
            )
            assert (done.stderr, done.stdout.strip()) == ("", is_loaded)


def test_it_asks_to_be_the_first_to_go(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    ward.report(monkeypatch)
    assert (ward.disk / "proc/self/oom_score_adj").read_text() == "1000"


def test_memory_that_is_enough_is_ok(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    ward.memory_left(30)
    assert "30 MiB of the container's memory are left." in ward.report(monkeypatch).text


def test_pages_of_files_count_as_left_and_version_1_is_read(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    ward.memory_left(10)
    folder = ward.disk / "cgroup"
    (folder / "memory.stat").write_text(f"anon 5\ninactive_file {5 * 2**20}\nactive_file {6 * 2**20}\n")
    assert "21 MiB" in ward.report(monkeypatch).text
    (folder / "memory.max").rename(folder / "memory.max.away")
    (folder / "memory").mkdir()
    for name, number in {"limit": 64 * 2**20, "usage": 24 * 2**20}.items():
        (folder / f"memory/memory.{name}_in_bytes").write_text(f"{number}\n")
    assert "40 MiB" in ward.report(monkeypatch).text
    (folder / "memory/memory.limit_in_bytes").write_text("9223372036854771712\n")
    assert "no limit of memory that can be seen" in ward.report(monkeypatch).text
