"""Exchanges whose network path fails: certificates, proxies and settings. Each fault names the cause and its fix.

STS's real host is called through a proxy that leads to servers of this machine. No test leaves the machine.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import traceback
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from broker.core.errors import ExchangeError, ExchangeUnavailable, ResponseInvalid
from broker.core.model import StsSpec
from broker.sts import transport
from broker.sts.exchange import StsExchanger
from sandbox.http.loopback import LoopbackServer
from tests.support.fakes import FakeClock, make_profile, make_token
from tests.support.fronts import RoutingProxy, TlsFront
from tests.support.issuer_site import Authority

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

    from sandbox.http.loopback import Request, Wire

HOST = "sts.eu-west-1.amazonaws.com"
URL = f"https://{HOST}"
DAY = timedelta(days=1)


@dataclass(slots=True)
class Network:
    """A proxy, and behind it a TLS server in STS's place. `requests` has what that server received."""

    authority: Authority
    front: TlsFront
    proxy: RoutingProxy
    status: int = 200
    body: bytes = b""
    requests: list[Request] = field(default_factory=list)

    def present(self, context: ssl.SSLContext) -> None:
        """Use this certificate."""
        self.front.context = context

    def fail(self, *, endpoint_url: str = "", ca_bundle: str | None = None) -> ExchangeError:
        """Return the fault of an exchange. By default, it trusts the authority."""
        bundle = str(self.authority.bundle) if ca_bundle is None else ca_bundle
        spec = StsSpec(endpoint_url=endpoint_url, ca_bundle=bundle)
        with pytest.raises(ExchangeError) as caught:
            StsExchanger(spec, FakeClock()).exchange(make_profile(), make_token())
        text = "".join(traceback.format_exception(caught.value))
        assert make_token().raw.reveal() not in text
        return caught.value


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def network(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> Iterator[Network]:
    found: list[Network] = []

    def answer(request: Request, wire: Wire) -> None:
        found[0].requests.append(request)
        wire.send(found[0].status, {"Content-Type": "text/html", "Server": "squid/5.7"}, found[0].body)

    server = LoopbackServer(answer=answer)
    plain_port = int(server.url.rpartition(":")[2])
    with TlsFront(authority.server(HOST), plain_port) as front, RoutingProxy({f"{HOST}:443": front.port}) as proxy:
        for name in ("NO_PROXY", "no_proxy", "https_proxy", "AWS_ENDPOINT_URL"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        found.append(Network(authority=authority, front=front, proxy=proxy))
        yield found[0]
    server.stop()


class TestCertificates:
    """Certificates that are not STS's. Nothing is sent to such a server."""

    def test_other_host_name_is_named_with_the_places_to_check(self, network: Network) -> None:
        network.present(network.authority.server("proxy.example"))
        error = network.fail()
        assert type(error) is ExchangeUnavailable
        assert error.message == (
            f"The certificate of {URL} is not trusted: Hostname mismatch, certificate is not valid for '{HOST}'."
        )
        for word in ("DNS", "VPC endpoint", "proxy", "AWS_ENDPOINT_URL_STS"):
            assert word in error.remedy
        assert network.requests == []

    def test_unknown_ca_is_named_with_the_bundle_that_lacks_it(self, network: Network) -> None:
        network.present(network.authority.server(HOST, is_self_signed=True))
        error = network.fail()
        assert error.message == f"The certificate of {URL} is not trusted: self-signed certificate."
        assert error.remedy == (
            f"Add the CA that issued it to {network.authority.bundle}, the file of sts.ca_bundle (AWS_CA_BUNDLE), or "
            "unset that setting."
        )
        assert network.requests == []

    def test_unknown_ca_without_a_bundle_is_named_with_the_setting(self, network: Network) -> None:
        error = network.fail(ca_bundle="")
        assert "unable to get local issuer certificate" in error.message
        assert "set sts.ca_bundle (AWS_CA_BUNDLE) to a file with that CA" in error.remedy
        assert network.requests == []

    @pytest.mark.parametrize(
        ("starts", "ends", "found"),
        [(-9 * DAY, -DAY, "certificate has expired"), (DAY, 9 * DAY, "certificate is not yet valid")],
    )
    def test_dates_are_named_with_the_clock(
        self, network: Network, starts: timedelta, ends: timedelta, found: str
    ) -> None:
        network.present(network.authority.server(HOST, starts=starts, ends=ends))
        error = network.fail()
        assert error.message.startswith(f"The certificate of {URL} is not trusted: {found}. This node's clock is at 20")
        assert "fix the node's clock (NTP)" in error.remedy
        assert "renew the certificate" in error.remedy
        assert network.requests == []


class TestProxies:
    """Proxies that refuse, hang or cannot be named."""

    @pytest.mark.parametrize(
        ("status", "words"),
        [
            ("407 Proxy Authentication Required", ("requires a user", "HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT")),
            ("403 Forbidden", (f"allow CONNECT to {HOST} at port 443", "NO_PROXY")),
            ("502 Bad Gateway", (f"The proxy cannot reach {HOST}", "NO_PROXY")),
            ("503 Service Unavailable", (f"The proxy cannot reach {HOST}", "NO_PROXY")),
            ("400 Bad Request", ("HTTPS_PROXY names a proxy that allows CONNECT", "NO_PROXY")),
        ],
    )
    def test_refusal_is_named_with_its_own_remedy(
        self, network: Network, monkeypatch: pytest.MonkeyPatch, status: str, words: tuple[str, ...]
    ) -> None:
        monkeypatch.setenv("HTTPS_PROXY", network.proxy.url.replace("http://", "http://me:hunter2@"))
        network.proxy.refusal = status
        error = network.fail()
        assert type(error) is ExchangeUnavailable
        where = f"the proxy 127.0.0.1:{network.proxy.port} (HTTPS_PROXY)"
        assert error.message == f"Cannot call {URL} by {where}: Tunnel connection failed: {status}."
        assert [word for word in words if word not in error.remedy] == []
        assert "hunter2" not in str(error)

    def test_proxy_that_opens_no_tunnel_is_named(self, network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(transport, "CONNECT_SECONDS", 1.0)
        with socket.create_server(("127.0.0.1", 0)) as silent:
            port = silent.getsockname()[1]
            monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
            error = network.fail()
        assert error.message == (
            f"Cannot call {URL} by the proxy 127.0.0.1:{port} (HTTPS_PROXY): the proxy opened no tunnel within 1 s."
        )
        assert f"cannot reach {HOST}" in error.remedy

    def test_proxy_that_is_down_is_named(self, network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
        with socket.create_server(("127.0.0.1", 0)) as closed:
            port = closed.getsockname()[1]
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
        error = network.fail()
        assert error.message == (
            f"Cannot reach the proxy for {URL} by the proxy 127.0.0.1:{port} (HTTPS_PROXY): Connection refused."
        )
        assert "Check HTTPS_PROXY" in error.remedy

    @pytest.mark.parametrize(
        "value", ["socks5://me:hunter2@proxy:1080", "http://", "http://me:hunter2@proxy:port", "https://proxy.example"]
    )
    def test_variable_that_is_no_proxy_is_named_without_its_password(
        self, network: Network, monkeypatch: pytest.MonkeyPatch, value: str
    ) -> None:
        monkeypatch.setenv("HTTPS_PROXY", value)
        error = network.fail()
        assert type(error) is ExchangeUnavailable
        assert error.message == f"Cannot call {URL}: HTTPS_PROXY is not an http:// URL."
        assert error.remedy.startswith("Set HTTPS_PROXY=http://HOST:PORT, or unset it.")
        assert "hunter2" not in str(error)

    def test_page_of_a_proxy_that_intercepts_tls_is_not_sts(self, network: Network) -> None:
        network.status, network.body = 403, b"<html><body>Blocked by policy</body></html>"
        error = network.fail()
        assert type(error) is ResponseInvalid
        assert error.message == (f"{URL} is not STS: its response (HTTP status 403, server squid/5.7) is a web page.")
        assert len(network.requests) == 1


class TestConnections:
    """The path without a proxy."""

    def test_host_that_drops_packets_ends_at_the_limit_for_connecting(
        self, network: Network, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A full backlog looks like a firewall that drops packets."""
        monkeypatch.setattr(transport, "CONNECT_SECONDS", 0.5)
        monkeypatch.delenv("HTTPS_PROXY")
        with socket.create_server(("127.0.0.1", 0), backlog=0) as full, contextlib.ExitStack() as held:
            for _ in range(3):
                client = held.enter_context(socket.socket())
                client.setblocking(False)  # noqa: FBT003 - of the standard library
                client.connect_ex(full.getsockname())
            url = f"https://127.0.0.1:{full.getsockname()[1]}"
            error = network.fail(endpoint_url=url)
        assert type(error) is ExchangeUnavailable
        assert error.message == f"Cannot connect to {url}: no connection within 0.5 s."
        assert "NetworkPolicy" in error.remedy

    def test_name_that_does_not_exist_is_named(self, network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("HTTPS_PROXY")
        error = network.fail(endpoint_url="https://sts.nowhere.invalid")
        assert error.message.startswith("Cannot connect to https://sts.nowhere.invalid: ")
        assert "DNS" in error.remedy

    def test_exhausted_threads_are_named_as_such(self, network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(_: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(threading.Thread, "start", refuse)
        error = network.fail()
        monkeypatch.undo()
        assert type(error) is ExchangeUnavailable
        assert "did not allow the broker to start a thread" in error.message
        assert "process limit" in error.remedy
