"""Failed connections to a server of this machine, and the addresses that are called."""

from __future__ import annotations

import contextlib
import socket
import threading
from datetime import timedelta
from typing import TYPE_CHECKING

import botocore.exceptions
import botocore.session
import pytest

from broker.core.errors import (
    ExchangeError,
    ExchangeUnavailable,
    RequestInvalid,
    ResponseInvalid,
)
from broker.core.model import StsSpec
from broker.sts.exchange import StsExchanger
from tests.support.fakes import FakeClock, make_profile, make_token
from tests.unit.sts.scripted_sts import (
    Proxy,
    Sts,
    exchange,
    fail_exchange,
    make_response,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from broker.core.model import ProfileSpec
    from sandbox.http.loopback import Wire


def _send_and_close(content: bytes) -> Callable[[Wire], None]:
    """Return a handler that sends these bytes and closes the connection."""

    def handle(wire: Wire) -> None:
        wire.send_raw(content)
        wire.close()

    return handle


@pytest.fixture
def not_tls() -> Iterator[str]:
    """Return the https URL of a server without TLS, which responds with an HTTP error and closes."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listening.accept()
                with connection:
                    connection.recv(65536)
                    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    thread = threading.Thread(target=serve)
    thread.start()
    yield f"https://127.0.0.1:{listening.getsockname()[1]}"
    listening.shutdown(socket.SHUT_RDWR)
    thread.join()
    listening.close()


class TestConnections:
    """Connection failures, with real sockets."""

    @pytest.mark.parametrize(
        "misbehave",
        [
            pytest.param(lambda wire: wire.reset(), id="reset"),
            pytest.param(lambda wire: wire.close(), id="closed without a response"),
            pytest.param(_send_and_close(b"hello\r\n\r\n"), id="no HTTP"),
            pytest.param(
                _send_and_close(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), id="bad chunk"
            ),
        ],
    )
    def test_broken_connection_is_unavailable(
        self, exchanger: StsExchanger, sts: Sts, misbehave: Callable[[Wire], None]
    ) -> None:
        sts.misbehave = misbehave
        error = fail_exchange(exchanger)
        assert isinstance(error, ExchangeUnavailable)
        assert sts.url in error.message

    @pytest.mark.parametrize(
        "content",
        [
            b"HTTP/1.1 200 OK\r\nConte",
            b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + make_response()[:-100],
        ],
    )
    def test_truncated_response_gives_no_credentials(self, exchanger: StsExchanger, sts: Sts, content: bytes) -> None:
        sts.misbehave = _send_and_close(content)
        is_short = b"Content-Length" in content
        assert type(fail_exchange(exchanger)) is (ExchangeUnavailable if is_short else ResponseInvalid)

    def test_refused_connection_names_address_and_cause(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as closed:
            url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        error = fail_exchange(StsExchanger(StsSpec(endpoint_url=url), FakeClock()))
        assert isinstance(error, ExchangeUnavailable)
        assert error.message == f"Cannot connect to {url}: Connection refused."
        assert "NetworkPolicy" in error.remedy

    def test_server_without_tls_is_named_with_the_endpoint_setting(self, not_tls: str) -> None:
        url = not_tls
        error = fail_exchange(StsExchanger(StsSpec(endpoint_url=url), FakeClock()))
        assert isinstance(error, ExchangeUnavailable)
        assert error.message.startswith(f"The TLS connection to {url} failed: ")
        assert "AWS_ENDPOINT_URL_STS" in error.remedy

    @pytest.mark.parametrize("content", [None, "nonsense"])
    def test_unusable_ca_bundle_is_an_exchange_error(self, tmp_path: Path, not_tls: str, content: str | None) -> None:
        """The bundle was readable when the settings were checked, but may have been deleted since."""
        if content is not None:
            (tmp_path / "ca.pem").write_text(content)
        spec = StsSpec(endpoint_url=not_tls, ca_bundle=str(tmp_path / "ca.pem"))
        error = fail_exchange(StsExchanger(spec, FakeClock()))
        assert isinstance(error, ExchangeUnavailable)
        assert spec.ca_bundle in error.message
        assert "AWS_CA_BUNDLE" in error.remedy

    @pytest.mark.parametrize("changes", [{"duration": timedelta(seconds=60)}, {"session_name": "x"}])
    def test_request_that_botocore_rejects_is_invalid(
        self, exchanger: StsExchanger, sts: Sts, changes: dict[str, object]
    ) -> None:
        assert isinstance(fail_exchange(exchanger, **changes), RequestInvalid)
        assert sts.requests == []

    @pytest.mark.parametrize("region", ["a b", ""])
    def test_client_that_cannot_be_made_is_an_exchange_error(self, region: str) -> None:
        assert isinstance(fail_exchange(StsExchanger(StsSpec(), FakeClock()), region=region), ExchangeError)


def find_called_host(proxy: Proxy, spec: StsSpec, profile: ProfileSpec) -> str:
    """Return the one host and port that an exchange connects to."""
    with pytest.raises(ExchangeUnavailable, match="proxy"):
        StsExchanger(spec, FakeClock()).exchange(profile, make_token())
    (request,) = proxy.requests
    return request.removeprefix("CONNECT ")


class TestAddresses:
    """The host that is called, as the proxy sees it."""

    @pytest.mark.parametrize(
        ("region", "use_fips", "use_dualstack", "host"),
        [
            ("eu-west-1", False, False, "sts.eu-west-1.amazonaws.com"),
            ("us-east-1", False, False, "sts.us-east-1.amazonaws.com"),
            ("us-east-1", True, False, "sts-fips.us-east-1.amazonaws.com"),
            ("eu-west-1", True, False, "sts-fips.eu-west-1.amazonaws.com"),
            ("eu-west-1", False, True, "sts.eu-west-1.api.aws"),
            ("us-east-1", True, True, "sts-fips.us-east-1.api.aws"),
            ("cn-north-1", False, False, "sts.cn-north-1.amazonaws.com.cn"),
            ("cn-north-1", False, True, "sts.cn-north-1.api.amazonwebservices.com.cn"),
            ("us-gov-west-1", False, False, "sts.us-gov-west-1.amazonaws.com"),
            ("us-gov-west-1", True, False, "sts.us-gov-west-1.amazonaws.com"),
            ("eusc-de-east-1", False, False, "sts.eusc-de-east-1.amazonaws.eu"),
        ],
    )
    def test_regional_endpoint_is_called(
        self, proxy: Proxy, region: str, use_fips: bool, use_dualstack: bool, host: str
    ) -> None:
        """Also in us-east-1, where old SDKs call the global endpoint."""
        spec = StsSpec(use_fips=use_fips, use_dualstack=use_dualstack)
        assert find_called_host(proxy, spec, make_profile(region=region)) == f"{host}:443"

    @pytest.mark.parametrize("value", ["nonsense", "true", "legacy", "https://elsewhere.example", "/no/such/file"])
    def test_variables_of_the_pod_are_ignored(self, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
        """The settings read some of these variables by name; the client must read none."""
        for _, variable, *_ in botocore.session.Session.SESSION_VARIABLES.values():
            for name in variable if isinstance(variable, list) else [variable]:
                if name is not None:
                    monkeypatch.setenv(name, value)
        for name in (
            "AWS_ENDPOINT_URL",
            "AWS_ENDPOINT_URL_STS",
            "AWS_REGION",
            "REQUESTS_CA_BUNDLE",
            "AWS_ACCESS_KEY_ID",
        ):
            monkeypatch.setenv(name, value)
        assert find_called_host(proxy, StsSpec(), make_profile()) == "sts.eu-west-1.amazonaws.com:443"

    def test_config_file_of_the_pod_is_ignored(
        self, proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "config").write_text(
            "[default]\nregion = us-east-2\nendpoint_url = https://elsewhere.example\nuse_fips_endpoint = true\n"
            "sts_regional_endpoints = legacy\nca_bundle = /no/such/file\nservices = mine\ndefaults_mode = nonsense\n"
            "[services mine]\nsts =\n  endpoint_url = https://elsewhere.example\n"
        )
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "config"))
        assert find_called_host(proxy, StsSpec(), make_profile()) == "sts.eu-west-1.amazonaws.com:443"

    def test_custom_endpoint_is_called_instead(self, proxy: Proxy) -> None:
        spec = StsSpec(endpoint_url="https://sts.example:8443")
        assert find_called_host(proxy, spec, make_profile()) == "sts.example:8443"

    def test_refusal_of_the_proxy_names_the_proxy_settings(self, proxy: Proxy) -> None:
        error = fail_exchange(StsExchanger(StsSpec(), FakeClock()))
        assert error.message == (
            "Cannot call https://sts.eu-west-1.amazonaws.com by the proxy 127.0.0.1:"
            f"{proxy.server.port} (HTTPS_PROXY): Tunnel connection failed: 403 Forbidden."
        )
        assert "allow CONNECT to sts.eu-west-1.amazonaws.com at port 443" in error.remedy
        assert "NO_PROXY" in error.remedy
        assert len(proxy.requests) == 1

    @pytest.mark.parametrize("no_proxy", ["example.com,127.0.0.1", "*"])
    def test_host_in_no_proxy_is_called_directly(
        self, proxy: Proxy, sts: Sts, monkeypatch: pytest.MonkeyPatch, no_proxy: str
    ) -> None:
        monkeypatch.setenv("HTTP_PROXY", proxy.server.url)
        monkeypatch.setenv("NO_PROXY", no_proxy)
        assert exchange(StsExchanger(StsSpec(endpoint_url=sts.url), FakeClock()))
        assert proxy.requests == []

    def test_plain_http_never_goes_through_a_proxy(
        self, proxy: Proxy, sts: Sts, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Plain HTTP is for loopback only; a proxy would carry the token across the network."""
        monkeypatch.setenv("HTTP_PROXY", proxy.server.url)
        assert exchange(StsExchanger(StsSpec(endpoint_url=sts.url), FakeClock()))
        assert proxy.requests == []

    def test_each_profile_calls_its_own_region(self, proxy: Proxy) -> None:
        exchanger = StsExchanger(StsSpec(), FakeClock())
        for region in ("eu-west-1", "us-east-1", "eu-west-1"):
            fail_exchange(exchanger, region=region)
        assert [request.split(".")[1] for request in proxy.requests] == ["eu-west-1", "us-east-1", "eu-west-1"]
