"""The container's termination message has the reason, however the broker ends."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from sandbox import Misbehaviour
from sandbox.aws import faults
from tests.support.program import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox import StsServer
    from tests.process.pod import Pod
    from tests.support.program import Program

pytestmark = pytest.mark.process


def start_denied(pod: Pod, path: str = "") -> Program:
    """Start `run` with a role that is denied. `path` is where the message goes, instead of the pod's file."""
    pod.sts.always(faults.ACCESS_DENIED)
    program = pod.start(BROKER_TERMINATION_MESSAGE_PATH=path or str(pod.termination_message))
    program.wait_for("exchange_failed")
    return program


def wait_for_message(pod: Pod, text: str) -> str:
    eventually(lambda: text in pod.termination_message.read_text(), what=f"{text} in the termination message")
    return pod.termination_message.read_text()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGKILL, -signal.SIGKILL)])
def test_message_of_a_broker_that_is_ended_has_its_fault_and_what_to_change(
    pod: Pod, number: signal.Signals, code: int
) -> None:
    """A startup probe that fails ends the container with these signals."""
    program = start_denied(pod)
    failed = program.wait_for("exchange_failed")
    program.signal(number)
    assert program.wait() == code
    expected = f"sts-broker: profile default: {failed['message']} [role_denied]\n"
    assert pod.termination_message.read_text() == expected
    assert pod.role_arn in expected


def test_message_is_cleared_once_the_fault_is_fixed(pod: Pod) -> None:
    program = start_denied(pod)
    wait_for_message(pod, "[role_denied]")
    pod.sts.always(None)
    program.refresh()
    program.wait_for("refreshed")
    eventually(lambda: pod.termination_message.read_text() == "", what="an empty termination message")
    pod.misbehave(Misbehaviour.ABSENT)
    program.refresh()
    wait_for_message(pod, "[token_unavailable]")


def test_message_of_an_earlier_process_in_the_container_is_replaced(pod: Pod) -> None:
    pod.termination_message.write_text("sts-broker: profile gone: an old fault [role_denied]\n")
    pod.start_and_publish()
    eventually(lambda: pod.termination_message.read_text() == "", what="an empty termination message")


@pytest.mark.parametrize("verb", [("run",), ("once",), ("exec", "--", "true")])
@pytest.mark.parametrize("log_format", ["json", "console"])
def test_invalid_settings_are_in_the_message(pod: Pod, verb: tuple[str, ...], log_format: str) -> None:
    assert pod.run(*verb, AWS_ROLE_ARN="admin", AWS_REGION="nowhere", BROKER_LOG_FORMAT=log_format).code == 2
    lines = pod.termination_message.read_text().splitlines()
    assert [line.split(":")[1] for line in lines] == [" AWS_ROLE_ARN", " AWS_REGION"]
    assert all(line.startswith("sts-broker: ") and line.endswith(" [configuration]") for line in lines)


def test_path_of_the_settings_file_applies_though_the_file_is_faulty(pod: Pod) -> None:
    file = pod.root / "broker.yaml"
    file.write_text(f"termination_message_path: {pod.termination_message}\nregoin: eu-west-1\n")
    assert pod.run("run", BROKER_CONFIG=str(file), BROKER_TERMINATION_MESSAGE_PATH="").code == 2
    assert "regoin: unknown setting" in pod.termination_message.read_text()


@pytest.mark.parametrize("verb", [("once",), ("exec", "--", "true")])
def test_command_that_gives_up_has_the_fault_in_the_message_once(pod: Pod, verb: tuple[str, ...]) -> None:
    pod.sts.always(faults.ACCESS_DENIED)
    assert pod.run(*verb).code == 4
    assert pod.termination_message.read_text().count("[role_denied]") == 1


def test_command_whose_time_is_over_has_that_in_the_message(pod: Pod) -> None:
    pod.sts.always(faults.Hang())
    assert pod.run("once", "--timeout", "1").code == 4
    assert "STS did not answer within 1 s. Increase --timeout" in pod.termination_message.read_text()


def test_command_that_exec_cannot_start_is_in_the_message(pod: Pod) -> None:
    assert pod.run("exec", "--", "no-such-command").code == 127
    assert pod.termination_message.read_text().startswith("sts-broker: Cannot run no-such-command: ")


def test_message_of_the_command_of_exec_is_kept(
    brief_sts: Callable[[float], StsServer], new_pod: Callable[[StsServer], Pod]
) -> None:
    pod = new_pod(brief_sts(3))
    pod.sts.script(None)
    pod.sts.always(faults.ACCESS_DENIED)
    ended = pod.run("exec", "--", "sh", "-c", f'echo "the app failed" > {pod.termination_message}; sleep 3; exit 3')
    assert ended.code == 3
    assert "exchange_failed" in [line["event"] for line in ended.lines]
    assert pod.termination_message.read_text() == "the app failed\n"


@pytest.mark.parametrize("kind", ["absent", "read-only", "link", "directory", "FIFO", "device"])
def test_path_that_cannot_be_written_changes_nothing(pod: Pod, kind: str) -> None:
    path = pod.termination_message
    path.unlink()
    target = pod.root / "target"
    target.write_text("")
    if kind == "read-only":
        path.write_text("")
        path.chmod(0o444)
    elif kind == "link":
        path.symlink_to(target)
    elif kind == "directory":
        path.mkdir()
    elif kind == "FIFO":
        os.mkfifo(path)
    program = start_denied(pod, "/dev/full" if kind == "device" else str(path))
    pod.sts.always(None)
    program.refresh()
    program.wait_for("refreshed")
    program.signal(signal.SIGTERM)
    assert program.wait() == 0
    assert path.exists() is (kind not in {"absent", "device"})
    assert target.read_text() == ""
    assert program.lines("bug") == []
