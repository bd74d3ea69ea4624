"""The listener over real sockets: who is dropped, who makes room for whom, where it listens, how it ends."""

from __future__ import annotations

import contextlib
import errno
import http.client
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from broker.core.errors import ConfigurationError
from broker.core.model import Configuration
from broker.runtime import daemon
from broker.serving.listener import CLIENT_PATIENCE_SECONDS, Listener, open_socket
from tests.support.fakes import make_profile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from broker.serving.listener import StartResponse

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


def greet(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
    """Answer everybody the same, but /fail."""
    if environ["PATH_INFO"] == "/fail":
        raise ZeroDivisionError
    start_response("200 OK", [("Content-Length", "2")])
    return [b"hi"]


@pytest.fixture
def new_listener() -> Iterator[Callable[..., Listener]]:
    made: list[Listener] = []

    def make(**settings: int) -> Listener:
        made.append(Listener(greet, open_socket("127.0.0.1", 0), name="greeter", **settings))
        made[-1].start()
        return made[-1]

    yield make
    for listener in made:
        if listener._thread.is_alive():
            listener.close()


def get(listener: Listener, path: str = "/") -> int:
    """Return the status of a GET on a connection of its own."""
    host, port = listener.address
    with contextlib.closing(http.client.HTTPConnection(host, port, timeout=5)) as connection:
        connection.request("GET", path)
        response = connection.getresponse()
        response.read()
        return response.status


def threads() -> set[str]:
    return {thread.name for thread in threading.enumerate()}


def test_closed_listener_answers_nobody_and_its_threads_are_gone(new_listener: Callable[..., Listener]) -> None:
    listener = new_listener()
    assert get(listener) == 200
    assert "greeter" in threads()
    listener.close()
    with pytest.raises(ConnectionRefusedError):
        get(listener)
    assert "greeter" not in threads()


def test_listener_closes_with_clients_still_connected(new_listener: Callable[..., Listener]) -> None:
    listener = new_listener()
    with socket.create_connection(listener.address) as client:
        client.sendall(REQUEST)
        assert client.recv(100)
        listener.close()
        assert client.recv(65536) is not None
    assert "greeter" not in threads()


def test_application_that_fails_answers_500_and_goes_on(new_listener: Callable[..., Listener]) -> None:
    listener = new_listener()
    assert [get(listener, "/fail"), get(listener)] == [500, 200]


class TestSlowClients:
    """They may keep a place for a while, and nobody waiting."""

    def test_client_that_trickles_its_request_is_dropped_and_others_are_not(
        self, new_listener: Callable[..., Listener]
    ) -> None:
        """By age, for every byte counts as activity to waitress."""
        listener = new_listener()
        with socket.create_connection(listener.address) as trickling:
            trickling.sendall(b"GET / HTTP/1.1\r\nHos")
            channels = listener._server.active_channels
            while not any(channel.request for channel in channels.values()):
                assert get(listener) == 200
            for channel in channels.values():
                channel.last_activity += CLIENT_PATIENCE_SECONDS  # as if a byte came then
            listener._drop_slow_clients(time.time() + CLIENT_PATIENCE_SECONDS - 1)
            assert not any(channel.will_close for channel in channels.values() if channel.request)
            listener._drop_slow_clients(time.time() + CLIENT_PATIENCE_SECONDS + 1)
            trickling.settimeout(5)
            with contextlib.suppress(ConnectionError):  # a reset, where the last byte came after the close
                trickling.sendall(b"t")
                assert trickling.recv(100) == b""
        assert get(listener) == 200

    def test_slow_clients_that_take_every_place_lock_out_nobody(self, new_listener: Callable[..., Listener]) -> None:
        listener = new_listener(connections=10)
        with contextlib.ExitStack() as stack:
            slow = [stack.enter_context(socket.create_connection(listener.address)) for _ in range(40)]
            for client in slow:
                client.sendall(b"GET / HT")
            for _ in range(20):
                assert get(listener) == 200
            assert len(listener._server.active_channels) <= 12
            assert is_dropped(slow[0])

    def test_client_that_makes_room_is_the_one_that_has_waited_longest(
        self, new_listener: Callable[..., Listener]
    ) -> None:
        listener = new_listener(connections=3)
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(socket.create_connection(listener.address)) for _ in range(3)]
            for client in [*clients, clients[0]]:  # the second is now the one whose last answer is the oldest
                assert answers(client)
                settle(listener)
            assert get(listener) == 200
            assert is_dropped(clients[1])
            assert answers(clients[0])
            assert answers(clients[2])

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
        deadline = time.monotonic() + 10
        while listener._server.active_channels and time.monotonic() < deadline:
            time.sleep(0.01)
        assert len(listener._server.active_channels) == 0
        assert len(listener._server._map) == 2, "the listening socket and the loop's pipe"


def test_port_that_is_often_taken_is_told_by_whom() -> None:
    text = daemon._why_no_socket("127.0.0.1", 9911, OSError(errno.EADDRINUSE, "in use"))
    assert text.endswith("set another one (the credential helper of IAM Roles Anywhere has 9911 too)")


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

    def test_port_in_use_is_told_by_the_name_of_its_setting(self) -> None:
        with open_socket("127.0.0.1", 0) as taken:
            port = taken.getsockname()[1]
            configuration = Configuration(
                profiles=(make_profile(),), health_host="127.0.0.1", health_port=port, endpoint_port=port
            )
            faults: list[str] = []
            for listen in (daemon._health_listener, daemon.credentials_listener):
                with pytest.raises(ConfigurationError) as caught:
                    listen(configuration, greet)
                faults += caught.value.faults
        assert "Roles Anywhere" not in "".join(faults)
        told = f"cannot listen on 127.0.0.1:{port}: Address already in use; something else in the pod has this port"
        assert faults == [
            f"BROKER_HEALTH_ADDRESS: {told}: set another one",
            f"BROKER_ENDPOINT_ADDRESS: {told}: set another one",
        ]


def settle(listener: Listener) -> None:
    """Wait until no answer is being made: waitress notes a client's activity after the client has its answer."""
    dispatcher = listener._server.task_dispatcher
    while dispatcher.queue or dispatcher.active_count:
        time.sleep(0.001)


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
