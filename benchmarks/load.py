"""Sends requests to a credentials endpoint from a process on another core.

Server and load generator run pinned on one core each, with real-time priority if allowed. This reduces the influence of
other load.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.runs import ROOT, BenchmarkError

if TYPE_CHECKING:
    from benchmarks.runs import Served

PATH = "/v1/credentials"


def send_requests(mode: str, count: int, server: Served) -> dict[str, Any]:
    """Send `count` requests from the last core. Return the output of `endpoint_client`."""
    arguments = ["127.0.0.1", str(server.port), PATH, str(server.token), mode, str(count)]
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.endpoint_client", *arguments], cwd=ROOT, stdout=subprocess.PIPE
    ) as process:
        pin_to_core(process.pid, cores()[-1])
        document: dict[str, Any] = json.loads(process.communicate()[0])
    return document


def send_correct_requests(mode: str, count: int, server: Served) -> dict[str, Any]:
    """Do the same. Raises BenchmarkError if a response is wrong."""
    result = send_requests(mode, count, server)
    if result["wrong"]:
        raise BenchmarkError(f"{len(result['wrong'])} of {count} responses are wrong, for example {result['wrong'][0]}")
    return result


def cores() -> list[int]:
    """Return the cores that this process may use."""
    return sorted(os.sched_getaffinity(0))


def pin_to_core(pid: int, core: int) -> None:
    """Run all present and later threads of a process on one core, with real-time priority if allowed."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(task.name), {core})
        with suppress(PermissionError):
            os.sched_setscheduler(int(task.name), os.SCHED_RR, os.sched_param(1))
