"""The threat model of docs/operations.md, and the commands that the page gives to the on-call engineer."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import botocore.exceptions
import pytest

from tests.sandbox.role_chains import assume
from tests.sandbox.sts_client import Exchanger, unsigned_client

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.process.pod import Pod

pytestmark = pytest.mark.process

PAGE = (Path(__file__).parents[2] / "docs/operations.md").read_text()
ROLE = "threatened"
ONLY_S3 = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}


@pytest.fixture
def partner(pod: Pod) -> str:
    """Give the pod a role that may assume another role, whose trust policy allows the whole account."""
    arn = pod.box.create_role("threatened-partner", trust_policy=pod.box.chain_trust("123456789012"))
    pod.role_arn = pod.box.create_role(ROLE, may_assume=[arn])
    return arn


@pytest.fixture
def attacker(pod: Pod) -> Iterator[Exchanger]:
    """Return an SDK client, with which an attacker uses a stolen token."""
    client = unsigned_client(pod.box)
    yield Exchanger(pod.box, client)
    client.close()


def published_keys(pod: Pod) -> dict[str, str]:
    """Return the published credentials as arguments of an SDK client."""
    document = json.loads((pod.published / "default.json").read_bytes())
    return {
        "aws_access_key_id": document["AccessKeyId"],
        "aws_secret_access_key": document["SecretAccessKey"],
        "aws_session_token": document["SessionToken"],
    }


def can_chain(pod: Pod, keys: Mapping[str, str], role_arn: str) -> bool:
    try:
        assume(pod.box, keys, role_arn)
    except botocore.exceptions.ClientError as error:
        if error.response["Error"]["Code"] != "AccessDenied":
            raise
        return False
    return True


def test_session_policy_limits_readers_but_not_holders_of_the_token(
    pod: Pod, partner: str, attacker: Exchanger
) -> None:
    pod.start_and_publish(BROKER_SESSION_POLICY=json.dumps(ONLY_S3))
    assert not can_chain(pod, published_keys(pod), partner)
    stolen = attacker.keys(RoleArn=pod.role_arn, WebIdentityToken=pod.tokens[-1])
    assert can_chain(pod, stolen, partner)


def test_reader_of_a_source_assumes_the_chained_role_without_its_session_policy(pod: Pod, partner: str) -> None:
    pod.start_and_publish()
    assert can_chain(pod, published_keys(pod), partner)


def test_stolen_token_outlives_its_pod(pod: Pod, partner: str, attacker: Exchanger) -> None:
    """The broker has ended and its volume is deleted, but STS does not ask the cluster."""
    del partner
    program = pod.start_and_publish()
    program.kill()
    shutil.rmtree(pod.root / "volume")
    assert attacker.keys(RoleArn=pod.role_arn, WebIdentityToken=pod.tokens[-1])


def test_command_of_the_page_requests_a_refresh(pod: Pod) -> None:
    """Only the process number differs from the page: the broker is not process 1 in this test."""
    program = pod.start_and_publish()
    (code,) = re.findall(r"kubectl exec POD -c sts-broker -- python3 -c '([^']+)'", PAGE)
    assert "os.kill(1, 1)" in code
    subprocess.run(
        [sys.executable, "-c", code.replace("os.kill(1,", f"os.kill({program.pid},")], check=True, timeout=30
    )
    program.wait_for("refreshed", count=2)


def test_status_pages_of_the_triage_exist(pod: Pod) -> None:
    program = pod.start_and_publish()
    pages = re.findall(r"curl -s localhost:9910(/\w+)", PAGE)
    assert pages == ["/readyz", "/status"]
    assert [program.get(page).status for page in pages] == [200, 200]
