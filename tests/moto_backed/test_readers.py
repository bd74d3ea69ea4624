"""Unmodified boto3 reads the published credentials, through each of the published files."""

from __future__ import annotations

import os
import shlex
import stat
import subprocess
import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import boto3
import botocore.exceptions
import pytest

from broker.core.model import ProfileSpec, PublishSpec, StsSpec
from broker.loop.event_loop import EventLoop
from broker.runtime.loop_clock import LoopClock
from sandbox import StsServer
from tests.moto_backed.broker_in_process import InProcessBroker
from tests.process.pod import sessions_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sandbox import Sandbox

SESSION_LIFETIME = timedelta(minutes=5)
"""Shorter than botocore's mandatory refresh window, so that botocore calls its provider for each request."""
CALLER_SCRIPT = "import boto3; print(boto3.client('sts').get_caller_identity()['Arn'])"


@pytest.fixture
def sts(box: Sandbox) -> Iterator[StsServer]:
    with StsServer(account=box.account, addresses=box.addresses, session_lifetime=SESSION_LIFETIME) as server:
        yield server


@pytest.fixture
def make_broker(box: Sandbox, sts: StsServer, role_arn: str, tmp_path: Path) -> Callable[..., InProcessBroker]:
    volume = box.projected_token(tmp_path / "volume")

    def make(names: tuple[str, ...] = ("default",), **publish: Any) -> InProcessBroker:  # noqa: ANN401 - of PublishSpec
        return InProcessBroker(
            profiles=[
                ProfileSpec(
                    name=name,
                    role_arn=role_arn,
                    region=box.region,
                    token_file=str(volume.path),
                    session_name=f"session-of-{name}",
                )
                for name in names
            ],
            sts=StsSpec(endpoint_url=sts.url),
            publish=PublishSpec(directory=str(tmp_path / "published"), **publish),
            clock=LoopClock(EventLoop()),
        )

    return make


@pytest.fixture
def make_session(sts: StsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Return a function that makes a boto3 session, as an app does that has only the given variables."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    nothing = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    fixed = {"AWS_EC2_METADATA_DISABLED": "true", "AWS_ENDPOINT_URL_STS": sts.url, "NO_PROXY": "127.0.0.1"}

    def make(profile: str | None = None, **environment: str) -> Any:  # noqa: ANN401 - boto3 has no static types
        for name, value in {**nothing, **fixed, **environment}.items():
            monkeypatch.setenv(name, value.format(published=tmp_path / "published"))
        return boto3.session.Session(profile_name=profile)

    return make


def test_sdk_with_the_config_file_follows_each_generation(
    make_broker: Callable[..., InProcessBroker], make_session: Callable[..., Any], sts: StsServer
) -> None:
    broker = make_broker()
    broker.publish_next()
    session = make_session(AWS_CONFIG_FILE="{published}/config")
    client = session.client("sts")
    assert client.meta.region_name == "eu-west-1"
    keys = []
    for _ in range(3):
        assert client.get_caller_identity()["Arn"].endswith("/moto-backed-app/session-of-default")
        keys.append(session.get_credentials().get_frozen_credentials().access_key)
        broker.publish_next()
    client.close()
    assert keys == list(sessions_of(sts))[:3]


def test_sdk_finds_each_profile_by_its_name(
    make_broker: Callable[..., InProcessBroker], make_session: Callable[..., Any]
) -> None:
    make_broker(names=("default", "audit", "backup.eu")).publish_next()
    for name in ("default", "audit", "backup.eu"):
        for setting in (
            "AWS_CONFIG_FILE={published}/config",
            "AWS_SHARED_CREDENTIALS_FILE={published}/credentials",
        ):
            variable, _, value = setting.partition("=")
            environment = {"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "eu-west-1", variable: value}
            client = make_session(profile=name, **environment).client("sts")
            assert client.get_caller_identity()["Arn"].endswith(f"/session-of-{name}")
            client.close()


def test_new_session_reads_the_current_shared_credentials_file(
    make_broker: Callable[..., InProcessBroker], make_session: Callable[..., Any], sts: StsServer
) -> None:
    broker = make_broker()
    for number in range(2):
        broker.publish_next()
        file = "{published}/credentials"
        session = make_session(AWS_SHARED_CREDENTIALS_FILE=file, AWS_DEFAULT_REGION="eu-west-1")
        client = session.client("sts")
        assert client.get_caller_identity()["Account"] == "123456789012"
        assert session.get_credentials().access_key == list(sessions_of(sts))[number]
        client.close()


def test_env_file_sourced_by_sh_gives_a_program_its_credentials(
    make_broker: Callable[..., InProcessBroker], sts: StsServer, tmp_path: Path
) -> None:
    make_broker(env=True).publish_next()
    file = tmp_path / "published" / "default.env"
    script = f'set -aeu; . {shlex.quote(str(file))}; set +a; exec {shlex.quote(sys.executable)} -c "$0"'
    done = subprocess.run(
        ["sh", "-c", script, CALLER_SCRIPT],
        env={"PATH": os.environ["PATH"], "AWS_ENDPOINT_URL_STS": sts.url, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stderr, done.returncode) == ("", 0)
    assert done.stdout.endswith("/moto-backed-app/session-of-default\n")
    assert stat.S_IMODE(file.stat().st_mode) == 0o640


def test_reader_of_revoked_credentials_works_again_with_the_next_generation(
    make_broker: Callable[..., InProcessBroker], make_session: Callable[..., Any], sts: StsServer
) -> None:
    broker = make_broker()
    broker.publish_next()
    client = make_session(AWS_CONFIG_FILE="{published}/config").client("sts")
    client.get_caller_identity()
    sts._authority._sessions.clear()
    with pytest.raises(botocore.exceptions.ClientError, match="InvalidClientTokenId"):
        client.get_caller_identity()
    broker.publish_next()
    assert client.get_caller_identity()["Account"] == "123456789012"
    client.close()
