"""The verb `run`: first credentials, probes, token rotation, SIGHUP, crash and restart."""

from __future__ import annotations

import json
import re
import signal
import stat
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from sandbox import Misbehaviour
from sandbox.aws import faults
from tests.process.pod import RUN_FILES, STATE_FILE, Pod, fingerprint
from tests.support.program import eventually

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sandbox import StsServer

pytestmark = pytest.mark.process


def read_mode(path: Path) -> str:
    return f"{stat.S_IMODE(path.stat().st_mode):04o}"


def test_started_broker_publishes_credentials_and_logs_it(pod: Pod) -> None:
    program = pod.start_and_publish()
    assert [line["event"] for line in program.lines()] == [
        "starting",
        "listening",
        "listening",
        "token_observed",
        "refreshed",
    ]
    assert sorted(pod.contents()) == sorted(RUN_FILES)
    document = json.loads(pod.contents()["default.json"])
    (call,) = pod.sts.calls
    refreshed = program.wait_for("refreshed")
    assert document["Version"] == 1
    assert document["Expiration"] == refreshed["expires_at"]
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", document["Expiration"])
    assert refreshed["token_fingerprint"] == call.token_fingerprint == fingerprint(pod.tokens[0])
    assert refreshed["request_id"] == call.request_id
    assert f"credential_process = cat {pod.published}/default.json\n" in pod.contents()["config"].decode()


@pytest.mark.parametrize(
    ("umask", "setting", "mode"), [(0o000, "", "0640"), (0o077, "0444", "0444"), (0o000, "0600", "0600")]
)
def test_modes_are_the_configured_ones_with_every_umask(pod: Pod, umask: int, setting: str, mode: str) -> None:
    program = pod.start_and_publish(umask=umask, BROKER_PUBLISH_MODE=setting)
    modes = {**dict.fromkeys(RUN_FILES, mode), STATE_FILE: "0600"}
    assert {file.name: read_mode(file) for file in pod.published.iterdir()} == modes
    program.refresh()
    program.wait_for("refreshed", count=2)
    assert {file.name: read_mode(file) for file in pod.published.iterdir()} == modes


def test_readyz_is_503_with_the_reason_until_the_first_credentials(pod: Pod) -> None:
    pod.misbehave(Misbehaviour.ABSENT)
    program = pod.start()
    program.wait_for("token_unfit")
    answer = program.get("/readyz")
    assert (answer.status, program.get("/livez").status) == (503, 200)
    assert answer.body.startswith("default: token_unavailable: ")
    assert str(pod.volume.path) in answer.body
    pod.volume.heal()
    program.wait_for("refreshed")
    assert program.get("/readyz").status == 200
    assert program.status()["phase"] == "fresh"


def test_rotated_token_is_used_for_the_next_exchange(
    brief_sts: Callable[[float], StsServer], new_pod: Callable[[StsServer], Pod]
) -> None:
    pod = new_pod(brief_sts(4))
    program = pod.start_and_publish()
    pod.volume.rotate()
    eventually(lambda: fingerprint(pod.tokens[1]) in pod.exchanges(), what="an exchange of the rotated token")
    program.wait_for("refreshed", token_fingerprint=fingerprint(pod.tokens[1]))
    sent = pod.exchanges()
    assert sent == sorted(sent, key=[fingerprint(token) for token in pod.tokens].index), (
        "the old token is not sent again"
    )
    assert all(line["reason"] == "refresh_due" for line in program.lines("refreshed")[1:])


def test_sighup_refreshes_immediately_before_a_refresh_is_due(pod: Pod) -> None:
    program = pod.start_and_publish(BROKER_MINIMUM_INTERVAL_SECONDS="3600")
    before = pod.contents()
    program.refresh()
    assert program.wait_for("refreshed", count=2, within=5)["reason"] == "requested"
    assert pod.contents()["default.json"] != before["default.json"]
    assert len(pod.sts.calls) == 2


def test_sighup_refreshes_immediately_during_a_long_backoff(pod: Pod) -> None:
    pod.sts.always(faults.ACCESS_DENIED)
    program = pod.start()
    failed = program.wait_for("exchange_failed")
    assert failed["retry_in_seconds"] >= 30
    pod.sts.always(None)
    program.refresh()
    program.wait_for("refreshed", within=5)
    assert program.get("/readyz").status == 200
    assert [call.outcome for call in pod.sts.calls] == ["AccessDenied", "Success"]


def test_health_listener_responds_immediately_while_sts_hangs(pod: Pod) -> None:
    pod.sts.always(faults.Hang())
    program = pod.start()
    pod.sts.wait_for_calls(1)
    for path, status in (("/livez", 200), ("/readyz", 503), ("/metrics", 200), ("/status", 200), ("/nothing", 404)):
        answers = [program.get(path) for _ in range(3)]
        assert [answer.status for answer in answers] == [status] * 3
        assert min(answer.seconds for answer in answers) < 0.5
    assert len(pod.sts.calls) == 1


def test_metrics_and_status_describe_the_published_credentials(pod: Pod) -> None:
    program = pod.start_and_publish()
    metrics = program.get("/metrics").body
    for line in (
        "sts_broker_ready 1.0",
        'sts_broker_generation{profile="default"} 1.0',
        'sts_broker_refresh_total{profile="default",outcome="success",reason="no_credentials"} 1.0',
    ):
        assert line in metrics.splitlines()
    for pattern in (
        r'sts_broker_session_token_bytes\{profile="default"\} \d+\.0',
        r'sts_broker_info\{profile="default",role_arn="arn:aws:iam::\d{12}:role/.+",account_id="\d{12}"\} 1\.0',
    ):
        assert re.search(f"^{pattern}$", metrics, re.MULTILINE)
    status = program.status()
    document = json.loads(pod.contents()["default.json"])
    assert status["expires_at"] == document["Expiration"]
    assert status["token_fingerprint"] == fingerprint(pod.tokens[0])
    assert (status["ready"], status["published_generation"]) == (True, 1)
    assert "fault" not in status


def test_killed_broker_leaves_its_files_and_its_successor_replaces_them(pod: Pod) -> None:
    first = pod.start_and_publish()
    first.signal(signal.SIGKILL)
    assert first.wait() == -signal.SIGKILL
    left = pod.contents()
    del left["endpoint-token"]  # each start has a new one
    pod.sts.always(faults.SERVICE_UNAVAILABLE)
    second = pod.start()
    second.wait_for("restored")
    second.refresh()
    second.wait_for("exchange_failed")
    assert {name: content for name, content in pod.contents().items() if name in left} == left
    pod.sts.always(None)
    second.refresh()
    second.wait_for("refreshed")
    assert {name for name, content in left.items() if content != pod.contents()[name]} == {
        STATE_FILE,
        "credentials",
        "default.json",
    }


def test_broker_killed_while_publishing_leaves_complete_files_and_the_next_start_cleans_up(pod: Pod) -> None:
    pod.start_and_publish().kill()
    for _ in range(3):
        program = pod.start()
        program.wait_for("restored")  # whichever write the broker before was killed in
        pod.sts.clear_calls()
        for count in range(1, 6):
            program.refresh()
            pod.sts.wait_for_calls(count)
        program.kill()  # between a response of STS and the last rename
        document = json.loads(pod.contents()["default.json"])
        assert all(document.values())
        assert re.fullmatch(rb"\[default\]\n# expires \S+\n(aws_\w+ = \S+\n){3}", pod.contents()["credentials"])
    (pod.published / ".default.json.new").write_text("half of a gener")
    program = pod.start()
    program.wait_for("restored")
    count = len(program.lines("refreshed"))
    program.refresh()
    program.wait_for("refreshed", count=count + 1)
    assert sorted(pod.contents()) == sorted(RUN_FILES)


def test_refreshes_leak_no_threads_or_descriptors(pod: Pod) -> None:
    program = pod.start_and_publish()
    counts: Counter[str] = Counter()
    for number in range(2, 12):
        program.refresh()
        program.wait_for("refreshed", count=number)
        assert program.get("/metrics").status == 200
        if number in (3, 11):
            counts[f"descriptors {number}"] = int(program.metric("process_open_fds"))
            counts[f"threads {number}"] = len(program.threads())
    assert counts["descriptors 11"] <= counts["descriptors 3"] + 2
    assert counts["threads 11"] <= counts["threads 3"] + 1
    eventually(lambda: program.children() == [], what="no worker")
