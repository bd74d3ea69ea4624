"""`sts-broker run` warns of what in its own container hides it from SDKs: the app's container probably has it too."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.process.pod import Pod
    from tests.support.program import Program

pytestmark = pytest.mark.process

SEEN = "In this container, and so probably in the app's, where it hides the broker from SDKs: "


def warnings(program: Program) -> list[str]:
    """Return the names that it warned of."""
    return [line["name"] for line in program.lines("warning") if line["message"].startswith(SEEN)]


def test_each_is_one_line_and_the_broker_works_all_the_same(pod: Pod) -> None:
    home = pod.root / "home-of-old"
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


def test_webhooks_token_is_told_of_with_the_annotation_that_spares_the_app(pod: Pod) -> None:
    path = "/var/run/secrets/eks.amazonaws.com/serviceaccount/token"
    program = pod.start(AWS_WEB_IDENTITY_TOKEN_FILE=path)
    line = program.wait_for("warning", name="AWS_WEB_IDENTITY_TOKEN_FILE")
    assert "eks.amazonaws.com/skip-containers" in line["message"]
    assert program.get("/livez").status == 200


def test_pod_as_it_should_be_is_not_warned_of(pod: Pod) -> None:
    assert warnings(pod.start_and_publish()) == []


def test_own_endpoint_in_an_environment_that_all_containers_share_is_not_warned_of(pod: Pod) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    uri = f"http://{address}/v1/credentials"
    program = pod.start_and_publish(AWS_CONTAINER_CREDENTIALS_FULL_URI=uri, BROKER_ENDPOINT_ADDRESS=address)
    assert warnings(program) == []
