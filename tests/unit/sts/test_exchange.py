"""AssumeRoleWithWebIdentity against a scripted server on loopback: requests, and how responses are judged."""

from __future__ import annotations

import json
import traceback
from datetime import timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

import botocore.exceptions
import botocore.session
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from broker.core.errors import (
    ExchangeError,
    ExchangeUnavailable,
    RequestInvalid,
    ResponseInvalid,
)
from broker.core.model import StsSpec
from broker.core.session_sizes import SessionSizes
from broker.sts.exchange import StsExchanger
from tests.support.fakes import EPOCH, ROLE_ARN, FakeClock, make_token
from tests.unit.sts.scripted_sts import (
    ASSUMED,
    Sts,
    answer_as_aws,
    exchange,
    fail_exchange,
    make_refusal,
    make_response,
)

if TYPE_CHECKING:
    from sandbox.http.loopback import Wire


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
        ("fields", "sizes"),
        [
            ({}, SessionSizes()),
            ({"PackedPolicySize": "0"}, SessionSizes(packed_policy_percent=0)),
            (
                {"PackedPolicySize": "82", "SessionTokenUtilization": "41", "SessionTokenSize": "1680"},
                SessionSizes(packed_policy_percent=82, session_token_percent=41, session_token_bytes=1680),
            ),
            ({"PackedPolicySize": "-1", "SessionTokenUtilization": "40"}, SessionSizes(session_token_percent=40)),
        ],
    )
    def test_sizes_are_taken_from_the_response(
        self, exchanger: StsExchanger, sts: Sts, fields: dict[str, str], sizes: SessionSizes
    ) -> None:
        sts.body = make_response(**fields)
        assert exchange(exchanger).sizes == sizes

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


def test_response_of_aws_without_a_role_is_refused(sts: Sts, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a custom endpoint may leave the role out. Without it, a response is not from AWS."""
    answer_as_aws(monkeypatch, 200, sts.body.replace(b"<Arn>" + ASSUMED.encode() + b"</Arn>", b""))
    error = fail_exchange(StsExchanger(StsSpec(), FakeClock()))
    assert isinstance(error, ResponseInvalid)
    assert error.message.endswith("received no role.")


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
