"""One scripted STS and one exchanger for the tests of a module, reset before each test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from broker.core.model import StsSpec
from broker.sts.exchange import StsExchanger
from sandbox.http.loopback import LoopbackServer
from tests.support.fakes import FakeClock
from tests.unit.sts.scripted_sts import (
    Proxy,
    Sts,
    make_response,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def served() -> Iterator[Sts]:
    sts = Sts()
    server = LoopbackServer(answer=sts)
    sts.url = server.url
    yield sts
    server.stop()


@pytest.fixture
def sts(served: Sts) -> Sts:
    served.status, served.headers, served.body, served.misbehave = 200, {}, make_response(), None
    served.requests.clear()
    return served


@pytest.fixture(scope="module")
def shared(served: Sts) -> StsExchanger:
    """Make one exchanger that most tests share, because making its client takes 50 ms."""
    return StsExchanger(StsSpec(endpoint_url=served.url), FakeClock())


@pytest.fixture
def exchanger(shared: StsExchanger, sts: Sts) -> StsExchanger:
    del sts  # requested so that the server is reset
    return shared


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """Set HTTPS_PROXY to a recording proxy, so that a test sees which host is called and none is reached."""
    proxy = Proxy()
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, proxy.server.url)
    for name in ("NO_PROXY", "no_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    yield proxy
    proxy.server.stop()
