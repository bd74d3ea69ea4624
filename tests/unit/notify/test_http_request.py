"""HTTP requests to programs: what counts as success, what each failure says, and that no secret is in it."""

from __future__ import annotations

import os
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from broker.core.notify_targets import HttpTarget, NotifyFailure
from broker.notify.delivery import notify
from sandbox.http.loopback import LoopbackServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sandbox.http.loopback import Request, Wire


@pytest.fixture
def serve() -> Iterator[Callable[[int], tuple[str, list[Request]]]]:
    """Return a function that starts a server with one answer. It returns the URL, and the requests."""
    servers: list[LoopbackServer] = []

    def start(status: int) -> tuple[str, list[Request]]:
        requests: list[Request] = []

        def answer(request: Request, wire: Wire) -> None:
            requests.append(request)
            wire.send(status, {"Location": "/other"} if status == 302 else {}, b"s3cret in the answer")

        servers.append(LoopbackServer(answer=answer))
        return f"http://127.0.0.1:{servers[-1].port}/-/reload?token=s3cret", requests

    yield start
    for server in servers:
        server.stop()


def explain(target: HttpTarget) -> NotifyFailure:
    """Return why the target was not notified. No part of it quotes a secret."""
    failure = notify(target)
    assert failure is not None
    assert "s3cret" not in str(failure)
    return failure


@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
def test_any_2xx_answer_is_a_success(method: str, serve: Callable[[int], tuple[str, list[Request]]]) -> None:
    for status in (200, 202, 204):
        url, requests = serve(status)
        assert notify(HttpTarget(url=url, method=method)) is None
        (request,) = requests
        assert (request.method, request.path) == (method, "/-/reload?token=s3cret")


@pytest.mark.parametrize(
    ("status", "remedy"),
    [(302, "Set url"), (401, "Set bearer_file"), (403, "Set bearer_file"), (404, "Set url"), (500, "Set url")],
)
def test_other_answers_are_failures(
    status: int, remedy: str, serve: Callable[[int], tuple[str, list[Request]]]
) -> None:
    url, requests = serve(status)
    failure = explain(HttpTarget(url=url))
    assert failure.message.startswith(f"{url.partition('?')[0]} answered {status}")
    assert failure.remedy.startswith(remedy)
    assert len(requests) == 1


def test_port_without_listener_is_explained() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
    failure = explain(HttpTarget(url=url))
    assert failure.message == f"{url} did not answer: Connection refused."
    assert failure.remedy.startswith("Set url to the port on which the app listens")


def test_answer_that_is_not_http_is_explained() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"SSH-2.0-OpenSSH\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        failure = explain(HttpTarget(url=url))
        thread.join()
    assert failure.message.startswith(f"{url} did not answer: ")
    assert failure.remedy.startswith("Find out in the app's log")


def test_proxy_variables_are_ignored(
    monkeypatch: pytest.MonkeyPatch, serve: Callable[[int], tuple[str, list[Request]]]
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert notify(HttpTarget(url=serve(200)[0])) is None


def test_bearer_token_is_sent_as_the_file_has_it(
    tmp_path: Path, serve: Callable[[int], tuple[str, list[Request]]]
) -> None:
    url, requests = serve(200)
    file = tmp_path / "bearer"
    file.write_text(" s3cret-7f3d\n")
    assert notify(HttpTarget(url=url, bearer_file=str(file))) is None
    assert requests[0].headers["authorization"] == "Bearer s3cret-7f3d"


@pytest.mark.parametrize("content", ["", "s3cret\nX: y", "s3cret two", "s3cretö"])
def test_file_without_a_token_is_explained(content: str, tmp_path: Path) -> None:
    file = tmp_path / "bearer"
    file.write_text(content)
    failure = explain(HttpTarget(url="http://127.0.0.1:9/", bearer_file=str(file)))
    assert failure.message.startswith(f"The bearer_file {file} contains no token")


def test_bearer_file_that_cannot_be_read_is_explained(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for path, problem in (
        (str(tmp_path / "gone"), "No such file"),
        (str(fifo), "it is a FIFO"),
        ("/a\0b", "not a path"),
    ):
        failure = explain(HttpTarget(url="http://127.0.0.1:9/", bearer_file=path))
        assert failure.message.startswith(f"Cannot read the bearer_file {path}: {problem}")
        assert failure.remedy.startswith("Mount the file")
