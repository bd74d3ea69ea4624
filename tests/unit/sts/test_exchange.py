"""AssumeRoleWithWebIdentity against a scripted server on loopback: requests, and how responses are judged."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import traceback
from dataclasses import dataclass, field
from datetime import timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import botocore.exceptions
import botocore.session
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from broker.core.errors import (
    ExchangeError,
    ExchangeThrottled,
    ExchangeUnavailable,
    RequestInvalid,
    ResponseInvalid,
    RoleDenied,
    TokenRejected,
)
from broker.core.model import StsSpec, TemporaryCredentials
from broker.net.http_messages import Answer
from broker.sts.exchange import StsExchanger
from sandbox.http.loopback import LoopbackServer
from tests.support.fakes import EPOCH, ROLE_ARN, FakeClock, make_profile, make_token

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from broker.core.model import ProfileSpec
    from sandbox.http.loopback import Request, Wire

ASSUMED = "arn:aws:sts::123456789012:assumed-role/app/demo.app-7d9c5b6f8-x2x7k"
NAMESPACE = "https://sts.amazonaws.com/doc/2011-06-15/"


def make_response(**changes: str) -> bytes:
    """Return a response of STS. A field with the value "-" is left out."""
    fields = {
        "AccessKeyId": "ASIA0123456789ABCDEF",
        "SecretAccessKey": "secret/key+",
        "SessionToken": "session//token==",
        "Expiration": "2026-11-23T13:00:00Z",
        "Arn": ASSUMED,
        **changes,
    }
    tags = {name: f"<{name}>{value}</{name}>" if value != "-" else "" for name, value in fields.items()}
    arn = tags.pop("Arn")
    return (
        f'<AssumeRoleWithWebIdentityResponse xmlns="{NAMESPACE}"><AssumeRoleWithWebIdentityResult>'
        f"<Credentials>{''.join(tags.values())}</Credentials>"
        f"<AssumedRoleUser>{arn}<AssumedRoleId>AROA:x</AssumedRoleId></AssumedRoleUser>"
        "</AssumeRoleWithWebIdentityResult><ResponseMetadata><RequestId>request-1</RequestId></ResponseMetadata>"
        "</AssumeRoleWithWebIdentityResponse>"
    ).encode()


def make_refusal(code: str, message: str = "No.") -> bytes:
    return (
        f'<ErrorResponse xmlns="{NAMESPACE}"><Error><Type>Sender</Type><Code>{code}</Code>'
        f"<Message>{message}</Message></Error><RequestId>request-2</RequestId></ErrorResponse>"
    ).encode()


@dataclass(slots=True)
class Sts:
    """A server with a scripted response, and the requests that it received."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = field(default_factory=make_response)
    misbehave: Callable[[Wire], None] | None = None
    requests: list[Request] = field(default_factory=list)
    url: str = ""

    def __call__(self, request: Request, wire: Wire) -> None:
        """Send the scripted response."""
        self.requests.append(request)
        if self.misbehave is not None:
            self.misbehave(wire)
        else:
            wire.send(self.status, {"Content-Type": "text/xml", **self.headers}, self.body)

    @property
    def parameters(self) -> dict[str, str]:
        """The parameters of the last request."""
        return {name: value for name, (value,) in parse_qs(self.requests[-1].body.decode()).items()}


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


def exchange(exchanger: StsExchanger, **changes: Any) -> TemporaryCredentials:  # noqa: ANN401 - any field of the spec
    return exchanger.exchange(make_profile(**changes), make_token())


def fail_exchange(exchanger: StsExchanger, **changes: Any) -> ExchangeError:  # noqa: ANN401 - any field of the spec
    with pytest.raises(ExchangeError) as caught:
        exchange(exchanger, **changes)
    error = caught.value
    text = "".join(traceback.format_exception(error))
    assert "botocore" not in text.replace("botocore rejected", "").replace("import botocore", "").split("raise")[-1]
    assert "During handling" not in text
    assert "direct cause" not in text
    assert make_token().raw.reveal() not in text
    return error


class TestRequest:
    """Requests."""

    def test_parameters_are_role_session_token_and_duration(self, exchanger: StsExchanger, sts: Sts) -> None:
        exchange(exchanger)
        assert sts.parameters == {
            "Action": "AssumeRoleWithWebIdentity",
            "Version": "2011-06-15",
            "RoleArn": ROLE_ARN,
            "RoleSessionName": "demo.app-7d9c5b6f8-x2x7k",
            "WebIdentityToken": make_token().raw.reveal(),
            "DurationSeconds": "3600",
        }

    def test_call_is_unsigned_and_names_the_broker_in_its_user_agent(self, exchanger: StsExchanger, sts: Sts) -> None:
        exchange(exchanger)
        (request,) = sts.requests
        assert (request.method, request.path) == ("POST", "/")
        assert "authorization" not in request.headers
        assert "sts-federation-broker" in request.headers["user-agent"]

    def test_session_name_of_the_profile_is_sent(self, exchanger: StsExchanger, sts: Sts) -> None:
        sts.body = make_response(Arn=ASSUMED.replace("demo.app-7d9c5b6f8-x2x7k", "mine"))
        exchange(exchanger, session_name="mine")
        assert sts.parameters["RoleSessionName"] == "mine"

    def test_policies_are_sent(self, exchanger: StsExchanger, sts: Sts) -> None:
        arns = ("arn:aws:iam::aws:policy/A", "arn:aws:iam::aws:policy/B")
        exchange(exchanger, session_policy='{"Statement":[]}', policy_arns=arns, duration=timedelta(minutes=15))
        assert sts.parameters["Policy"] == '{"Statement":[]}'
        assert sts.parameters["PolicyArns.member.1.arn"] == arns[0]
        assert sts.parameters["PolicyArns.member.2.arn"] == arns[1]
        assert sts.parameters["DurationSeconds"] == "900"

    def test_provider_id_is_never_sent(self, exchanger: StsExchanger, sts: Sts) -> None:
        """ProviderId is for OAuth 2.0. It must not be set for OIDC."""
        exchange(exchanger, session_policy='{"Statement":[]}')
        assert "ProviderId" not in sts.parameters

    @pytest.mark.parametrize("status", [400, 429, 500, 503])
    def test_each_exchange_is_one_call(self, exchanger: StsExchanger, sts: Sts, status: int) -> None:
        """By default botocore retries some of these; the broker alone decides about retries."""
        sts.status, sts.body = status, make_refusal("Throttling")
        fail_exchange(exchanger)
        assert len(sts.requests) == 1


class TestResponse:
    """Successful responses, and those that are not usable."""

    def test_credentials_are_taken_from_the_response(self, exchanger: StsExchanger) -> None:
        credentials = exchange(exchanger)
        assert credentials.access_key_id == "ASIA0123456789ABCDEF"
        assert credentials.secret_access_key.reveal() == "secret/key+"
        assert credentials.session_token.reveal() == "session//token=="
        assert (credentials.received_at, credentials.expires_at) == (EPOCH, EPOCH + timedelta(hours=1))
        assert credentials.lifetime == timedelta(hours=1)
        assert (credentials.assumed_role_arn, credentials.account_id) == (ASSUMED, "123456789012")
        assert (credentials.request_id, credentials.clock_skew) == ("request-1", None)

    @pytest.mark.parametrize(
        "expiration",
        ["2026-11-23T13:00:00.000Z", "2026-11-23T14:00:00+01:00", "1795438800", "2026-11-23T13:00:00+0000"],
    )
    def test_every_format_of_expiration_is_parsed(self, exchanger: StsExchanger, sts: Sts, expiration: str) -> None:
        sts.body = make_response(Expiration=expiration)
        assert exchange(exchanger).expires_at == EPOCH + timedelta(hours=1)

    @pytest.mark.parametrize("name", ["AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration"])
    @pytest.mark.parametrize("value", ["-", "", " "])
    def test_missing_or_blank_field_is_refused(self, exchanger: StsExchanger, sts: Sts, name: str, value: str) -> None:
        """Otherwise blank credentials would overwrite good ones, as in rolesanywhere-credential-helper#200."""
        sts.body = make_response(**{name: value})
        assert isinstance(fail_exchange(exchanger), ResponseInvalid)

    @pytest.mark.parametrize("value", ["a\nb", " a", "a\n", "a b", "a&#9;b", "a\n[default]"])
    def test_key_that_would_break_a_file_is_refused(self, exchanger: StsExchanger, sts: Sts, value: str) -> None:
        sts.body = make_response(SessionToken=value)
        error = fail_exchange(exchanger)
        assert isinstance(error, ResponseInvalid)
        assert "SessionToken" in error.message
        assert (error.http_status, error.request_id) == (200, "request-1")

    @pytest.mark.parametrize(
        "value", ["soon", "2026-11-23T13:00:00", "9999-12-31T23:59:59-14:00", "2026-13-45T00:00:00Z"]
    )
    def test_malformed_expiration_is_refused(self, exchanger: StsExchanger, sts: Sts, value: str) -> None:
        """A time without a zone is ambiguous. None of these values may end the main loop."""
        sts.body = make_response(Expiration=value)
        assert isinstance(fail_exchange(exchanger), ResponseInvalid)

    def test_expired_credentials_are_refused(self, exchanger: StsExchanger, sts: Sts) -> None:
        sts.body = make_response(Expiration="2026-11-23T11:59:59Z")
        assert "expired at 2026-11-23T11:59:59Z" in fail_exchange(exchanger).message

    @pytest.mark.parametrize(
        "arn",
        [
            ASSUMED.replace("role/app", "role/admin"),
            ASSUMED.replace("123456789012", "210987654321"),
            ASSUMED.replace("x2x7k", "other"),
            "nonsense",
        ],
    )
    def test_session_of_another_role_account_or_name_is_refused(
        self, exchanger: StsExchanger, sts: Sts, arn: str
    ) -> None:
        """For example from a cache that returns the credentials of another pod: uswitch/kube2iam#215."""
        sts.body = make_response(Arn=arn)
        error = fail_exchange(exchanger)
        assert isinstance(error, ResponseInvalid)
        assert error.message.endswith(f"requested role {ROLE_ARN}, received {arn}.")

    def test_role_with_a_path_matches_by_its_name(self, exchanger: StsExchanger) -> None:
        """ARNs of assumed roles do not contain the path."""
        assert exchange(exchanger, role_arn="arn:aws:iam::123456789012:role/teams/a/app")

    def test_response_without_a_role_is_accepted_from_a_custom_endpoint(
        self, exchanger: StsExchanger, sts: Sts
    ) -> None:
        """MinIO returns no role."""
        sts.body = make_response(Arn="-")
        credentials = exchange(exchanger)
        assert (credentials.assumed_role_arn, credentials.account_id) == ("", "123456789012")

    @pytest.mark.parametrize(
        "body",
        [b"", b"OK", b"{}", b"<html><body>Sign in</body></html>", b"<a>", make_refusal("AccessDenied"), b"\xff\x00"],
    )
    def test_response_that_is_not_from_sts_is_reported_as_such(
        self, exchanger: StsExchanger, sts: Sts, body: bytes
    ) -> None:
        """A captive portal, a proxy or a service mesh may respond with 200 and something else."""
        sts.body = body
        error = fail_exchange(exchanger)
        assert isinstance(error, ResponseInvalid)
        assert "is not STS" in error.message
        assert "AWS_ENDPOINT_URL_STS" in error.remedy
        assert "Sign in" not in str(error)

    @pytest.mark.parametrize("status", [204, 301, 302, 307])
    def test_redirection_is_not_followed(self, exchanger: StsExchanger, sts: Sts, status: int) -> None:
        """The token must go to STS only."""
        sts.status, sts.headers, sts.body = status, {"Location": f"{sts.url}/elsewhere"}, b""
        assert isinstance(fail_exchange(exchanger), ResponseInvalid)
        assert len(sts.requests) == 1


class TestClocks:
    """Clock skew, measured with the Date header."""

    @pytest.mark.parametrize("minutes", [-90, -10, 0, 10, 90])
    def test_lifetime_is_computed_on_the_clock_of_sts(self, exchanger: StsExchanger, sts: Sts, minutes: int) -> None:
        theirs = EPOCH + timedelta(minutes=minutes)
        expires_at = theirs + timedelta(hours=1)
        sts.headers = {"Date": format_datetime(theirs, usegmt=True)}
        sts.body = make_response(Expiration=expires_at.isoformat())
        credentials = exchange(exchanger)
        assert credentials.clock_skew == timedelta(minutes=minutes, seconds=0.5)
        assert abs(credentials.lifetime - timedelta(hours=1)) < timedelta(seconds=1)
        assert credentials.expires_at == expires_at

    @pytest.mark.parametrize(
        "date",
        [
            "yesterday",
            "(",
            "Mon, 23 Nov 2026 12:00:00 -0000",
            "Mon, 23 Nov 99999999999999999999 12:00:00 GMT",
            "Mon, 23 Nov 2026 12:00:00 +999999999",
        ],
    )
    def test_malformed_date_gives_no_clock_skew(self, exchanger: StsExchanger, sts: Sts, date: str) -> None:
        sts.headers = {"Date": date}
        assert exchange(exchanger).clock_skew is None

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
    @given(date=st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E)), expiration=st.text("0123456789TZ:-+. "))
    @example(date="Mon, 01 Jan 0001 00:00:00 GMT", expiration="0001-01-01T00:00:00+14:00")
    @example(date="Fri, 31 Dec 9999 23:59:59 -1400", expiration="9999-12-31T23:59:59Z")
    def test_every_response_gives_credentials_or_an_exchange_error(
        self, exchanger: StsExchanger, sts: Sts, date: str, expiration: str
    ) -> None:
        sts.headers, sts.body = {"Date": date}, make_response(Expiration=expiration)
        try:
            assert exchange(exchanger).lifetime > timedelta(0)
        except ExchangeError:
            assert sts.requests


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


def test_every_exception_of_botocore_becomes_an_exchange_error(sts: Sts) -> None:
    """Each is raised in place of sending. Its text may contain secrets and must not appear in the error."""
    exchanger = StsExchanger(StsSpec(endpoint_url=sts.url), FakeClock())
    exchange(exchanger)
    pending: list[Exception] = []

    def fail(**_: object) -> None:
        raise pending.pop()

    exchanger.client("eu-west-1", signed=False).meta.events.register_first("before-send.sts", fail)
    fields = dict.fromkeys(("endpoint_url", "proxy_url", "error", "request", "response", "report"), "hush")
    errors = {}
    for kind in (
        botocore.exceptions.ConnectTimeoutError,
        botocore.exceptions.ReadTimeoutError,
        botocore.exceptions.EndpointConnectionError,
        botocore.exceptions.ConnectionClosedError,
        botocore.exceptions.ProxyConnectionError,
        botocore.exceptions.SSLError,
        botocore.exceptions.HTTPClientError,
        botocore.exceptions.ParamValidationError,
        botocore.exceptions.BotoCoreError,
        ZeroDivisionError,
        OSError,
        RecursionError,
    ):
        fault = kind(**fields) if issubclass(kind, botocore.exceptions.BotoCoreError) else kind("hush")
        pending.append(fault)
        error = fail_exchange(exchanger)
        assert "hush" not in "".join(traceback.format_exception(error))
        errors[kind.__name__] = (type(error), error.message.replace(sts.url, "URL"))
    expected = {
        name: (ExchangeUnavailable, f"The call to URL failed: {name}.") for name in errors if "Param" not in name
    }
    text = "botocore rejected the request of profile default as invalid."
    assert errors == {**expected, "ParamValidationError": (RequestInvalid, text)}
    assert len(errors) == 12


class Proxy:
    """A proxy that refuses every request and records it."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.server = LoopbackServer(answer=self._answer)

    def _answer(self, request: Request, wire: Wire) -> None:
        self.requests.append(f"{request.method} {request.path}")
        wire.send(403, {"Connection": "close"}, b"")
        wire.close()


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


def answer_as_aws(monkeypatch: pytest.MonkeyPatch, status: int, body: bytes, **headers: str) -> None:
    """Answer every call of STS's real host in this way, without a network."""
    answer = Answer(
        status=status,
        content_type="",
        location="",
        date="",
        headers=headers,
        body=body,
        is_truncated=False,
        seconds=0.1,
        address="",
        via="",
        tls=None,
    )
    monkeypatch.setattr("broker.sts.transport.fetch", lambda _, __: answer)


def test_response_of_aws_without_a_role_is_refused(sts: Sts, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a custom endpoint may leave the role out. Without it, a response is not from AWS."""
    answer_as_aws(monkeypatch, 200, sts.body.replace(b"<Arn>" + ASSUMED.encode() + b"</Arn>", b""))
    error = fail_exchange(StsExchanger(StsSpec(), FakeClock()))
    assert isinstance(error, ResponseInvalid)
    assert error.message.endswith("received no role.")


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


def test_lifetime_starts_with_the_request_if_the_response_is_slow(sts: Sts) -> None:
    """The session started before the slow response arrived, and its Date is too old to measure clock skew."""
    clock = FakeClock()

    def dripping(wire: Wire) -> None:
        clock.advance(timedelta(minutes=50))
        wire.send(200, {"Content-Type": "text/xml", "Date": format_datetime(EPOCH, usegmt=True)}, make_response())

    sts.misbehave = dripping
    credentials = exchange(StsExchanger(StsSpec(endpoint_url=sts.url), clock))
    assert credentials.received_at == EPOCH
    assert credentials.lapses_at <= EPOCH + timedelta(hours=1)
    assert credentials.clock_skew is None


def test_threads_share_one_exchanger(exchanger: StsExchanger, sts: Sts) -> None:
    """Several profiles are exchanged at once. Each gets the response to its own call."""
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - used here only

    def echo(wire: Wire) -> None:
        name = parse_qs(sts.requests[-1].body.decode())["RoleSessionName"][0]
        wire.send(200, {}, make_response(Arn=f"{ASSUMED.rsplit('/', 1)[0]}/{name}"))

    sts.misbehave = echo
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: exchange(exchanger).assumed_role_arn, range(20)))
    assert results == [ASSUMED] * 20


def test_printed_credentials_do_not_contain_secrets(exchanger: StsExchanger) -> None:
    shown = repr(exchange(exchanger))
    assert "secret/key+" not in shown
    assert "session//token==" not in shown
    with pytest.raises(TypeError):
        json.dumps(exchange(exchanger).secret_access_key)
