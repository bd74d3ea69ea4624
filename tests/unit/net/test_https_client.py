"""The HTTPS client against servers that misbehave: time and bytes are bounded in sum, and nothing stays behind."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
import traceback
import tracemalloc
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self

import pytest
from msgspec.structs import replace

from broker.net.http_messages import MAXIMUM_BODY_BYTES, Answer, Failure, NoAnswer, Request
from broker.net.https_client import fetch
from broker.net.routes import Route
from broker.net.tls import shared_context
from tests.support.fakes import make_jwt
from tests.support.issuer_site import HOST, Authority, Proxy, Site, endless, reply

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

URL = f"https://{HOST}/document"
LIMIT = 0.3
"""The time limit of tests that reach it, in seconds."""
TOLERANCE = 2.0
"""What a busy machine may add."""
DAY = timedelta(days=1)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
SECRET = make_jwt()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


class RawServer:
    """Runs a function for each connection, on a thread. `closed` is set once a client has closed its connection."""

    def __init__(self, serve: Callable[[socket.socket], None]) -> None:
        self.closed = threading.Event()
        self.connections = 0
        self._serve = serve
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                threading.Thread(target=self._run, args=(connection,), daemon=True).start()

    def _run(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            self._serve(connection)
            while connection.recv(65_536):
                pass
        self.closed.set()


def drip(start: bytes, piece: bytes = b"a") -> Callable[[socket.socket], None]:
    """Return a function that sends the start at once, then a piece every 20 ms until the client has gone."""

    def serve(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(start)
        while True:
            connection.sendall(piece)
            time.sleep(0.02)

    return serve


def tunnel_and_drip(connection: socket.socket) -> None:
    """Accept a CONNECT, and drip the answer to the TLS greeting."""
    connection.recv(65_536)
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    drip(b"\x16\x03\x03\x00\x7a", b"\x02")(connection)


def send_nothing(connection: socket.socket) -> None:
    connection.recv(65_536)


def route_to(port: int, **options: Any) -> Route:  # noqa: ANN401 - any option of Route
    return Route(**{"timeout_seconds": 10, "connect_to": {("", 0): ("127.0.0.1", port)}, **options})


def route_by_proxy(port: int, **options: Any) -> Route:  # noqa: ANN401 - any option of Route
    return Route(**{"timeout_seconds": 10, "environ": {"https_proxy": f"http://127.0.0.1:{port}"}, **options})


def exchange_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "https"]


def assert_cut_off(route: Route, server: RawServer | None, url: str = URL) -> None:
    """Assert that a fetch ends at its limit, that its connection is closed then, and that its thread has ended."""
    began = time.monotonic()
    answer = fetch(Request(url=url), replace(route, timeout_seconds=LIMIT))
    assert LIMIT <= time.monotonic() - began < LIMIT + TOLERANCE
    assert isinstance(answer, NoAnswer)
    assert (answer.failure, answer.found) == (Failure.TIMEOUT, f"no complete answer within {LIMIT:g} s")
    assert exchange_threads() == []
    assert server is None or server.closed.wait(TOLERANCE)


def fetch_failure(request: Request, route: Route) -> NoAnswer:
    answer = fetch(request, route)
    assert isinstance(answer, NoAnswer)
    assert exchange_threads() == []
    return answer


class TestDeadline:
    """The limit bounds the sum of all steps, and the connection is cut off when it passes."""

    @pytest.mark.parametrize(
        ("start", "piece"),
        [
            (b"", b"H"),
            (b"HTTP/1.1 200 OK\r\nA: ", b"a"),
            (HEAD, b"A: b\r\n"),
            (HEAD + b"\r\n", b" "),
            (HEAD + b"Content-Length: 9000\r\n\r\n", b" "),
            (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
            (HEAD + b"Transfer-Encoding: chunked\r\n\r\n1; a=", b"a"),
            (HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"A: b\r\n"),
            (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        ],
        ids=["status", "header", "headers", "body", "length", "chunks", "extension", "trailers", "interim"],
    )
    @pytest.mark.parametrize("scheme", ["https", "http"])
    def test_dripping_server_is_cut_off(self, authority: Authority, scheme: str, start: bytes, piece: bytes) -> None:
        if scheme == "http":
            with RawServer(drip(start, piece)) as server:
                assert_cut_off(route_to(server.port, allows_http=True), server, "http://a.example/")
            return
        with Site(authority.server(), {"/document": endless(start, piece, pause=0.02)}) as site:
            assert_cut_off(route_to(site.port, ca_bundle=str(authority.bundle)), None)

    @pytest.mark.parametrize(
        "serve",
        [send_nothing, drip(b"\x16\x03\x03\x00\x7a", b"\x02")],
        ids=["silent", "record"],
    )
    def test_stalling_tls_handshake_is_cut_off(self, serve: Callable[[socket.socket], None]) -> None:
        with RawServer(serve) as server:
            assert_cut_off(route_to(server.port), server)

    @pytest.mark.parametrize(
        "serve",
        [
            send_nothing,
            drip(b"HTTP/1.1 20"),
            drip(b"HTTP/1.1 200 OK\r\n", b"A: b\r\n"),
            tunnel_and_drip,
        ],
        ids=["silent", "status", "headers", "handshake"],
    )
    def test_stalling_proxy_is_cut_off(self, serve: Callable[[socket.socket], None]) -> None:
        with RawServer(serve) as server:
            assert_cut_off(route_by_proxy(server.port), server)

    def test_infinite_interim_answers_are_cut_off(self, authority: Authority) -> None:
        with Site(authority.server(), {"/document": endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)}) as site:
            assert_cut_off(route_to(site.port, ca_bundle=str(authority.bundle)), None)

    def test_all_attempts_share_the_limit(self, authority: Authority) -> None:
        """The first attempt, with TLS 1.2, takes half of the time, and the second one stalls."""
        taken: list[float] = []

        def refuse_slowly(connection: socket.socket) -> None:
            taken.append(time.monotonic())
            connection.recv(65_536)
            if len(taken) == 1:
                time.sleep(LIMIT / 2)
                connection.sendall(b"\x15\x03\x03\x00\x02\x02\x46")  # a TLS alert: protocol version
            else:
                time.sleep(5)

        with RawServer(refuse_slowly) as server:
            assert_cut_off(route_to(server.port, tries_tls_12_first=True, ca_bundle=str(authority.bundle)), None)
            assert server.connections == 2

    def test_unanswered_addresses_share_the_limit(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A backlog that is full drops connection attempts, as a firewall does."""
        with socket.create_server(("", 0), backlog=0) as full, contextlib.ExitStack() as stack:
            address = ("127.0.0.1", full.getsockname()[1])
            for _ in range(2):
                filler = stack.enter_context(socket.socket())
                filler.settimeout(0)
                filler.connect_ex(address)
            found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"127.0.0.{last}", address[1])) for last in (1, 2, 3)]
            monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
            assert_cut_off(Route(), None, f"https://a.example:{address[1]}/")

    def test_name_resolution_that_hangs_is_left_behind(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The C library cannot be interrupted there; the thread ends when it returns."""
        released = threading.Event()

        def resolve(*_: object, **__: object) -> list[Any]:
            released.wait(5)
            raise socket.gaierror(socket.EAI_AGAIN, "late")

        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        began = time.monotonic()
        answer = fetch(Request(url=URL), Route(timeout_seconds=0.2))
        assert time.monotonic() - began < 2
        assert isinstance(answer, NoAnswer)
        assert answer.failure is Failure.TIMEOUT
        released.set()
        for thread in exchange_threads():
            thread.join(5)
        assert exchange_threads() == []


class TestSize:
    """What is read of an answer is bounded."""

    def test_infinite_body_is_read_up_to_the_limit(self, authority: Authority) -> None:
        with Site(authority.server(), {"/document": endless(HEAD + b"\r\n", b" " * 65_536)}) as site:
            answer = fetch(Request(url=URL, maximum_bytes=1000), route_to(site.port, ca_bundle=str(authority.bundle)))
        assert isinstance(answer, Answer)
        assert (len(answer.body), answer.is_truncated) == (1000, True)

    def test_body_of_exactly_the_limit_is_whole(self, authority: Authority) -> None:
        with Site(authority.server(), {"/document": reply(b"a" * 1000)}) as site:
            answer = fetch(Request(url=URL, maximum_bytes=1000), route_to(site.port, ca_bundle=str(authority.bundle)))
        assert isinstance(answer, Answer)
        assert (answer.body, answer.is_truncated) == (b"a" * 1000, False)

    def test_body_shorter_than_its_length_is_not_an_answer(self, authority: Authority) -> None:
        with Site(authority.server(), {"/document": [HEAD + b"Content-Length: 900\r\n\r\n{}"]}) as site:
            failure = fetch_failure(Request(url=URL), route_to(site.port, ca_bundle=str(authority.bundle)))
        assert failure.failure is Failure.PROTOCOL

    @pytest.mark.parametrize(
        "headers",
        [
            [f"A{number}: {'b' * 8000}" for number in range(9)],
            [f"A: {'b' * 70_000}"],
            ["A: b"] * 200,
        ],
        ids=["sum", "line", "count"],
    )
    def test_headers_over_the_limit_are_not_an_answer(self, authority: Authority, headers: list[str]) -> None:
        with Site(authority.server(), {"/document": reply("{}", headers=headers)}) as site:
            failure = fetch_failure(Request(url=URL), route_to(site.port, ca_bundle=str(authority.bundle)))
        assert failure.failure is Failure.PROTOCOL

    @pytest.mark.parametrize("piece", [b"A: " + b"b" * 60_000 + b"\r\n", b"a" * 65_536, b"A: b\r\n"])
    def test_infinite_headers_take_little_memory(self, authority: Authority, piece: bytes) -> None:
        with Site(authority.server(), {"/document": endless(HEAD, piece)}) as site:
            tracemalloc.start()
            failure = fetch_failure(Request(url=URL), route_to(site.port, ca_bundle=str(authority.bundle)))
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        assert failure.failure is Failure.PROTOCOL
        assert peak < 16 * 2**20


class TestRequests:
    """What is sent, and to whom."""

    def test_post_sends_its_headers_and_body(self, authority: Authority) -> None:
        with Site(authority.server(), {"/document": reply({"a": 1}, status="201 Created")}) as site:
            request = Request(url=URL, method="POST", headers={"Authorization": "Bearer b"}, body=b'{"c": 2}')
            answer = fetch(request, route_to(site.port, ca_bundle=str(authority.bundle)))
            ((path, head),) = site.requests
        assert isinstance(answer, Answer)
        assert (answer.status, answer.body, path) == (201, b'{"a": 1}', "/document")
        assert head.startswith("POST /document HTTP/1.1\r\n")
        for line in (f"Host: {HOST}", "Authorization: Bearer b", "Content-Length: 8"):
            assert f"\r\n{line}\r\n" in head
        assert "\r\nUser-Agent: sts-federation-broker/" in head

    def test_redirect_is_returned_and_not_followed(self, authority: Authority) -> None:
        steps = reply("", status="302 Found", headers=[f"Location: {URL}"])
        with Site(authority.server(), {"/document": steps}) as site:
            answer = fetch(Request(url=URL), route_to(site.port, ca_bundle=str(authority.bundle)))
            assert len(site.requests) == 1
        assert isinstance(answer, Answer)
        assert (answer.status, answer.location) == (302, URL)

    def test_failing_server_is_asked_once(self, authority: Authority) -> None:
        with Site(authority.server(), {"/document": reply("", status="503 No", headers=["Retry-After: 0"])}) as site:
            fetch(Request(url=URL), route_to(site.port, ca_bundle=str(authority.bundle)))
            assert len(site.requests) == 1

    @pytest.mark.parametrize("url", ["http://a.example/", "ftp://a.example/", "file:///etc/passwd", "https://", "a"])
    def test_other_urls_are_refused_without_a_connection(self, url: str) -> None:
        with RawServer(send_nothing) as server:
            assert fetch_failure(Request(url=url), route_to(server.port)).failure is Failure.SETTING
            assert server.connections == 0

    def test_plain_http_is_allowed_on_request_only(self) -> None:
        with RawServer(lambda connection: connection.sendall(HEAD + b"Content-Length: 2\r\n\r\n{}")) as server:
            answer = fetch(Request(url="http://a.example/"), route_to(server.port, allows_http=True))
        assert isinstance(answer, Answer)
        assert (answer.body, answer.tls, answer.address) == (b"{}", None, "127.0.0.1")

    def test_second_address_is_tried_when_the_first_refuses(
        self, authority: Authority, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with socket.socket() as unused, Site(authority.server(), {"/document": reply("{}")}) as site:
            unused.bind(("127.0.0.2", 0))
            real = socket.getaddrinfo

            def resolve(host: str, port: int, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - as the real one
                if host != HOST:
                    return real(host, port, *arguments, **options)
                return [
                    (socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in ("127.0.0.2", "127.0.0.1")
                ]

            monkeypatch.setattr(socket, "getaddrinfo", resolve)
            route = Route(timeout_seconds=5, ca_bundle=str(authority.bundle), connect_to={("", 0): ("", site.port)})
            answer = fetch(Request(url=URL), route)
        assert isinstance(answer, Answer)
        assert answer.address == "127.0.0.1"


class TestTrust:
    """Certificates, and what is sent before they are verified."""

    def test_nothing_is_sent_to_a_server_that_is_not_verified(self, authority: Authority) -> None:
        with Site(authority.server(is_self_signed=True), {"/document": reply("{}")}) as site:
            failure = fetch_failure(Request(url=URL), route_to(site.port, ca_bundle=str(authority.bundle)))
            assert site.requests == []
        assert failure.failure is Failure.CERTIFICATE
        assert failure.fault is not None
        assert failure.fault.is_self_signed

    def test_certificate_for_another_host_is_refused(self, authority: Authority) -> None:
        with Site(authority.server("other.example"), {"/document": reply("{}")}) as site:
            failure = fetch_failure(Request(url=URL), route_to(site.port, ca_bundle=str(authority.bundle)))
            assert site.requests == []
        assert failure.fault is not None
        assert failure.fault.is_about_host

    def test_unverified_server_is_read_on_request_and_marked(self, authority: Authority) -> None:
        with Site(authority.server(is_self_signed=True), {"/document": reply("{}")}) as site:
            answer = fetch(Request(url=URL), route_to(site.port, reads_unverified=True))
        assert isinstance(answer, Answer)
        assert answer.tls is not None
        assert answer.tls.fault is not None
        assert answer.tls.certificate is None
        assert len(answer.tls.chain) == 1

    def test_expired_certificate_is_decoded_because_only_its_dates_are_wrong(self, authority: Authority) -> None:
        context = authority.server(starts=-3 * DAY, ends=-DAY)
        with Site(context, {"/document": reply("{}")}) as site:
            route = route_to(site.port, reads_unverified=True, ca_bundle=str(authority.bundle))
            answer = fetch(Request(url=URL), route)
        assert isinstance(answer, Answer)
        tls = answer.tls
        assert tls is not None
        assert tls.fault is not None
        assert tls.certificate is not None
        assert (tls.fault.is_expired, tls.certificate.subject) == (True, f"CN={HOST}")
        assert tls.is_valid_at(tls.fault.found_at - 2 * DAY)
        assert not tls.is_valid_at(tls.fault.found_at)
        assert not tls.is_valid_at(tls.fault.found_at - 9 * DAY)

    def test_expired_certificate_of_an_unknown_ca_is_not_decoded(self, authority: Authority) -> None:
        with Site(
            authority.server(starts=-3 * DAY, ends=-DAY, is_self_signed=True), {"/document": reply("{}")}
        ) as site:
            answer = fetch(Request(url=URL), route_to(site.port, reads_unverified=True))
        assert isinstance(answer, Answer)
        assert answer.tls is not None
        assert answer.tls.certificate is None

    def test_chain_and_names_of_a_verified_server_are_returned(self, authority: Authority) -> None:
        with Site(authority.server(), {"/document": reply("{}")}) as site:
            answer = fetch(Request(url=URL), route_to(site.port, ca_bundle=str(authority.bundle)))
        assert isinstance(answer, Answer)
        assert answer.tls is not None
        assert answer.tls.chain[-1] == authority.intermediate_der
        assert answer.tls.certificate is not None
        assert (answer.tls.certificate.subject, answer.tls.certificate.issuer) == (f"CN={HOST}", "CN=Test Intermediate")
        assert not answer.tls.needs_tls_13

    @pytest.mark.parametrize("is_modern", [True, False])
    def test_server_that_refuses_tls_12_is_marked(self, authority: Authority, is_modern: bool) -> None:
        with Site(authority.server(is_modern=is_modern), {"/document": reply("{}")}) as site:
            route = route_to(site.port, ca_bundle=str(authority.bundle), tries_tls_12_first=True)
            answer = fetch(Request(url=URL), route)
        assert isinstance(answer, Answer)
        assert answer.tls is not None
        assert answer.tls.needs_tls_13 is is_modern

    @pytest.mark.parametrize(("content", "found"), [("", "it holds no CA certificates"), (None, "No such file")])
    def test_unusable_bundle_is_reported_as_such(self, tmp_path: Path, content: str | None, found: str) -> None:
        bundle = tmp_path / "ca.pem"
        if content is not None:
            bundle.write_text(content)
        failure = fetch_failure(Request(url=URL), route_to(1, ca_bundle=str(bundle)))
        assert failure.failure is Failure.CA_BUNDLE
        assert found in failure.found

    def test_bundle_that_changes_is_read_again(self, authority: Authority, tmp_path: Path) -> None:
        """A CA is rotated while the process runs. Until then, the loaded CAs are used again."""
        other = tmp_path / "other"
        other.mkdir()
        bundle = tmp_path / "ca.pem"
        bundle.write_bytes(authority.bundle.read_bytes())
        with Site(authority.server(), {"/document": reply("{}")}) as site:
            route = route_to(site.port, ca_bundle=str(bundle))
            assert isinstance(fetch(Request(url=URL), route), Answer)
            assert shared_context(str(bundle)) is shared_context(str(bundle))
            bundle.write_bytes(Authority(other).bundle.read_bytes() + b"\n")
            assert fetch_failure(Request(url=URL), route).failure is Failure.CERTIFICATE

    def test_certificate_of_another_host_is_shown_by_its_names(self, authority: Authority) -> None:
        with Site(authority.server("other.example"), {"/document": reply("{}")}) as site:
            route = route_to(site.port, ca_bundle=str(authority.bundle), reads_unverified=True)
            answer = fetch(Request(url=URL), route)
        assert isinstance(answer, Answer)
        assert answer.tls is not None
        assert answer.tls.fault is not None
        assert answer.tls.fault.is_about_host
        assert answer.tls.certificate is not None
        assert answer.tls.certificate.names == ("other.example",)

    def test_headers_are_returned_by_lower_case_names(self, authority: Authority) -> None:
        with Site(authority.server(), {"/document": reply("{}", headers=["X-Amzn-RequestId: a"])}) as site:
            answer = fetch(Request(url=URL), route_to(site.port, ca_bundle=str(authority.bundle)))
        assert isinstance(answer, Answer)
        assert answer.headers["x-amzn-requestid"] == "a"
        assert "headers" not in repr(answer)

    @pytest.mark.parametrize(
        ("url", "host"),
        [
            ("http://a.example:80/", "a.example"),
            ("http://a.example:8080/", "a.example:8080"),
            ("http://a.example/", "a.example"),
            ("http://[::1]:80/", "[::1]"),
        ],
    )
    def test_host_header_omits_the_default_port(self, url: str, host: str) -> None:
        """Signatures cover the header, and botocore signs it without the default port."""
        heads: list[bytes] = []

        def answer(connection: socket.socket) -> None:
            heads.append(connection.recv(65_536))
            connection.sendall(HEAD + b"Content-Length: 2\r\n\r\n{}")

        with RawServer(answer) as server:
            fetch(Request(url=url), route_to(server.port, allows_http=True))
        assert f"\r\nHost: {host}\r\n".encode() in heads[0]

    def test_bundle_that_is_a_fifo_does_not_block(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "ca.pem")
        failure = fetch_failure(Request(url=URL), route_to(1, ca_bundle=str(tmp_path / "ca.pem")))
        assert failure.failure is Failure.CA_BUNDLE
        assert "it is a FIFO; expected a regular file" in failure.found


class TestProxies:
    """HTTPS_PROXY, HTTP_PROXY and NO_PROXY of the environment that the route has."""

    def test_tunnel_leads_to_the_host(self, authority: Authority) -> None:
        with Site(authority.server(), {"/document": reply("{}")}) as site, Proxy(site.port) as proxy:
            answer = fetch(Request(url=URL), route_by_proxy(proxy.port, ca_bundle=str(authority.bundle)))
            assert proxy.asked == [(f"{HOST}:443", "")]
        assert isinstance(answer, Answer)
        assert answer.via == f"the proxy 127.0.0.1:{proxy.port} (HTTPS_PROXY)"

    def test_refusal_has_the_status_of_the_proxy(self) -> None:
        def refuse(connection: socket.socket) -> None:
            connection.recv(65_536)
            connection.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")

        with RawServer(refuse) as server:
            failure = fetch_failure(Request(url=URL), route_by_proxy(server.port))
        assert (failure.failure, failure.status) == (Failure.PROXY, 407)

    def test_plain_http_is_forwarded_in_absolute_form(self) -> None:
        heads: list[bytes] = []

        def forward(connection: socket.socket) -> None:
            heads.append(connection.recv(65_536))
            connection.sendall(HEAD + b"Content-Length: 2\r\n\r\n{}")

        with RawServer(forward) as server:
            environ = {"HTTP_PROXY": f"http://me:word@127.0.0.1:{server.port}"}
            answer = fetch(Request(url="http://a.example/b?c"), Route(environ=environ, allows_http=True))
        assert isinstance(answer, Answer)
        assert heads[0].startswith(b"GET http://a.example/b?c HTTP/1.1\r\n")
        assert b"\r\nProxy-Authorization: Basic bWU6d29yZA==\r\n" in heads[0]

    @pytest.mark.parametrize(
        "proxy", ["https://proxy.example:3128", "socks5://proxy.example", "http://", "http://a:99999", "http://a:b"]
    )
    def test_unusable_variable_is_reported_as_such(self, proxy: str) -> None:
        failure = fetch_failure(Request(url=URL), Route(environ={"https_proxy": proxy}))
        assert (failure.failure, failure.found) == (Failure.PROXY_URL, "HTTPS_PROXY is not an http:// URL")

    def test_environment_of_the_process_is_not_used(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
        with RawServer(lambda connection: connection.sendall(b"SSH-2.0-x\r\n")) as server:
            failure = fetch_failure(Request(url=URL), route_to(server.port))
            assert server.connections == 1
        assert failure.failure is Failure.TLS


class TestSecrets:
    """A request's token is in no failure and no text of an exception."""

    def test_request_prints_neither_headers_nor_body(self) -> None:
        request = Request(url=URL, headers={"Authorization": SECRET}, body=SECRET.encode())
        assert SECRET not in repr(request)

    @pytest.mark.parametrize("value", [f"Bearer {SECRET}\r\nX: y", f"Bearer {SECRET}\u0141"])
    def test_header_that_cannot_be_sent_is_not_quoted(self, authority: Authority, value: str) -> None:
        with Site(authority.server(), {"/document": reply("{}")}) as site:
            route = route_to(site.port, ca_bundle=str(authority.bundle))
            failure = fetch_failure(Request(url=URL, headers={"Authorization": value}), route)
            assert site.requests == []
        assert (failure.failure, failure.found) == (Failure.SETTING, "the request cannot be written as HTTP")

    def test_server_that_echoes_a_token_is_not_quoted(self, authority: Authority) -> None:
        with Site(authority.server(), {"/document": [f"HTTP/{SECRET} 200 OK\r\n\r\n".encode()]}) as site:
            failure = fetch_failure(Request(url=URL), route_to(site.port, ca_bundle=str(authority.bundle)))
        assert failure.failure is Failure.PROTOCOL
        assert "eyJ" not in failure.found

    def test_password_of_a_proxy_is_in_no_failure(self) -> None:
        failure = fetch_failure(Request(url=URL), Route(environ={"https_proxy": "http://me:hunter2@127.0.0.1:1"}))
        assert failure.failure is Failure.CONNECTION
        assert "hunter2" not in repr(failure)

    def test_bug_is_raised_and_not_reported_as_a_failure(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("broker.net.https_client.split", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError) as caught:
            fetch(Request(url=URL, headers={"Authorization": SECRET}), Route())
        assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_system_without_threads_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    answer = fetch(Request(url=URL), Route())
    assert isinstance(answer, NoAnswer)
    assert answer.failure is Failure.RESOURCES


def test_default_limit_of_a_body_is_that_of_documents(authority: Authority) -> None:
    with Site(authority.server(), {"/document": reply(b" " * (MAXIMUM_BODY_BYTES + 1))}) as site:
        answer = fetch(Request(url=URL), route_to(site.port, timeout_seconds=5, ca_bundle=str(authority.bundle)))
    assert isinstance(answer, Answer)
    assert answer.is_truncated
