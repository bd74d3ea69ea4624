"""Answers without a bound, and answers that make a parser use up the memory: refused early, by real exchanges."""

from __future__ import annotations

import threading
import time
import tracemalloc
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from broker.core.errors import ExchangeError, ExchangeUnavailable, ResponseInvalid
from broker.core.model import StsSpec
from broker.sts import transport
from broker.sts.answers import MAXIMUM_ANSWER_BYTES, NotSts
from broker.sts.exchange import StsExchanger
from sandbox.http.loopback import LoopbackServer
from tests.support.fakes import FakeClock, make_chained, make_credentials, make_profile, make_session, make_token

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sandbox.http.loopback import Request, Wire

MIB = 1024 * 1024
PIECE = b"<a/>" * 16_384
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\n"
LAUGHS = (
    b'<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY lol "lol">'
    + b"".join(
        b'<!ENTITY lol%d "%s">' % (level, b"&lol%s;" % (str(level - 1).encode() if level > 1 else b"") * 10)
        for level in range(1, 10)
    )
    + b"]><AssumeRoleWithWebIdentityResponse>&lol9;</AssumeRoleWithWebIdentityResponse>"
)


@dataclass(slots=True)
class Flood:
    """A server that sends `head` and then `pieces`, and counts the bytes that the client's side accepted."""

    head: bytes = HEAD
    piece: bytes = PIECE
    count: int = 16_384
    pause: float = 0.0
    sent: int = 0
    url: str = ""
    ended: threading.Event = field(default_factory=threading.Event)

    def __call__(self, _: Request, wire: Wire) -> None:
        """Send until the client closes the connection."""
        try:
            wire.send_raw(self.head)
            for _index in range(self.count):
                wire.send_raw(self.piece)
                self.sent += len(self.piece)
                if self.pause and wire.pause(self.pause):
                    break
        finally:
            wire.close()
            self.ended.set()


@pytest.fixture
def flood() -> Iterator[Flood]:
    flood = Flood()
    server = LoopbackServer(answer=flood)
    flood.url = server.url
    yield flood
    server.stop()


def call_web_identity(exchanger: StsExchanger) -> None:
    exchanger.exchange(make_profile(), make_token())


def call_chained(exchanger: StsExchanger) -> None:
    exchanger.exchange(make_chained("other"), make_session())


CALLS = pytest.mark.parametrize("call", [call_web_identity, call_chained])


def fail_in_bounds(flood: Flood, call: Callable[[StsExchanger], None] = call_web_identity) -> ExchangeError:
    """Return the fault of the call. Asserts that it took little memory."""
    exchanger = StsExchanger(StsSpec(endpoint_url=flood.url), FakeClock())
    for signed in (False, True):
        exchanger.client("eu-west-1", signed=signed)  # takes memory of its own
    tracemalloc.start()
    try:
        with pytest.raises(ExchangeError) as caught:
            call(exchanger)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2 * MIB, peak
    return caught.value


FRAMINGS = [
    pytest.param(HEAD + b"Content-Length: 1073741824\r\n\r\n", PIECE, id="content-length"),
    pytest.param(HEAD + b"\r\n", PIECE, id="until the end"),
    pytest.param(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"%x\r\n%s\r\n" % (len(PIECE), PIECE), id="chunked"),
    pytest.param(HEAD.replace(b"200 OK", b"403 Forbidden") + b"\r\n", PIECE, id="refusal"),
]


class TestSize:
    """No more than the limit is read, whatever the framing."""

    @CALLS
    @pytest.mark.parametrize(("head", "piece"), FRAMINGS)
    def test_answer_without_end_is_cut_off(
        self, flood: Flood, call: Callable[[StsExchanger], None], head: bytes, piece: bytes
    ) -> None:
        """1 GiB is offered. What is sent fits into the buffers of two sockets."""
        flood.head, flood.piece = head, piece
        error = fail_in_bounds(flood, call)
        assert type(error) is ResponseInvalid
        assert (
            f"is not STS: its response (HTTP status {200 if b'200' in head else 403}) is longer than 65,536 bytes"
            in (error.message)
        )
        assert "AWS_ENDPOINT_URL_STS" in error.remedy
        assert flood.ended.wait(10)
        assert flood.sent < 32 * MIB

    def test_answer_of_the_maximum_length_is_parsed(self, flood: Flood) -> None:
        start, end = b"<ErrorResponse><Error><Code>AccessDenied</Code></Error>", b"</ErrorResponse>"
        body = start + b" " * (MAXIMUM_ANSWER_BYTES - len(start) - len(end)) + end
        flood.head = HEAD.replace(b"200 OK", b"403 No") + b"Content-Length: %d\r\n\r\n" % len(body)
        flood.piece, flood.count = body, 1
        assert fail_in_bounds(flood).code == "AccessDenied"

    @pytest.mark.parametrize(("encoding", "bits"), [("gzip", 31), ("deflate", 15)], ids=["gzip", "deflate"])
    def test_compressed_answer_is_not_decompressed(self, flood: Flood, encoding: str, bits: int) -> None:
        packer = zlib.compressobj(9, wbits=bits)
        bomb = b"".join(packer.compress(bytes(MIB)) for _ in range(50)) + packer.flush()
        assert len(bomb) < MAXIMUM_ANSWER_BYTES
        flood.head = HEAD + f"Content-Encoding: {encoding}\r\nContent-Length: {len(bomb)}\r\n\r\n".encode()
        flood.piece, flood.count = bomb, 1
        error = fail_in_bounds(flood)
        assert type(error) is ResponseInvalid
        assert f"is compressed ({encoding})" in error.message

    def test_headers_without_end_are_cut_off(self, flood: Flood) -> None:
        flood.head, flood.piece = HEAD, b"X-A: b\r\n" * 1000
        assert isinstance(fail_in_bounds(flood), ExchangeUnavailable)
        assert flood.ended.wait(10)
        assert flood.sent < 32 * MIB

    def test_content_length_that_is_too_short_cuts_the_answer(self, flood: Flood) -> None:
        flood.head, flood.piece, flood.count = HEAD + b"Content-Length: 30\r\n\r\n", PIECE, 1
        error = fail_in_bounds(flood)
        assert type(error) is ResponseInvalid
        assert "cannot be parsed" in error.message

    def test_content_length_that_is_too_long_is_an_incomplete_answer(self, flood: Flood) -> None:
        flood.head, flood.piece, flood.count = HEAD + b"Content-Length: 5000\r\n\r\n", b"<a/>", 1
        error = fail_in_bounds(flood)
        assert type(error) is ExchangeUnavailable
        assert f"{flood.url} sent no complete HTTP response" in error.message


class TestDocuments:
    """Short documents that need much memory or time."""

    @CALLS
    @pytest.mark.parametrize("status", [b"200 OK", b"403 Forbidden"])
    def test_entities_are_refused_before_they_are_parsed(
        self, flood: Flood, call: Callable[[StsExchanger], None], status: bytes
    ) -> None:
        flood.head = HEAD.replace(b"200 OK", status) + b"Content-Length: %d\r\n\r\n" % len(LAUGHS)
        flood.piece, flood.count = LAUGHS, 1
        error = fail_in_bounds(flood, call)
        assert type(error) is ResponseInvalid
        assert "is XML with a document type declaration" in error.message

    @pytest.mark.parametrize("status", [b"200 OK", b"400 Bad"])
    @pytest.mark.parametrize(
        "body",
        [
            pytest.param(b"<a>" + b"<a/>" * 16_000 + b"</a>", id="wide"),
            pytest.param(b"<a>" * 8_000 + b"</a>" * 8_000, id="deep"),
            pytest.param(b"<a " + b" ".join(b'b%d=""' % number for number in range(5_000)) + b"/>", id="attributes"),
            pytest.param(b'{"a":' * 10_000, id="deep JSON"),
            pytest.param(b"[" * 60_000, id="deeper JSON"),
        ],
    )
    def test_document_within_the_limit_ends_in_a_fault(self, flood: Flood, status: bytes, body: bytes) -> None:
        flood.head = HEAD.replace(b"200 OK", status) + b"Content-Length: %d\r\n\r\n" % len(body)
        flood.piece, flood.count = body, 1
        exchanger = StsExchanger(StsSpec(endpoint_url=flood.url), FakeClock())
        began = time.process_time()
        with pytest.raises(ResponseInvalid, match="is not STS"):
            exchanger.exchange(make_profile(), make_token())
        assert time.process_time() - began < 5


class TestTime:
    """A call ends at its own limit, however the server spends the time."""

    @CALLS
    @pytest.mark.parametrize(
        "head",
        [
            pytest.param(b"", id="silence"),
            pytest.param(b"HTTP/1.1 200 OK\r\nX-A: ", id="headers"),
            pytest.param(HEAD + b"Content-Length: 60000\r\n\r\n<", id="body"),
        ],
    )
    def test_drip_ends_at_the_limit(
        self, flood: Flood, call: Callable[[StsExchanger], None], head: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(transport, "CALL_SECONDS", 0.5)
        flood.head, flood.piece, flood.pause = head, b"a" if head else b"", 0.02
        exchanger = StsExchanger(StsSpec(endpoint_url=flood.url), FakeClock())
        exchanger.client("eu-west-1", signed=False)
        exchanger.client("eu-west-1", signed=True)
        began = time.monotonic()
        with pytest.raises(ExchangeUnavailable) as caught:
            call(exchanger)
        assert 0.5 <= time.monotonic() - began < 3
        assert caught.value.message == f"No response from {flood.url}: no complete answer within 0.5 s."
        assert "NetworkPolicy" in caught.value.remedy

    def test_limit_lies_below_that_of_the_process_that_calls(self) -> None:
        """An exchange is given up after 30 s (broker.core.refresher)."""
        assert transport.CALL_SECONDS == 20


def test_identity_call_of_the_doctor_is_bounded_too(flood: Flood) -> None:
    """The same client calls GetCallerIdentity."""
    flood.head = HEAD + b"\r\n"
    exchanger = StsExchanger(StsSpec(endpoint_url=flood.url), FakeClock())
    client = exchanger.client("eu-west-1", signed=True)
    with exchanger.signer.using(make_credentials()), pytest.raises(NotSts, match="is longer than 65,536 bytes"):
        client.get_caller_identity()
    assert flood.ended.wait(10)
    assert flood.sent < 32 * MIB
