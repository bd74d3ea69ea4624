"""One sandbox for all tests here (one in each worker), reset before each test, and a pod for each test."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from sandbox import Sandbox, StsServer
from tests.process.pod import Pod

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def shared_box() -> Iterator[Sandbox]:
    with Sandbox(issuer="https://oidc.process.example/cluster") as box:
        yield box


@pytest.fixture
def box(shared_box: Sandbox) -> Sandbox:
    shared_box.sts.clear_faults()
    shared_box.sts.clear_calls()
    return shared_box


@pytest.fixture(scope="session")
def role_arn(shared_box: Sandbox) -> str:
    """Make a role that trusts the pod. Sandboxes in one process share the moto account, so its name is unique."""
    return shared_box.create_role("process-app")


@pytest.fixture
def brief_sts(box: Sandbox) -> Iterator[Callable[[float], StsServer]]:
    """Return a function that starts another STS of the sandbox, whose sessions last the given seconds."""
    started: list[StsServer] = []

    def start(seconds: float) -> StsServer:
        lifetime = timedelta(seconds=seconds)
        started.append(StsServer(account=box.account, addresses=box.addresses, session_lifetime=lifetime))
        return started[-1]

    yield start
    for server in started:
        server.stop()


@pytest.fixture
def new_pod(box: Sandbox, role_arn: str, tmp_path: Path) -> Iterator[Callable[[StsServer], Pod]]:
    """Return a function that makes pods. At the end, no broker may have written a secret, a bug or a stray file."""
    pods: list[Pod] = []

    def make(sts: StsServer) -> Pod:
        root = tmp_path / f"pod-{len(pods)}"
        root.mkdir()
        pods.append(Pod(box=box, root=root, role_arn=role_arn, sts=sts))
        return pods[-1]

    yield make
    for pod in pods:
        pod.close()
    for pod in pods:
        message = pod.termination_message
        messages = [message.read_text()] if message.is_file() else []
        for text in [*(program.output() for program in pod.programs), *pod.outputs, *messages]:
            assert pod.canaries().found_in(text) == set()
            assert "Traceback" not in text
        assert pod.strays() == []


@pytest.fixture
def pod(box: Sandbox, new_pod: Callable[[StsServer], Pod]) -> Pod:
    return new_pod(box.sts)
