"""The container that the doctor shares with the broker: the broker's own status, and its memory limit."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

from broker.doctor.memory_protection import hold_lock
from sandbox.http.loopback import LoopbackServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sandbox.http.loopback import Request, Wire
    from tests.doctor.faulty_pod import FaultyPod

ROLE = "arn:aws:iam::123456789012:role/doctor-app"
REFUSED = {
    "reason": "token_rejected",
    "message": "STS answered InvalidIdentityToken to a: Couldn't retrieve verification key from your provider.",
    "remedy": "Publish the keys.",
}


@pytest.fixture
def broker(pod: FaultyPod) -> Iterator[Callable[[object], None]]:
    """Return a function that starts a health listener with this status."""
    servers: list[LoopbackServer] = []

    def serve(status: object) -> None:
        body = status if isinstance(status, bytes) else json.dumps(status).encode()

        def answer(request: Request, wire: Wire) -> None:
            wire.send(200 if request.path == "/status" else 404, {}, body)

        servers.append(LoopbackServer(answer=answer))
        pod.environ["BROKER_HEALTH_ADDRESS"] = f"127.0.0.1:{servers[-1].port}"

    yield serve
    for server in servers:
        server.stop()


def status(*, ready: bool, fault: dict[str, str] | None = None, skew: object = 0.1, role: str = ROLE) -> dict[str, Any]:
    profile = {"profile": "default", "role_arn": role, "ready": ready, "fault": fault}
    return {"ready": ready, "clock_skew_seconds": skew, "profiles": [profile]}


Serve: TypeAlias = "Callable[[object], None]"


def test_ready_broker_is_ok(pod: FaultyPod, broker: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    broker(status(ready=True))
    report = pod.diagnose(monkeypatch)
    assert (report.failed, report.warned) == ({}, {})
    assert "is ready" in report.text


def test_broker_that_has_not_retried_yet_is_a_warning_that_names_sighup(
    pod: FaultyPod, broker: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker(status(ready=False, fault=REFUSED))
    report = pod.diagnose(monkeypatch)
    assert (report.failed, list(report.warned), report.code) == ({}, ["broker"], 0)
    assert "is not ready (default: token_rejected)" in report.warned["broker"]
    assert "SIGHUP" in report.warned["broker"]


def test_broker_with_other_settings_is_a_warning_to_restart_it(
    pod: FaultyPod, broker: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker(status(ready=True, role=f"{ROLE}-of-yesterday"))
    report = pod.diagnose(monkeypatch)
    assert (report.failed, list(report.warned)) == ({}, ["broker"])
    assert "default for arn:aws:iam::123456789012:role/doctor-app-of-yesterday" in report.warned["broker"]
    assert "Restart the broker" in report.warned["broker"]


def test_broker_not_ready_follows_from_the_cause(
    pod: FaultyPod, broker: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker(status(ready=False, fault=REFUSED))
    pod.environ["BROKER_AUDIENCE"] = "vault"
    report = pod.diagnose(monkeypatch)
    assert list(report.failed) == ["audience"]
    assert report.cause_of("broker") == "audience"


@pytest.mark.parametrize("answer", [b"", b"<html>", b"[]", b"{}", b'{"profiles": 1}', b"[" * 100_000, b"\xff"])
def test_other_server_at_the_port_is_not_a_broker(
    pod: FaultyPod, broker: Serve, monkeypatch: pytest.MonkeyPatch, answer: bytes
) -> None:
    broker(answer)
    report = pod.diagnose(monkeypatch)
    assert (report.failed, report.warned) == ({}, {})
    assert "No broker answers at 127.0.0.1:" in report.text


@pytest.mark.parametrize("skew", ["x", True, 1e300, float("nan"), float("inf"), None, []])
def test_any_clock_skew_in_the_status_is_handled(
    pod: FaultyPod, broker: Serve, monkeypatch: pytest.MonkeyPatch, skew: object
) -> None:
    broker(status(ready=True, skew=skew))
    assert pod.diagnose(monkeypatch).code == 0


@pytest.mark.parametrize("profiles", [[1], [{}], [{"profile": 1, "fault": "x"}], [{"profile": "\x1b[2J", "fault": {}}]])
def test_any_profiles_in_the_status_are_handled(
    pod: FaultyPod, broker: Serve, monkeypatch: pytest.MonkeyPatch, profiles: list[object]
) -> None:
    broker({"ready": False, "clock_skew_seconds": "x", "profiles": profiles})
    report = pod.diagnose(monkeypatch)
    assert list(report.warned) == ["broker"]
    assert "\x1b" not in report.text


class TestShortMemory:
    """With little memory left, the doctor doesn't load botocore."""

    @pytest.fixture(autouse=True)
    def _short(self, pod: FaultyPod) -> None:
        pod.limit_memory(10)

    def test_success_of_the_running_broker_counts_as_the_exchange(
        self, pod: FaultyPod, broker: Serve, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        broker(status(ready=True))
        report = pod.diagnose(monkeypatch)
        assert (report.failed, list(report.warned)) == ({}, ["memory"])
        assert "10 MiB of the container's memory are left. An exchange needs 42 MiB" in report.warned["memory"]
        assert "The running broker has credentials and reports no failure." in report.text
        assert report.cause_of("sts-tls") == report.cause_of("identity") == "memory"
        assert pod.sandbox.sts.calls == []

    def test_memory_for_the_next_refresh_of_the_running_broker_is_left_to_it(
        self, pod: FaultyPod, broker: Serve, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its worker may start at any moment, and the doctor's exchange at the same time would exceed the limit."""
        broker(status(ready=True))
        pod.limit_memory(30)
        report = pod.diagnose(monkeypatch)
        assert (report.failed, report.warned) == ({}, {})
        assert "30 MiB of the container's memory are left. The broker's next refresh needs 24 MiB" in report.text
        assert pod.sandbox.sts.calls == []
        pod.limit_memory(50)
        pod.diagnose(monkeypatch)
        assert len(pod.sandbox.sts.calls) >= 1

    def test_refusal_of_the_running_broker_counts_as_the_exchange(
        self, pod: FaultyPod, broker: Serve, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        broker(status(ready=False, fault=REFUSED))
        report = pod.diagnose(monkeypatch)
        assert list(report.failed) == ["exchange"]
        assert "verification key from your provider. -> Publish the keys." in report.failed["exchange"]

    def test_refusal_of_the_running_broker_follows_from_its_cause(
        self, pod: FaultyPod, broker: Serve, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        broker(status(ready=False, fault=REFUSED))
        pod.network.issuer_site.publish("/openid/v1/jwks", b"", status=403)
        report = pod.diagnose(monkeypatch)
        assert list(report.failed) == ["issuer-documents"]
        assert report.cause_of("exchange") == "issuer-documents"

    def test_clock_skew_is_that_of_the_running_broker(
        self, pod: FaultyPod, broker: Serve, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        broker(status(ready=True, skew=700.0))
        assert list(pod.diagnose(monkeypatch).failed) == ["clock"]

    @pytest.mark.parametrize("fault", [None, {**REFUSED, "reason": "publish_failed"}])
    def test_unknown_exchange_is_not_checked_and_does_not_pass(
        self, pod: FaultyPod, broker: Serve, monkeypatch: pytest.MonkeyPatch, fault: dict[str, str] | None
    ) -> None:
        broker(status(ready=False, fault=fault))
        report = pod.diagnose(monkeypatch)
        assert (report.failed, report.code) == ({}, 1)
        assert report.cause_of("exchange") == "memory"
        assert "\nNo cause found, but not everything was checked: exchange." in report.text

    def test_botocore_is_not_loaded(self, pod: FaultyPod) -> None:
        program = (
            "import os, sys\n"
            "from broker.doctor.command import Options, examine\n"
            "from broker.doctor.environment import Environment\n"
            "environment = Environment(environ=os.environ, proc=sys.argv[1], cgroup=sys.argv[2])\n"
            "results, code = examine(Options(), environment)\n"
            "assert code == int(sys.argv[3]), results\n"
            "assert 'pydantic' not in sys.modules, 'a child process loads the settings'\n"
            "print('botocore' in sys.modules)\n"
        )
        for cgroup, code, is_loaded in ((pod.cgroup, "1", "False"), ("/nowhere", "0", "True")):
            done = subprocess.run(
                [sys.executable, "-c", program, pod.proc, cgroup, code],
                env=pod.environ,
                capture_output=True,
                text=True,
                check=False,
                timeout=30,
            )
            assert (done.stderr, done.stdout.strip()) == ("", is_loaded)


def test_doctor_prefers_itself_as_the_oom_victim(pod: FaultyPod, monkeypatch: pytest.MonkeyPatch) -> None:
    pod.diagnose(monkeypatch)
    assert (pod.disk / "proc/self/oom_score_adj").read_text() == "1000"


def test_sufficient_memory_is_ok(pod: FaultyPod, monkeypatch: pytest.MonkeyPatch) -> None:
    pod.limit_memory(30)
    assert "30 MiB of the container's memory are left." in pod.diagnose(monkeypatch).text


def test_file_pages_count_as_free_and_cgroup_version_1_is_read(pod: FaultyPod, monkeypatch: pytest.MonkeyPatch) -> None:
    pod.limit_memory(10)
    folder = pod.disk / "cgroup"
    (folder / "memory.stat").write_text(f"anon 5\ninactive_file {5 * 2**20}\nactive_file {6 * 2**20}\n")
    assert "21 MiB" in pod.diagnose(monkeypatch).text
    (folder / "memory.max").rename(folder / "memory.max.away")
    (folder / "memory").mkdir()
    for name, number in {"limit": 64 * 2**20, "usage": 24 * 2**20}.items():
        (folder / f"memory/memory.{name}_in_bytes").write_text(f"{number}\n")
    assert "40 MiB" in pod.diagnose(monkeypatch).text
    (folder / "memory/memory.limit_in_bytes").write_text("9223372036854771712\n")
    assert "No memory limit is visible" in pod.diagnose(monkeypatch).text


class TestSecondDoctor:
    """Two doctors at once could exceed the container's memory limit, which would end the broker too."""

    def test_second_doctor_reports_the_first_and_checks_nothing(
        self, pod: FaultyPod, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with hold_lock(pod.environ) as is_alone:
            assert is_alone
            report = pod.diagnose(monkeypatch)
        assert (list(report.failed), report.code) == (["memory"], 1)
        assert report.text.endswith("Fix: Wait until the other one ends, then run the doctor again.\n")
        assert pod.sandbox.sts.calls == []
        assert list(pod.published.iterdir()) == []

    def test_next_doctor_runs_after_the_first_has_ended(self, pod: FaultyPod, monkeypatch: pytest.MonkeyPatch) -> None:
        for _ in range(2):
            assert pod.diagnose(monkeypatch).code == 0

    def test_second_process_ends_at_once_and_loads_nothing(self, pod: FaultyPod) -> None:
        with hold_lock(pod.environ):
            ended = pod.run_doctor()
        assert (ended.code, ended.err) == (1, "")
        assert "Cause: The container's memory is in use by another doctor (memory)" in ended.out

    @pytest.mark.parametrize("directory", ["/nowhere", "/dev/null"])
    def test_directory_that_cannot_be_opened_locks_nothing(self, directory: str) -> None:
        environ = {"BROKER_PUBLISH_DIRECTORY": directory}
        with hold_lock(environ) as first, hold_lock(environ) as second:
            assert first
            assert second
