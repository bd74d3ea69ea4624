"""Refusals of STS and of servers like it, and answers of servers that are not STS."""

from __future__ import annotations

import pytest

from broker.core.errors import (
    ExchangeError,
    ExchangeThrottled,
    ExchangeUnavailable,
    RequestInvalid,
    ResponseInvalid,
    RoleDenied,
    TokenRejected,
)
from broker.core.model import StsSpec
from broker.sts.exchange import StsExchanger
from tests.support.fakes import ROLE_ARN, FakeClock, make_token
from tests.unit.sts.scripted_sts import (
    Proxy,
    Sts,
    answer_as_aws,
    fail_exchange,
    make_refusal,
)

ROWS: list[tuple[str, int, type[ExchangeError]]] = [
    # aws-semantics 1.3, row by row
    ("IDPCommunicationError", 400, ExchangeUnavailable),
    ("InvalidIdentityToken", 400, TokenRejected),
    ("ExpiredTokenException", 400, TokenRejected),
    ("IDPRejectedClaim", 403, TokenRejected),
    ("AccessDenied", 403, RoleDenied),
    ("ValidationError", 400, RequestInvalid),
    ("MalformedPolicyDocument", 400, RequestInvalid),
    ("PackedPolicyTooLarge", 400, RequestInvalid),
    ("RegionDisabledException", 403, RequestInvalid),
    ("Throttling", 400, ExchangeThrottled),
    ("ThrottlingException", 400, ExchangeThrottled),
    ("RequestLimitExceeded", 400, ExchangeThrottled),
    ("RequestTimeout", 400, ExchangeUnavailable),
    # other codes: the HTTP status decides
    ("Something", 429, ExchangeThrottled),
    ("Something", 500, ExchangeUnavailable),
    ("Something", 502, ExchangeUnavailable),
    ("Something", 503, ExchangeUnavailable),
    ("Something", 504, ExchangeUnavailable),
    ("Something", 400, RequestInvalid),
    ("Something", 401, TokenRejected),
    ("Something", 403, RoleDenied),
    # code of MinIO
    ("ExpiredToken", 400, TokenRejected),
]
FOREIGN_REFUSALS = [
    b'{"Code":"AccessDenied","RequestId":"tx000","HostId":"a"}',  # Ceph
    b'{"Error":{"Code":"AccessDenied","Message":"No way"},"RequestId":"tx000"}',
    b'{"__type":"com.amazonaws.sts#AccessDeniedException","message":"No way"}',
    b'{"error":{"code":"AccessDenied","message":"No way."}}',
    b"<Error><Code>AccessDenied</Code><Message>No way</Message><RequestId>tx000</RequestId></Error>",
    b"<Response><Errors><Error><Code>AccessDenied</Code><Message>No way</Message></Error></Errors></Response>",
    b"<AccessDeniedException><Message>No way</Message></AccessDeniedException>",
    b"\xef\xbb\xbf\n <Error><Code> AccessDenied </Code></Error>",
]
PAGES = [
    (b"<html><head><title>Access Denied</title></head><body>The proxy refuses.</body></html>", "is a web page"),
    (b"<!DOCTYPE html><p>Sign in", "is a web page"),
    (  # the instance metadata service
        b'<?xml version="1.0" encoding="iso-8859-1"?>\n<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0//EN"><html/>',
        "is a web page",
    ),
    (b"RBAC: access denied", "is plain text"),
    (b"<!DOCTYPE a [<!ENTITY b 'c'>]><ErrorResponse/>", "is XML with a document type declaration"),
]


class TestRefusals:
    """Refusals of STS."""

    @pytest.mark.parametrize(("code", "status", "kind"), ROWS)
    def test_error_code_decides_or_else_the_http_status(
        self, exchanger: StsExchanger, sts: Sts, code: str, status: int, kind: type[ExchangeError]
    ) -> None:
        sts.status, sts.body = status, make_refusal(code)
        error = fail_exchange(exchanger)
        assert type(error) is kind
        assert (error.code, error.http_status, error.request_id) == (code, status, "request-2")
        assert "system:serviceaccount:demo:app" in error.message
        assert ROLE_ARN in error.message

    @pytest.mark.parametrize(
        ("status", "kind"),
        [
            (400, RequestInvalid),
            (401, TokenRejected),
            (403, RoleDenied),
            (408, ExchangeUnavailable),
            (429, ExchangeThrottled),
            (500, ExchangeUnavailable),
            (503, ExchangeUnavailable),
        ],
    )
    @pytest.mark.parametrize("body", [b"", b"{}", b'{"Code":"Something"}', b"<Error><Code>Something</Code></Error>"])
    def test_refusal_without_a_known_code_is_explained_by_its_status(
        self, exchanger: StsExchanger, sts: Sts, status: int, kind: type[ExchangeError], body: bytes
    ) -> None:
        """Ceph responds with JSON, stores respond as S3 does, gateways with nothing."""
        sts.status, sts.body = status, body
        error = fail_exchange(exchanger)
        assert type(error) is kind
        assert error.http_status == status
        assert ("STS returned Something" if b"Some" in body else f"HTTP status {status}") in error.message

    @pytest.mark.parametrize("body", FOREIGN_REFUSALS)
    def test_refusal_in_another_form_keeps_code_and_message(
        self, exchanger: StsExchanger, sts: Sts, body: bytes
    ) -> None:
        sts.status, sts.body = 400, body
        error = fail_exchange(exchanger)
        assert type(error) is RoleDenied
        assert (error.code.removesuffix("Exception"), error.http_status) == ("AccessDenied", 400)
        assert "trust policy" in error.remedy
        if b"No way" in body:
            assert error.message.endswith(": No way.")
        if b"tx000" in body:
            assert error.request_id == "tx000"

    @pytest.mark.parametrize("status", [200, 400, 403, 404, 429, 499])
    @pytest.mark.parametrize(("body", "found"), PAGES)
    def test_page_is_not_reported_as_a_refusal_of_sts(
        self, exchanger: StsExchanger, sts: Sts, status: int, body: bytes, found: str
    ) -> None:
        """A proxy, a captive portal, a service mesh or a metadata service answers, also where an endpoint is set."""
        sts.status, sts.body, sts.headers = status, body, {"Server": "squid/5.7 (for you)"}
        error = fail_exchange(exchanger)
        assert type(error) is ResponseInvalid
        assert error.message == f"{sts.url} is not STS: its response (HTTP status {status}, server squid/5.7) {found}."
        assert error.http_status == status
        assert all(word in error.remedy for word in ("AWS_ENDPOINT_URL_STS", "proxy", "captive portal"))

    @pytest.mark.parametrize(("body", "found"), PAGES)
    def test_page_of_a_gateway_that_has_no_server_is_unavailability(
        self, exchanger: StsExchanger, sts: Sts, body: bytes, found: str
    ) -> None:
        sts.status, sts.body = 503, body
        error = fail_exchange(exchanger)
        assert type(error) is ExchangeUnavailable
        assert error.message == f"STS is not available at {sts.url}: its response (HTTP status 503) {found}."
        assert "gateway" in error.remedy

    def test_token_that_a_server_header_echoes_is_not_quoted(self, exchanger: StsExchanger, sts: Sts) -> None:
        sts.status, sts.body, sts.headers = 403, b"no", {"Server": make_token().raw.reveal()}
        message = fail_exchange(exchanger).message
        assert make_token().raw.reveal()[:16] not in message


@pytest.mark.parametrize("status", [401, 403, 502])
@pytest.mark.parametrize("body", [b"RBAC: access denied", b"", b'{"message":"Forbidden"}', b"<html></html>"])
def test_refusal_of_a_proxy_is_not_reported_as_one_of_aws(
    monkeypatch: pytest.MonkeyPatch, status: int, body: bytes
) -> None:
    """AWS sends a request ID with every response. A response without one that is not XML is from a proxy."""
    answer_as_aws(monkeypatch, status, body)
    error = fail_exchange(StsExchanger(StsSpec(), FakeClock()))
    assert isinstance(error, ResponseInvalid)
    assert f"is not STS: its response (HTTP status {status})" in error.message
    assert "proxy" in error.remedy


@pytest.mark.parametrize("body", [b"", b"Service Unavailable", b"<html>503</html>"])
def test_answer_of_aws_without_an_error_document_is_explained_by_its_status(
    monkeypatch: pytest.MonkeyPatch, body: bytes
) -> None:
    answer_as_aws(monkeypatch, 503, body, **{"x-amzn-requestid": "r-1"})
    error = fail_exchange(StsExchanger(StsSpec(), FakeClock()))
    assert type(error) is ExchangeUnavailable
    assert (error.http_status, error.request_id) == (503, "r-1")


class TestIgnoredEndpoint:
    """AWS_ENDPOINT_URL is set, but not the setting: maybe another STS was meant."""

    SENTENCE = "AWS_ENDPOINT_URL is set, but the broker does not read it. To call a custom STS endpoint, set "

    @pytest.mark.parametrize(
        ("status", "body"),
        [
            (400, make_refusal("InvalidIdentityToken", "No OpenIDConnect provider found in your account for x")),
            (403, make_refusal("AccessDenied")),
            (403, b"blocked"),
        ],
    )
    def test_fault_names_the_variable(self, monkeypatch: pytest.MonkeyPatch, status: int, body: bytes) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:4566")
        answer_as_aws(monkeypatch, status, body)
        remedy = fail_exchange(StsExchanger(StsSpec(), FakeClock())).remedy
        assert remedy.endswith(f"{self.SENTENCE}sts.endpoint_url (AWS_ENDPOINT_URL_STS).")

    def test_failed_connection_names_the_variable(self, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:4566")
        assert self.SENTENCE in fail_exchange(StsExchanger(StsSpec(), FakeClock())).remedy
        assert proxy.requests

    @pytest.mark.parametrize("code", ["Throttling", "MalformedPolicyDocument", "InternalFailure"])
    def test_fault_that_has_another_cause_does_not_name_it(self, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:4566")
        answer_as_aws(monkeypatch, 400, make_refusal(code))
        assert "AWS_ENDPOINT_URL " not in fail_exchange(StsExchanger(StsSpec(), FakeClock())).remedy

    def test_fault_of_the_endpoint_that_is_set_does_not_name_it(
        self, exchanger: StsExchanger, sts: Sts, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:4566")
        sts.status, sts.body = 403, make_refusal("AccessDenied")
        assert "AWS_ENDPOINT_URL " not in fail_exchange(exchanger).remedy
