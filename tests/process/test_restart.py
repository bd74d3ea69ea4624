"""Restarts of `run` while STS is down: published credentials are served again, unless they are not the broker's own."""

from __future__ import annotations

import json
import os
import re
import signal
from typing import TYPE_CHECKING, Any

import pytest

from sandbox.aws import faults
from tests.process.test_endpoint import get, read_document
from tests.support.program import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox import StsServer
    from tests.process.pod import Pod
    from tests.support.program import Program

pytestmark = pytest.mark.process


def kill(program: Program) -> None:
    program.signal(signal.SIGKILL)
    assert program.wait() == -signal.SIGKILL


def restart_without_sts(pod: Pod, program: Program, **changes: Any) -> Program:  # noqa: ANN401 - of the environment
    """Kill the broker, stop STS, and start the broker again."""
    kill(program)
    pod.sts.always(faults.SERVICE_UNAVAILABLE)
    return pod.start(**changes)


def read_files(pod: Pod) -> dict[str, bytes]:
    """Return the published files but the endpoint's token, which is another one at each start."""
    return {name: content for name, content in pod.contents().items() if name != "endpoint-token"}


def assert_unavailable(program: Program, pod: Pod, files: dict[str, bytes]) -> None:
    """Check that nothing is served, and that readers of the files keep what they have."""
    program.wait_for("exchange_failed")
    assert get(program, pod).status == 503
    assert program.get("/readyz").status == 503
    assert "sts_broker_ready 0.0" in program.get("/metrics").body.splitlines()
    assert "expires_at" not in program.status()
    assert read_files(pod) == files


def test_killed_broker_serves_its_published_credentials_again_while_sts_is_down(pod: Pod) -> None:
    first = pod.start_and_publish()
    document, refreshed, files = get(first, pod).json, first.wait_for("refreshed"), read_files(pod)
    second = restart_without_sts(pod, first)
    restored = second.wait_for("restored")
    assert [restored[name] for name in ("expires_at", "next_refresh_at", "generation", "assumed_role_arn")] == [
        refreshed[name] for name in ("expires_at", "next_refresh_at", "generation", "assumed_role_arn")
    ]
    answer = get(second, pod)
    assert (answer.status, answer.json) == (200, document)
    assert answer.json == read_document(pod)
    assert second.get("/readyz").status == 200
    metrics = second.get("/metrics").body
    assert re.search(r'^sts_broker_credentials_expiry_timestamp_seconds\{profile="default"\} \d', metrics, re.MULTILINE)
    assert 'sts_broker_generation{profile="default"} 1.0' in metrics.splitlines()
    assert second.status()["phase"] == "fresh"
    assert [line["event"] for line in second.lines()][:4] == ["starting", "restored", "listening", "listening"]
    assert read_files(pod) == files
    assert len(pod.sts.calls) == 1, "a refresh is not due"


def test_restored_credentials_are_refreshed_when_due_once_sts_is_back(
    brief_sts: Callable[[float], StsServer], new_pod: Callable[[StsServer], Pod]
) -> None:
    pod = new_pod(brief_sts(20))
    first = pod.start_and_publish()
    document = read_document(pod)
    second = restart_without_sts(pod, first)
    assert second.wait_for("restored")["next_refresh_at"] == first.wait_for("refreshed")["next_refresh_at"]
    assert get(second, pod).json == document
    second.wait_for("exchange_failed", within=15)
    assert get(second, pod).json == document
    pod.sts.always(None)
    refreshed = second.wait_for("refreshed")
    assert (refreshed["reason"], refreshed["generation"]) == ("refresh_due", 2)
    assert get(second, pod).json == read_document(pod) != document


def test_credentials_of_another_role_are_not_served_after_a_restart(pod: Pod) -> None:
    first = pod.start_and_publish()
    files = read_files(pod)
    other = pod.box.create_role("process-other")
    second = restart_without_sts(pod, first, AWS_ROLE_ARN=other)
    skipped = second.wait_for("restore_skipped", profile="default")
    assert skipped["level"] == "info"
    assert "the settings have changed" in skipped["message"]
    assert_unavailable(second, pod, files)
    pod.sts.always(None)
    second.refresh()
    second.wait_for("refreshed")
    assert get(second, pod).json == read_document(pod)


def test_credentials_of_another_session_policy_are_not_served_after_a_restart(pod: Pod) -> None:
    first = pod.start_and_publish()
    files = read_files(pod)
    policy = '{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"*","Resource":"*"}]}'
    second = restart_without_sts(pod, first, BROKER_SESSION_POLICY=policy)
    second.wait_for("restore_skipped")
    assert_unavailable(second, pod, files)


def test_changed_file_is_not_served_after_a_restart(pod: Pod) -> None:
    first = pod.start_and_publish()
    path = pod.published / "default.json"
    kill(first)
    path.write_text(json.dumps({**json.loads(path.read_text()), "AccessKeyId": "ASIAPLANTED"}))
    files = read_files(pod)
    pod.sts.always(faults.SERVICE_UNAVAILABLE)
    second = pod.start()
    assert second.wait_for("restore_skipped")["level"] == "warning"
    assert_unavailable(second, pod, files)


def test_planted_pipes_do_not_stop_the_start(pod: Pod) -> None:
    first = pod.start_and_publish()
    kill(first)
    for name in ("default.json", ".state.json"):
        (pod.published / name).unlink()
        os.mkfifo(pod.published / name)
    second = pod.start()
    second.wait_for("restore_skipped")
    second.wait_for("refreshed")
    assert get(second, pod).json == read_document(pod)


def test_expired_credentials_are_not_served_after_a_restart(
    brief_sts: Callable[[float], StsServer], new_pod: Callable[[StsServer], Pod]
) -> None:
    pod = new_pod(brief_sts(3))
    first = pod.start_and_publish()
    pod.sts.always(faults.SERVICE_UNAVAILABLE)
    eventually(lambda: first.get("/readyz").status == 503, what="expired credentials")
    kill(first)
    second = pod.start()
    assert "they have expired" in second.wait_for("restore_skipped")["message"]
    assert_unavailable(second, pod, read_files(pod))


def test_credentials_published_by_once_are_served_at_the_start(pod: Pod) -> None:
    assert pod.run("once").code == 0
    pod.sts.always(faults.SERVICE_UNAVAILABLE)
    program = pod.start()
    program.wait_for("restored")
    assert get(program, pod).json == read_document(pod)
    assert len(pod.sts.calls) == 1
