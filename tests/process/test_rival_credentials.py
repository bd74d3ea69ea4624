"""The verb `run` warns about rival credential sources in its container, because the app's may have them too."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.process.pod import Pod
    from tests.support.program import Program

pytestmark = pytest.mark.process

WARNING = "The broker's container has another source of AWS credentials. "


def warnings(program: Program) -> list[str]:
    """Return the credential sources in the warnings, in order."""
    return [line["credential_source"] for line in program.lines("warning") if line["message"].startswith(WARNING)]


def test_each_rival_source_is_one_warning_and_the_broker_works(pod: Pod) -> None:
    home = pod.root / "old-home"
    (home / ".aws").mkdir(parents=True)
    (home / ".aws" / "credentials").write_text("[default]\naws_access_key_id = AKIDOFOLD\n")
    program = pod.start_and_publish(
        HOME=str(home),
        AWS_ACCESS_KEY_ID="AKIDOFOLD",
        AWS_SECRET_ACCESS_KEY="of-old",
        AWS_CONTAINER_CREDENTIALS_FULL_URI="http://169.254.170.23/v1/credentials",
        AWS_CONTAINER_CREDENTIALS_RELATIVE_URI="/v2/credentials",
        AWS_PROFILE="missing",
    )
    assert warnings(program) == [
        "AWS_ACCESS_KEY_ID",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_PROFILE",
        str(home / ".aws" / "credentials"),
    ]
    assert "AKIDOFOLD" not in program.output()
    assert "of-old" not in program.output().replace(str(home), "")


def test_token_of_the_eks_webhook_is_a_warning_with_the_annotation_to_set(pod: Pod) -> None:
    path = "/var/run/secrets/eks.amazonaws.com/serviceaccount/token"
    program = pod.start(AWS_WEB_IDENTITY_TOKEN_FILE=path)
    line = program.wait_for("warning", credential_source="AWS_WEB_IDENTITY_TOKEN_FILE")
    assert "eks.amazonaws.com/skip-containers" in line["message"]
    assert program.get("/livez").status == 200


def test_pod_without_rival_sources_has_no_warning(pod: Pod) -> None:
    assert warnings(pod.start_and_publish()) == []


def test_endpoint_of_the_broker_in_a_shared_environment_has_no_warning(pod: Pod) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    uri = f"http://{address}/v1/credentials"
    program = pod.start_and_publish(AWS_CONTAINER_CREDENTIALS_FULL_URI=uri, BROKER_ENDPOINT_ADDRESS=address)
    assert warnings(program) == []
