"""Containers that share one network, as in a pod: the app reaches the broker on loopback at the ports of the manifests.

The network belongs to a container that does nothing else, like a kubelet's pause container. The simulator runs in this
network too, because the network has no other connection.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.image.container_pod import FS_GROUP, ContainerPod
from tests.support.program import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.image.conftest import Built
    from tests.support.containers import Containers

pytestmark = pytest.mark.process

REPOSITORY = Path(__file__).parents[2]
PAUSE = "pause"
NETWORK = f"container:{PAUSE}"
DEFAULT_PORTS = {"BROKER_HEALTH_ADDRESS": "", "BROKER_ENDPOINT_ADDRESS": ""}
SDK = (
    "import botocore.session as b, json; c = b.get_session().get_credentials();"
    "print(json.dumps([c.method, c.access_key, c.secret_key, c.token]))"
)
PROBE = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:9910/readyz').status)"
WITHOUT_TOKEN = (
    "import urllib.request as u, urllib.error as e\n"
    "try: u.urlopen('http://127.0.0.1:9911/v1/credentials')\n"
    "except e.HTTPError as x: print(x.code)\n"
    "except e.URLError as x: print(type(x.reason).__name__)"
)


@pytest.fixture
def network(tools: Containers, built: Built) -> Iterator[Path]:
    """Create an isolated network that belongs to a container. Yields the file by which other processes join it."""
    options = ("--detach", "--rm", "--pull=never", "--timeout=120", f"--name={PAUSE}", "--network=none")
    code = "import signal; signal.pause()"
    tools.podman("run", *options, "--entrypoint=/usr/local/bin/python3", built.sidecar, "-c", code)
    yield Path(f"/proc/{tools.pid_of(PAUSE)}/ns/net")
    tools.podman("rm", "--force", "--time=0", PAUSE)


@pytest.fixture
def settings(network: Path, tmp_path: Path) -> Iterator[dict[str, str]]:
    """Run a simulator in that network, with its token in `tmp_path`. Yields the environment for a broker."""
    command = ["nsenter", f"--net={network}", sys.executable, "-m", "sandbox", "--directory", str(tmp_path / "token")]
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    output = tmp_path / "simulator"
    with output.open("wb") as stream:
        process = subprocess.Popen(command, cwd=REPOSITORY, stdout=stream, env=environment)
    try:
        yield dict(
            eventually(lambda: re.findall(r"^export (AWS_\w+)=(.*)$", output.read_text(), re.MULTILINE), within=30)
        )
    finally:
        process.terminate()
        process.wait()


@pytest.fixture
def shared(tools: Containers, built: Built, settings: dict[str, str], tmp_path: Path) -> Iterator[ContainerPod]:
    """Create a pod in that network, and run the broker in it at the ports of the manifests."""
    pod = ContainerPod(
        tools=tools, image=built.sidecar, root=tmp_path, token_directory=tmp_path / "token", settings=settings
    )
    try:
        pod.start(network=NETWORK, **DEFAULT_PORTS).wait_for("refreshed")
        yield pod
    finally:
        pod.close()


def test_only_an_app_in_the_pod_gets_credentials_on_loopback(shared: ContainerPod) -> None:
    for network in (NETWORK, "container:broker"):
        ended = shared.app(
            "python3", "-c", SDK, user="1000:1000", groups=(FS_GROUP,), network=network, image=shared.image
        )
        assert ended.code == 0, ended.err
        published = json.loads((shared.published / "default.json").read_text())
        keys = [published[name] for name in ("AccessKeyId", "SecretAccessKey", "SessionToken")]
        assert json.loads(ended.out) == ["container-role", *keys]
    assert shared.app("python3", "-c", PROBE, user="1000:1000", network=NETWORK).out == "200\n"
    without_token = ("python3", "-c", WITHOUT_TOKEN)
    assert shared.app(*without_token, user="1000:1000", network=NETWORK).out == "401\n"
    assert shared.app(*without_token, user="1000:1000", network="none").out == "ConnectionRefusedError\n"


def test_app_outside_the_group_cannot_read_the_endpoints_token(shared: ContainerPod) -> None:
    ended = shared.app("python3", "-c", SDK, user="1000:1000", network=NETWORK, image=shared.image)
    assert ended.code != 0
    assert "Permission denied: '/var/run/aws/endpoint-token'" in ended.err
