"""`sts-broker doctor` in the broker's own container, with the memory limit of deploy/ and with a lower one."""

from __future__ import annotations

import json
import socket
import time
from typing import TYPE_CHECKING, Any

from broker.worker.pool import IDLE_SECONDS

if TYPE_CHECKING:
    from tests.image.container_pod import ContainerPod
    from tests.support.containers import Containers
    from tests.support.program import Program


TAKEN_FROM_BROKER = "The running broker has credentials and reports no failure."


def start(pod: ContainerPod, *more: str) -> Program:
    """Start the broker with a health listener that the doctor can find, and wait for its credentials."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    program = pod.start(*more, BROKER_HEALTH_ADDRESS=f"127.0.0.1:{port}")
    program.wait_for("refreshed")
    return program


def diagnose(tools: Containers) -> dict[str, dict[str, Any]]:
    """Run the doctor in the broker's container. Return its lines by check id."""
    document = json.loads(tools.podman("exec", "broker", "sts-broker", "doctor", "--json"))
    return {each["check"]: each for each in document["checks"]}


def test_doctor_and_broker_fit_into_the_memory_limit_of_the_manifests(pod: ContainerPod, tools: Containers) -> None:
    program = start(pod)
    time.sleep(IDLE_SECONDS + 2)  # until the worker of the start has ended
    for _ in range(3):
        lines = diagnose(tools)
        assert lines["sts-tls"]["because"] == "memory"
        problems = {check: line for check, line in lines.items() if line["verdict"] in ("failed", "warning")}
        assert set(problems) <= {"publish-volume"}, problems  # without /dev/shm, this test's volume is on a disk
        assert lines["exchange"]["found"] == TAKEN_FROM_BROKER, lines["memory"]
        assert "is ready" in lines["broker"]["found"]
    assert program.is_running
    assert program.status()["generation"] == 1


def test_with_more_memory_the_doctor_calls_sts_itself(pod: ContainerPod, tools: Containers) -> None:
    start(pod, "--memory=96m", "--memory-swap=96m")
    lines = diagnose(tools)
    assert lines["exchange"]["found"].startswith("STS issued credentials for arn:aws:sts::"), lines["memory"]
