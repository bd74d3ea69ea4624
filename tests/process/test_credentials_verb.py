"""The verb `credentials` as SDKs run it: in a container that has only the published files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sandbox.aws import faults
from tests.support.program import eventually, run_to_end

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox import StsServer
    from tests.process.pod import Pod
    from tests.support.program import Ended

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[2]


def run_credentials(pod: Pod, *arguments: str, **environment: str) -> Ended:
    """Run the verb with these environment variables and no others."""
    return run_to_end("credentials", *arguments, environment=environment, directory=pod.root / "cwd")


def test_verb_prints_the_published_credentials_without_calling_sts(pod: Pod) -> None:
    pod.start_and_publish()
    calls = len(pod.sts.calls)
    for ended in (
        run_credentials(pod, BROKER_PUBLISH_DIRECTORY=str(pod.published)),
        run_credentials(pod, "--directory", str(pod.published), "--profile", "default"),
    ):
        assert (ended.code, ended.out, ended.err) == (0, pod.contents()["default.json"].decode(), "")
    assert len(pod.sts.calls) == calls


def test_without_published_credentials_the_exit_code_is_5_with_the_path(pod: Pod) -> None:
    ended = run_credentials(pod, "--directory", str(pod.published))
    assert (ended.code, ended.out) == (5, "")
    assert ended.err.startswith(f"sts-broker: Cannot read {pod.published}: No such file or directory.")
    assert ended.err.count("\n") == 1


def test_expired_credentials_are_not_printed(
    brief_sts: Callable[[float], StsServer], new_pod: Callable[[StsServer], Pod]
) -> None:
    pod = new_pod(brief_sts(2))
    pod.start_and_publish()
    pod.sts.always(faults.SERVICE_UNAVAILABLE)

    def find_refusal() -> Ended | None:
        ended = run_credentials(pod, "--directory", str(pod.published))
        return ended if ended.code != 0 else None

    refused = eventually(find_refusal, what="expiry")
    assert refused is not None
    assert (refused.code, refused.out) == (5, "")
    assert "expired at 20" in refused.err


def test_sdk_gets_credentials_through_the_verb_in_the_published_config(pod: Pod) -> None:
    """For images without `cat`, the verb is the process of the published config file."""
    command = f"{sys.executable} -m broker credentials --directory {{directory}} --profile {{profile}}"
    pod.start_and_publish(BROKER_PUBLISH_PROCESS_COMMAND=command)
    done = subprocess.run(
        [sys.executable, "-c", "import boto3; print(boto3.client('sts').get_caller_identity()['Arn'])"],
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(pod.root / "home"),
            "AWS_CONFIG_FILE": str(pod.published / "config"),
            "AWS_ENDPOINT_URL_STS": pod.sts.url,
            "AWS_EC2_METADATA_DISABLED": "true",
        },
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(pod.contents()["default.json"])
    assert f":{document['AccountId']}:assumed-role/process-app/" in done.stdout
