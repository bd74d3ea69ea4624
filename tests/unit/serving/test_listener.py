"""The listener over real sockets: which clients are dropped, which make room, where it listens, how it ends."""

from __future__ import annotations

import contextlib
import errno
import http.client
import resource
import socket
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import pytest

from broker.serving.http_messages import Response
from broker.serving.listener import CLIENT_PATIENCE_SECONDS, Listener, open_socket
from tests.support.loops import LoopThread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from broker.serving.http_messages import Request

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
LARGE_BODY = b"x" * 8_000_000
"""More than the kernel buffers for one connection."""


def greet(request: Request) -> Response:
    """Answer every request the same way, except `/fail` and `/large`."""
    if request.path == "/fail":
        raise ZeroDivisionError
    return Response(status=HTTPStatus.OK, body=LARGE_BODY if request.path == "/large" else b"hi")


class Monotonic:
    """A monotonic clock that a test can advance."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        """Return the time in seconds."""
        return time.monotonic() + self.ahead


@pytest.fixture
def clock() -> Monotonic:
    return Monotonic()


@pytest.fixture
def loop(clock: Monotonic) -> Iterator[LoopThread]:
    thread = LoopThread(clock)
    thread.start()
    yield thread
    thread.stop()


@pytest.fixture
def new_listener(loop: LoopThread) -> Iterator[Callable[..., Listener]]:
    made: list[Listener] = []

    def make(**settings: Any) -> Listener:  # noqa: ANN401 - of a listener
        made.append(Listener(greet, open_socket("127.0.0.1", 0), loop.loop, name="greeter", **settings))
        loop.run(made[-1].start)
        return made[-1]

    yield make
    for listener in made:
        loop.run(listener.close)


def get(listener: Listener, path: str = "/") -> int:
    """Return the status of a GET on a connection of its own."""
    host, port = listener.address
    with contextlib.closing(http.client.HTTPConnection(host, port, timeout=5)) as connection:
        connection.request("GET", path)
        response = connection.getresponse()
        response.read()
        return response.status


def eventually(is_so: Callable[[], bool]) -> bool:
    """Return whether this becomes so within 10 s."""
    deadline = time.monotonic() + 10
    while not is_so() and time.monotonic() < deadline:
        time.sleep(0.005)
    return is_so()


def test_closed_listener_answers_nobody_and_can_be_closed_again(
    new_listener: Callable[..., Listener], loop: LoopThread
) -> None:
    listener = new_listener()
    assert get(listener) == 200
    loop.run(listener.close)
    with pytest.raises(ConnectionRefusedError):
        get(listener)
    loop.run(listener.close)
    assert listener.get_deadline() is None


def test_listener_closes_with_clients_still_connected(new_listener: Callable[..., Listener], loop: LoopThread) -> None:
    listener = new_listener()
    with socket.create_connection(listener.address) as client:
        assert answers(client)
        loop.run(listener.close)
        assert is_dropped(client)


def test_listener_is_closed_after_its_loop_has_ended(clock: Monotonic) -> None:
    """As at the end of `run`."""
    thread = LoopThread(clock)
    thread.start()
    listener = Listener(greet, open_socket("127.0.0.1", 0), thread.loop, name="greeter")
    thread.run(listener.start)
    with socket.create_connection(listener.address) as client:
        assert answers(client)
        thread.stop()
        listener.close()
        assert is_dropped(client)


def test_application_that_fails_answers_500_and_the_listener_goes_on(
    new_listener: Callable[..., Listener], caplog: pytest.LogCaptureFixture
) -> None:
    listener = new_listener()
    assert [get(listener, "/fail"), get(listener)] == [500, 200]
    assert "ZeroDivisionError" in caplog.text


def test_client_that_upgrades_is_answered_in_http_1_and_the_connection_ends(
    new_listener: Callable[..., Listener],
) -> None:
    """As curl --http2 does."""
    with socket.create_connection(new_listener().address, timeout=5) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
        received = b""
        while chunk := client.recv(65536):
            received += chunk
    assert received.startswith(b"HTTP/1.1 200 OK\r\n")
    assert received.endswith(b"Connection: close\r\n\r\nhi")


class TestSlowClients:
    """They may keep a place for a while, and nobody waits for them."""

    def test_client_that_trickles_its_request_is_dropped_at_the_end_of_its_patience(
        self, new_listener: Callable[..., Listener], clock: Monotonic
    ) -> None:
        """A byte now and then does not extend the time: it counts from the first one."""
        listener = new_listener()
        with socket.create_connection(listener.address) as trickling:
            trickling.sendall(b"GET / HTTP/1.1\r\nHos")
            assert get(listener) == 200, "whose request arrived later, so that the first one has begun by now"
            clock.ahead = CLIENT_PATIENCE_SECONDS - 1
            trickling.sendall(b"t")
            assert get(listener) == 200
            assert eventually(lambda: listener.client_count == 1), "the other client has gone, this one stays"
            clock.ahead = CLIENT_PATIENCE_SECONDS + 1
            trickling.sendall(b":")
            assert is_dropped(trickling)
        assert get(listener) == 200

    def test_client_that_was_idle_gets_its_whole_time_for_a_new_request(
        self, new_listener: Callable[..., Listener], clock: Monotonic
    ) -> None:
        listener = new_listener()
        with socket.create_connection(listener.address) as client:
            assert answers(client)
            clock.ahead = CLIENT_PATIENCE_SECONDS - 1
            client.sendall(REQUEST[:10])
            assert get(listener) == 200
            clock.ahead = CLIENT_PATIENCE_SECONDS + 5
            assert get(listener) == 200
            client.sendall(REQUEST[10:])
            assert client.recv(100).startswith(b"HTTP/1.1 200 OK")

    def test_idle_client_is_dropped_without_any_other_event(self, new_listener: Callable[..., Listener]) -> None:
        listener = new_listener(patience_seconds=0.1)
        with socket.create_connection(listener.address) as client:
            assert is_dropped(client)

    def test_client_that_does_not_read_its_answer_is_dropped_and_delays_nobody(
        self, new_listener: Callable[..., Listener], clock: Monotonic
    ) -> None:
        listener = new_listener()
        with socket.create_connection(listener.address) as client:
            client.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n" + REQUEST * 100)
            assert eventually(lambda: listener.client_count == 1)
            assert get(listener) == 200
            clock.ahead = CLIENT_PATIENCE_SECONDS + 1
            assert get(listener) == 200
            assert eventually(lambda: listener.client_count == 0)

    def test_client_that_reads_slowly_gets_the_whole_answer(self, new_listener: Callable[..., Listener]) -> None:
        with socket.create_connection(new_listener().address, timeout=5) as client:
            client.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
            time.sleep(0.05)
            received = bytearray()
            while len(received) < len(LARGE_BODY) or not received.endswith(b"x"):
                received += client.recv(1 << 20)
            assert bytes(received).partition(b"\r\n\r\n")[2] == LARGE_BODY
            assert answers(client), "the connection goes on"

    def test_slow_clients_that_take_every_place_lock_out_nobody(self, new_listener: Callable[..., Listener]) -> None:
        listener = new_listener(connections=10)
        with contextlib.ExitStack() as stack:
            slow = [stack.enter_context(socket.create_connection(listener.address)) for _ in range(40)]
            for client in slow:
                with contextlib.suppress(ConnectionError):  # it may have been dropped already
                    client.sendall(b"GET / HT")
            for _ in range(20):
                assert get(listener) == 200
            assert listener.client_count <= 10
            assert is_dropped(slow[0])

    def test_client_that_makes_room_is_the_one_that_has_waited_longest(
        self, new_listener: Callable[..., Listener]
    ) -> None:
        listener = new_listener(connections=3)
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(socket.create_connection(listener.address)) for _ in range(3)]
            for client in [*clients, clients[0]]:  # the second is now the one whose last answer is the oldest
                assert answers(client)
            assert get(listener) == 200
            assert is_dropped(clients[1])
            assert answers(clients[0])
            assert answers(clients[2])

    def test_process_without_a_descriptor_left_drops_the_slowest_and_answers_the_next(
        self, new_listener: Callable[..., Listener]
    ) -> None:
        listener = new_listener()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(socket.create_connection(listener.address)) for _ in range(20)]
            assert eventually(lambda: listener.client_count == 20)
            client = stack.enter_context(socket.socket())
            client.settimeout(5)
            stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
            resource.setrlimit(resource.RLIMIT_NOFILE, (client.fileno(), hard))
            client.connect(listener.address)
            assert answers(client)
            assert is_dropped(clients[0])
            assert not is_dropped_now(clients[-1])

    def test_thousands_of_connections_leave_nothing_behind(self, new_listener: Callable[..., Listener]) -> None:
        listener = new_listener()
        for number in range(2000):
            with socket.create_connection(listener.address) as client:
                if number % 4 == 1:
                    client.sendall(b"GET /")
                elif number % 4 == 2:
                    client.sendall(REQUEST)
                elif number % 4 == 3:
                    client.sendall(REQUEST * 3)
                    client.recv(10)
        assert get(listener) == 200
        assert eventually(lambda: listener.client_count == 0)


class TestSocket:
    """Where it listens."""

    @pytest.mark.parametrize(("host", "client"), [("127.0.0.1", "127.0.0.1"), ("localhost", "localhost")])
    def test_host_is_where_it_listens(self, host: str, client: str) -> None:
        with open_socket(host, 0) as listening:
            socket.create_connection((client, listening.getsockname()[1])).close()

    @pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
    def test_ipv6_loopback(self) -> None:
        with open_socket("::1", 0) as listening:
            socket.create_connection(("::1", listening.getsockname()[1])).close()

    @pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
    def test_no_host_means_both_families(self) -> None:
        with open_socket("", 0) as listening:
            for host in ("127.0.0.1", "::1"):
                socket.create_connection((host, listening.getsockname()[1])).close()

    def test_no_host_means_at_least_ipv4(self) -> None:
        with open_socket("", 0) as listening:
            socket.create_connection(("127.0.0.1", listening.getsockname()[1])).close()

    def test_port_in_use_is_an_os_error(self) -> None:
        with open_socket("127.0.0.1", 0) as taken, pytest.raises(OSError, match="in use") as caught:
            open_socket("127.0.0.1", taken.getsockname()[1])
        assert caught.value.errno == errno.EADDRINUSE

    def test_port_in_use_on_every_address_is_an_os_error(self) -> None:
        with open_socket("", 0) as taken, pytest.raises(OSError, match="in use"):
            open_socket("", taken.getsockname()[1])

    @pytest.mark.parametrize("host", ["host.invalid", "256.1.1.1", "a..b", "192.0.2.1"])
    def test_host_that_is_none_of_ours_is_an_os_error(self, host: str) -> None:
        with pytest.raises(OSError, match=r"."):
            open_socket(host, 0)


def answers(client: socket.socket) -> bool:
    """Return whether a request on this connection is answered."""
    client.settimeout(5)
    client.sendall(REQUEST)
    received = b""
    while not received.endswith(b"hi"):
        chunk = client.recv(65536)
        if not chunk:
            return False
        received += chunk
    return True


def is_dropped(client: socket.socket) -> bool:
    """Return whether the other end closes, or has closed, this connection."""
    client.settimeout(5)
    try:
        return client.recv(65536) == b""
    except ConnectionError:
        return True


def is_dropped_now(client: socket.socket) -> bool:
    """Return whether the other end has closed this connection."""
    client.settimeout(0)
    try:
        return client.recv(65536) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True
