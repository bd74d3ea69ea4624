"""Programs that read credentials once are notified about each later generation: nginx, and programs with boto3.

Sessions last seconds here, so three generations do as well. Nothing that a target does delays a refresh or the end.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.process.pod import sessions_of
from tests.support.program import eventually, read_proc_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sandbox import StsServer
    from tests.process.pod import Pod
    from tests.support.program import Program

pytestmark = pytest.mark.process

NGINX = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin:{Path(__file__).parents[2]}/.nginx/usr/sbin") or ""
SESSION_SECONDS = 8.0
"""Half of it is a cycle, but for a tenth."""
NGINX_CONFIG = """
{user}
daemon off;
pid {root}/nginx.pid;
events {{ worker_connections 16; }}
http {{
  access_log off;
  client_body_temp_path {root}/body;
  proxy_temp_path {root}/proxy;
  fastcgi_temp_path {root}/fastcgi;
  uwsgi_temp_path {root}/uwsgi;
  scgi_temp_path {root}/scgi;
  open_file_cache max=8 inactive=1h;
  open_file_cache_valid 1h;
  server {{
    listen unix:{root}/s;
    root {root}/published;
  }}
}}
"""
READER = """
import signal, sys, threading
import boto3
changed = threading.Event()
signal.signal(signal.SIGHUP, lambda *_: changed.set())
while True:
    session = boto3.Session()
    print(session.get_credentials().get_frozen_credentials().access_key, flush=True)
    while not changed.wait(0.05):
        pass
    changed.clear()
"""
"""A program that reads credentials at its start and after SIGHUP, and never otherwise."""
STUBBORN = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("started", flush=True)
while True:
    signal.pause()
"""


@pytest.fixture
def new_target() -> Iterator[Callable[[str], Target]]:
    targets: list[Target] = []

    def start(behavior: str) -> Target:
        targets.append(Target(behavior))
        return targets[-1]

    yield start
    for target in targets:
        target.close()


class Target:
    """An HTTP server that counts requests and behaves as its test wants: `ok`, `401`, `hang`, `drip` or `huge`."""

    def __init__(self, behavior: str) -> None:
        self.behavior = behavior
        self.requests: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/-/reload"
        self._open: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # this ends `accept`, which would keep the port open
        self._listener.close()
        for each in self._open:
            each.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._open.append(connection)
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with suppress(OSError):
            self.requests.append(connection.recv(65536).decode())
            head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
            match self.behavior:
                case "ok":
                    connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
                case "401":
                    connection.sendall(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")
                case "drip":
                    connection.sendall(head)
                    while True:
                        connection.sendall(b"X: y\r\n")
                        time.sleep(0.2)
                case "huge":
                    connection.sendall(head + b"\r\n")
                    while True:
                        connection.sendall(b"x" * 65536)
            if self.behavior != "hang":
                connection.close()


def configure(pod: Pod, *targets: dict[str, str]) -> dict[str, Any]:
    """Write a settings file with these targets. Return the variable that names it."""
    file = pod.root / "broker.yaml"
    file.write_text(yaml.safe_dump({"notify": list(targets)}))
    return {"BROKER_CONFIG": str(file)}


def published_key(pod: Pod) -> str:
    found = re.search(r'"AccessKeyId": ?"(\w+)"', (pod.published / "default.json").read_text())
    assert found
    return found[1]


def refresh(program: Program, generation: int) -> None:
    """Request a refresh, and wait until its credentials are published."""
    program.refresh()
    program.wait_for("refreshed", generation=generation)


def counter(program: Program, target: str, outcome: str) -> float:
    labels = re.escape(f'{{profile="default",target="{target}",outcome="{outcome}"}}')
    found = re.search(rf"^sts_broker_notifications_total{labels} (\S+)$", program.get("/metrics").body, re.MULTILINE)
    assert found
    return float(found[1])


class Nginx:
    """nginx, which serves a published file through its cache of open files: it reads the file once."""

    def __init__(self, pod: Pod) -> None:
        self.pid_file, self._socket = pod.root / "nginx.pid", pod.root / "s"
        config = pod.root / "nginx.conf"
        config.write_text(NGINX_CONFIG.format(root=pod.root, user="user root;" if os.geteuid() == 0 else ""))
        self._log = (pod.root / "nginx.log").open("wb")
        command = [NGINX, "-e", "stderr", "-p", str(pod.root), "-c", str(config)]
        self._process = subprocess.Popen(command, stderr=self._log, stdin=subprocess.DEVNULL)
        eventually(lambda: self.pid_file.exists() and self.pid_file.read_text().strip(), what="nginx")

    def get_key(self) -> str:
        """Return the access key that nginx serves."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self._socket))
            connection.sendall(b"GET /default.json HTTP/1.0\r\n\r\n")
            answer = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
        found = re.search(r'"AccessKeyId": ?"(\w+)"', answer)
        return found[1] if found else answer

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=10)
        self._log.close()


@pytest.fixture
def new_nginx() -> Iterator[Callable[[Pod], Nginx]]:
    if not NGINX:
        pytest.skip("SKIPPED: nginx is not installed")
    started: list[Nginx] = []

    def start(pod: Pod) -> Nginx:
        started.append(Nginx(pod))
        return started[-1]

    yield start
    for each in started:
        each.close()


@pytest.mark.xdist_group("nginx")  # a signal by name reaches every nginx of the user
@pytest.mark.parametrize("by", ["pid_file", "process"])
def test_nginx_serves_each_generation_after_its_signal(pod: Pod, new_nginx: Callable[[Pod], Nginx], by: str) -> None:
    if by == "process":
        require_no_other_nginx()
    target = {"signal": "HUP", by: str(pod.root / "nginx.pid") if by == "pid_file" else "nginx"}
    program = pod.start_and_publish(**configure(pod, target))
    nginx = new_nginx(pod)
    assert nginx.get_key() == published_key(pod)
    for generation in (2, 3, 4):
        refresh(program, generation)
        program.wait_for("notified", generation=generation, attempts=1)
        eventually(lambda: nginx.get_key() == published_key(pod), what="the new key")
    assert counter(program, f"{by}:{target[by]}", "success") == 3


def require_no_other_nginx() -> None:
    """Skip the test if this machine runs an nginx of its own, which must not get signals of a test."""
    for path in Path("/proc").glob("[0-9]*/comm"):
        with suppress(FileNotFoundError, ProcessLookupError):  # it has ended since
            if path.read_text() == "nginx\n":
                pytest.skip("SKIPPED: another nginx runs on this machine")


@pytest.mark.xdist_group("nginx")  # a signal by name reaches every nginx of the user
def test_nginx_that_is_not_notified_keeps_the_first_key(pod: Pod, new_nginx: Callable[[Pod], Nginx]) -> None:
    """Proves that the test above can fail."""
    program = pod.start_and_publish()
    nginx = new_nginx(pod)
    first = nginx.get_key()
    refresh(program, 2)
    assert published_key(pod) != first
    assert nginx.get_key() == first


def test_http_target_gets_its_token_with_each_generation_but_the_first(
    pod: Pod, new_target: Callable[[str], Target], tmp_path: Path
) -> None:
    target, bearer = new_target("ok"), tmp_path / "bearer"
    bearer.write_text("reload-7f3d\n")
    program = pod.start_and_publish(**configure(pod, {"url": target.url, "bearer_file": str(bearer)}))
    for generation in (2, 3, 4):
        refresh(program, generation)
        program.wait_for("notified", generation=generation, target=target.url)
    assert len(target.requests) == 3
    for request in target.requests:
        assert request.startswith("POST /-/reload HTTP/1.1\r\n")
        assert "Authorization: Bearer reload-7f3d\r\n" in request
    assert "reload-7f3d" not in program.output() + program.get("/status").body + program.get("/metrics").body
    assert counter(program, target.url, "success") == 3


@pytest.mark.parametrize("behavior", ["hang", "drip", "huge", "401", "closed"])
def test_target_that_fails_delays_neither_refreshes_nor_the_end(
    pod: Pod, new_target: Callable[[str], Target], behavior: str
) -> None:
    target = new_target(behavior)
    if behavior == "closed":
        target.close()
    program = pod.start_and_publish(**configure(pod, {"url": target.url}))
    for generation in (2, 3, 4):
        began = time.monotonic()
        refresh(program, generation)
        assert time.monotonic() - began < 3
        assert program.get("/livez").status == program.get("/readyz").status == 200
    if behavior == "huge":  # the answer says 200, and nobody reads the rest
        program.wait_for("notified", generation=4)
    elif behavior in {"401", "closed"}:
        program.wait_for("notify_superseded", generation=3)
    began = time.monotonic()
    program.signal(signal.SIGTERM)
    assert program.wait() == 0
    assert time.monotonic() - began < 2


def test_failed_notification_is_reported_until_one_succeeds(pod: Pod, new_target: Callable[[str], Target]) -> None:
    target = new_target("401")
    program = pod.start_and_publish(**configure(pod, {"url": target.url}))
    refresh(program, 2)
    line = program.wait_for("notify_failed", within=40)
    assert (line["attempts"], line["generation"], line["level"]) == (3, 2, "error")
    assert line["message"].startswith(f"{target.url} answered 401. Set bearer_file to a file with the token")
    assert len(target.requests) == 3
    fault = f'sts_broker_notification_fault{{profile="default",target="{target.url}"}}'
    assert f"{fault} 1.0\n" in program.get("/metrics").body
    assert program.status()["notifications"][0]["fault"]["message"] == f"{target.url} answered 401."
    target.behavior = "ok"
    refresh(program, 3)
    program.wait_for("notified", generation=3)
    assert f"{fault} 0.0\n" in program.get("/metrics").body
    assert (counter(program, target.url, "failure"), counter(program, target.url, "success")) == (1, 1)


def test_restart_notifies_only_programs_that_may_have_older_credentials(
    pod: Pod, new_target: Callable[[str], Target]
) -> None:
    target = new_target("ok")
    settings = configure(pod, {"url": target.url})
    pod.start_and_publish(**settings).kill()
    program = pod.start(**settings)
    program.wait_for("restored")
    refresh(program, 2)
    program.wait_for("notified", generation=2)
    assert len(target.requests) == 1
    program.kill()
    (pod.published / ".state.json").unlink()  # what is published cannot be restored, but programs may have it
    program = pod.start(**settings)
    program.wait_for("restore_skipped")
    program.wait_for("notified", generation=1)
    assert len(target.requests) == 2


def test_once_notifies_nobody(pod: Pod, new_target: Callable[[str], Target]) -> None:
    target = new_target("ok")
    settings = configure(pod, {"url": target.url})
    for _ in range(2):
        assert pod.run("once", **settings).code == 0
    assert target.requests == []


class TestExec:
    """A command of `exec` that reads credentials once."""

    @pytest.fixture
    def brief_pod(self, new_pod: Callable[[StsServer], Pod], brief_sts: Callable[[float], StsServer]) -> Pod:
        pod = new_pod(brief_sts(SESSION_SECONDS))
        pod.published.mkdir()
        return pod

    @pytest.mark.parametrize("action", ["signal:HUP", "restart"])
    def test_command_has_the_key_of_each_generation(self, brief_pod: Pod, action: str) -> None:
        program = brief_pod.start("exec", "--on-refresh", action, "--", sys.executable, "-c", READER)
        event = "command_restarted" if action == "restart" else "command_signaled"
        program.wait_for(event, generation=3, within=60)
        issued = list(sessions_of(brief_pod.sts))
        keys = eventually(lambda: found if len(found := read_keys(program)) >= 3 else [], what="three keys")
        assert len(set(keys)) == len(keys)
        assert set(keys) <= set(issued)
        program.signal(signal.SIGTERM)
        assert program.wait() == 128 + signal.SIGTERM
        assert list(brief_pod.published.iterdir()) == []

    def test_command_without_action_keeps_the_first_key(self, brief_pod: Pod) -> None:
        """Proves that the test above can fail."""
        program = brief_pod.start("exec", "--", sys.executable, "-c", READER)
        program.wait_for("refreshed", generation=3, within=60)
        assert len(read_keys(program)) == 1

    def test_restarted_command_gets_new_keys_in_its_environment(self, brief_pod: Pod) -> None:
        command = ("sh", "-c", 'echo "$AWS_ACCESS_KEY_ID"; exec sleep 1000')
        program = brief_pod.start("exec", "--env", "--on-refresh", "restart", "--", *command)
        program.wait_for("command_restarted", generation=2, within=60)
        keys = eventually(lambda: found if len(found := read_keys(program)) >= 2 else [], what="two keys")
        assert keys[0] != keys[1]

    def test_exit_code_is_that_of_the_last_command(self, brief_pod: Pod, tmp_path: Path) -> None:
        command = ("sh", "-c", f"[ -e {tmp_path}/again ] && exit 7; touch {tmp_path}/again; exec sleep 1000")
        program = brief_pod.start("exec", "--on-refresh", "restart", "--", *command)
        assert program.wait(60) == 7

    def test_command_that_ends_by_itself_is_not_started_again(self, brief_pod: Pod) -> None:
        program = brief_pod.start("exec", "--on-refresh", "restart", "--", "sh", "-c", "sleep 0.5; exit 3")
        assert program.wait(30) == 3
        assert program.lines("command_restarted") == []

    def test_signal_during_a_restart_cancels_it(self, brief_pod: Pod) -> None:
        program = brief_pod.start("exec", "--on-refresh", "restart", "--", sys.executable, "-c", STUBBORN)
        program.wait_for("command_stopping", within=60)
        (command,) = (child for child in program.children() if "SIG_IGN" in read_proc_file(child, "cmdline"))
        program.signal(signal.SIGTERM)
        time.sleep(0.3)
        program.signal(signal.SIGKILL, command)
        assert program.wait() == 128 + signal.SIGKILL
        assert program.lines("command_restarted") == []

    def test_command_that_cannot_be_started_again_ends_exec(self, brief_pod: Pod, tmp_path: Path) -> None:
        script = tmp_path / "script"
        script.write_text(f"#!/bin/sh\nrm {script}\nexec sleep 1000\n")
        script.chmod(0o755)
        program = brief_pod.start("exec", "--on-refresh", "restart", "--", str(script))
        assert program.wait(60) == 127
        assert program.lines("stopping")[-1]["message"].startswith(f"Cannot run {script}: No such file")

    def test_settings_of_run_are_reported_as_unused(self, pod: Pod) -> None:
        pod.published.mkdir()
        settings = configure(pod, {"url": "http://127.0.0.1:9/"})
        ended = pod.run("exec", "--", "true", **settings)
        assert ended.code == 0
        assert [line["message"] for line in ended.lines if line["event"] == "warning"] == [
            "notify is set but not used: exec notifies its own command only. Use --on-refresh."
        ]


def read_keys(program: Program) -> list[str]:
    """Return the access keys that the command has printed."""
    return re.findall(r"^(A[A-Z0-9]{15,})$", program.output(), re.MULTILINE)
