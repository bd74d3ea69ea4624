"""An unmodified SDK as the command of `sts-broker exec` uses the endpoint and follows its generations."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from tests.process.commands import RIVALS, run_exec

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sandbox import StsServer
    from tests.process.pod import Pod

pytestmark = pytest.mark.process

CALLER = """
import boto3, sys, time
session = boto3.Session()
credentials = session.get_credentials()
client = session.client("sts")
seen, deadline = [], time.monotonic() + 60
while len(seen) < int(sys.argv[1]) and time.monotonic() < deadline:
    assert ":assumed-role/process-app/" in client.get_caller_identity()["Arn"]
    key = credentials.get_frozen_credentials().access_key
    if key not in seen:
        seen.append(key)
    time.sleep(0.2)
print(credentials.method, *seen)
"""


class TestBoto3:
    """The SDK boto3, which tries the container endpoint nearly last."""

    def test_boto3_follows_three_generations(
        self, brief_sts: Callable[[float], StsServer], new_pod: Callable[[StsServer], Pod]
    ) -> None:
        sts = brief_sts(6)
        pod = new_pod(sts)
        ended = run_exec(pod, "--", sys.executable, "-c", CALLER, "3")
        assert ended.code == 0, ended.err
        method, *keys = ended.out.split()
        assert method == "container-role"
        assert len(keys) == 3
        assert len([line for line in ended.lines if line["event"] == "refreshed"]) >= 3
        assert {call.outcome for call in sts.calls} == {"Success"}

    def test_boto3_uses_the_endpoint_despite_rival_sources(self, pod: Pod, tmp_path: Path) -> None:
        home = tmp_path / "old-home"
        (home / ".aws").mkdir(parents=True)
        (home / ".aws" / "credentials").write_text("[default]\naws_access_key_id = AKIDOFOLD\n")
        (home / ".aws" / "config").write_text("[default]\ncredential_process = false\n")
        (home / ".boto").write_text("[Credentials]\naws_access_key_id = AKIDOFOLD\n")
        ended = run_exec(pod, "--", sys.executable, "-c", CALLER, "1", HOME=str(home), **RIVALS)
        assert ended.code == 0, ended.err
        assert ended.out.startswith("container-role ")

    def test_boto3_can_use_the_config_file(self, pod: Pod) -> None:
        script = f"AWS_CONFIG_FILE=$BROKER_PUBLISH_DIRECTORY/config exec $0 -c '{CALLER}' 1"
        ended = run_exec(pod, "--", "sh", "-c", script, sys.executable)
        assert ended.code == 0, ended.err
        assert ended.out.startswith("custom-process ")
