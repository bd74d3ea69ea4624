"""The verb `once`, and failing starts: exit codes and messages."""

from __future__ import annotations

import os
import signal
import socket
from typing import TYPE_CHECKING

import pytest

from sandbox import Misbehaviour
from sandbox.aws import faults
from tests.process.pod import TEXT_FILES
from tests.support.program import require_wrapper

if TYPE_CHECKING:
    from tests.process.pod import Pod

pytestmark = pytest.mark.process

FAULTY = {
    "AWS_ROLE_ARN": "role/app",
    "AWS_REGION": "Ireland",
    "AWS_ENDPOINT_URL_STS": "ftp://sts",
    "AWS_ROLE_SESSION_NAME": "a b/c!",
    "BROKER_DURATION_SECONDS": "60",
    "BROKER_PUBLISH_MODE": "0777",
    "BROKER_PUBLISH_DIRECTORY": "relative",
    "BROKER_HEALTH_ADDRESS": "9910",
    "BROKER_LOG_LEVEL": "loud",
    "BROKER_PUBLISH_DIR": "/var/run/aws",
}
READ_ONLY = 'mount -t tmpfs -o ro,size=64k tmpfs "$0" && exec "$@"'


def test_once_publishes_a_generation_and_ends_with_0(pod: Pod) -> None:
    ended = pod.run("once")
    assert (ended.code, ended.out) == (0, "")
    assert sorted(pod.contents()) == sorted(TEXT_FILES)
    assert [line["event"] for line in ended.lines] == ["starting", "token_observed", "refreshed"]
    assert len(pod.sts.calls) == 1


def test_once_retries_transient_faults(pod: Pod) -> None:
    pod.sts.script(faults.THROTTLING, faults.INTERNAL_FAILURE)
    ended = pod.run("once")
    assert ended.code == 0
    assert [call.outcome for call in pod.sts.calls] == ["Throttling", "InternalFailure", "Success"]


@pytest.mark.parametrize("verb", ["once", "run"])
def test_all_configuration_faults_are_listed_by_name_with_exit_code_2(pod: Pod, verb: str) -> None:
    ended = pod.run(verb, **FAULTY)
    assert (ended.code, ended.out) == (2, "")
    (line,) = ended.lines
    assert (line["event"], line["level"], line["reason"]) == ("configuration_invalid", "error", "configuration")
    assert line["message"] == f"The configuration has {len(FAULTY)} faults."
    assert sorted(fault.split(":")[0] for fault in line["faults"]) == sorted(FAULTY)
    assert not pod.published.exists()
    assert pod.exchanges() == []


def test_missing_role_and_region_name_the_variables_to_set(pod: Pod) -> None:
    ended = pod.run("once", AWS_ROLE_ARN="", AWS_REGION="")
    assert ended.code == 2
    role, region = ended.lines[0]["faults"]
    assert role.startswith("role_arn (AWS_ROLE_ARN): not set")
    assert region.startswith("region (AWS_REGION): not set")


def test_port_in_use_ends_run_with_2_and_names_the_setting(pod: Pod) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        ended = pod.run("run", BROKER_HEALTH_ADDRESS=address)
    assert ended.code == 2
    assert f"health.address (BROKER_HEALTH_ADDRESS): cannot listen on {address}: Address already in use." in ended.err


def test_absent_token_ends_once_with_3_at_the_timeout(pod: Pod) -> None:
    pod.misbehave(Misbehaviour.ABSENT)
    ended = pod.run("once", "--timeout", "1")
    assert ended.code == 3
    assert 1 < ended.seconds < 15
    assert ended.lines[-1]["message"].startswith(f"Gave up: No token in {pod.volume.path}: No such file or directory;")
    assert pod.exchanges() == []


def test_token_that_appears_within_the_timeout_is_used(pod: Pod) -> None:
    pod.misbehave(Misbehaviour.EMPTY)
    program = pod.start("once", "--timeout", "30")
    program.wait_for("token_unfit")
    pod.volume.heal()
    assert program.wait() == 0
    assert sorted(pod.contents()) == sorted(TEXT_FILES)


def test_denied_role_ends_once_with_4_long_before_the_timeout(pod: Pod) -> None:
    pod.sts.always(faults.ACCESS_DENIED)
    ended = pod.run("once", "--timeout", "60")
    assert ended.code == 4
    assert ended.seconds < 30
    assert ended.lines[-1]["reason"] == "role_denied"
    assert "trust policy" in ended.lines[-1]["message"]
    assert len(pod.sts.calls) == 1


def test_hanging_sts_ends_once_with_4_at_the_timeout(pod: Pod) -> None:
    pod.sts.always(faults.Hang())
    ended = pod.run("once", "--timeout", "1")
    assert ended.code == 4
    assert ended.seconds < 15
    assert ended.lines[-1]["message"].startswith("Gave up: STS did not answer within 1 s. Increase --timeout")


def test_publish_directory_that_is_a_file_ends_once_with_5(pod: Pod) -> None:
    pod.published.write_text("a file")
    ended = pod.run("once", "--timeout", "4")
    assert ended.code == 5
    assert ended.lines[-1]["reason"] == "publish_failed"
    assert f"Cannot publish in {pod.published}: Not a directory." in ended.lines[-1]["message"]
    assert "Set publish.directory (BROKER_PUBLISH_DIRECTORY) to a directory." in ended.lines[-1]["message"]
    assert len(pod.sts.calls) == 1, "a failing sink causes no further exchange"


def test_read_only_publish_directory_ends_once_with_5_at_once(pod: Pod) -> None:
    pod.published.mkdir()
    wrapper: tuple[str, ...] = ()
    expected = "Permission denied. Set fsGroup"
    if os.geteuid() == 0:
        mounting = ("unshare", "--mount", "sh", "-c", READ_ONLY, str(pod.published))
        wrapper = require_wrapper(mounting, untested="a read-only volume")
        expected = "Read-only file system. Mount the volume without readOnly"
    else:
        pod.published.chmod(0o500)
    ended = pod.run("once", "--timeout", "300", wrapper=wrapper)  # it ends long before that
    assert ended.code == 5
    assert expected in ended.lines[-1]["message"]
    assert len(pod.sts.calls) == 1


def test_once_with_one_required_profile_denied_publishes_the_other_and_ends_with_4(pod: Pod) -> None:
    """Even if the response for the good profile arrives much later."""
    pod.sts.always(faults.Latency(seconds=1), role_arn=pod.role_arn)
    pod.box.create_role("process-untrusting", subjects=["system:serviceaccount:demo:other"])
    file = pod.root / "broker.yaml"
    file.write_text(
        "profiles:\n"
        f"  - {{name: good, role_arn: '{pod.role_arn}'}}\n"
        "  - {name: bad, role_arn: 'arn:aws:iam::123456789012:role/process-untrusting'}\n"
    )
    ended = pod.run("once", AWS_ROLE_ARN="", BROKER_CONFIG=str(file))
    assert ended.code == 4
    assert ended.lines[-1]["profiles"] == ["bad"]
    assert (pod.published / "good.json").exists()
    assert not (pod.published / "bad.json").exists()


def test_once_without_required_profiles_publishes_all(pod: Pod) -> None:
    file = pod.root / "broker.yaml"
    file.write_text(f"required: false\nprofiles:\n  - {{name: only, role_arn: '{pod.role_arn}'}}\n")
    ended = pod.run("once", AWS_ROLE_ARN="", BROKER_CONFIG=str(file))
    assert ended.code == 0
    assert (pod.published / "only.json").exists()


def test_sigterm_ends_once_promptly_with_exit_code_4(pod: Pod) -> None:
    pod.sts.always(faults.Hang())
    program = pod.start("once", "--timeout", "60")
    pod.sts.wait_for_calls(1)
    program.signal(signal.SIGTERM)
    assert program.wait(2) == 4
    assert program.lines()[-1]["message"] == "Gave up: A signal stopped the broker before STS answered."
    assert not pod.published.exists()
