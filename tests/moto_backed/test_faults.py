"""Every scripted fault of the sandbox: class and message of the error, its remedy, and that it has no secret."""

from __future__ import annotations

import threading
import traceback
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from broker.core.clock import SystemClock
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
from sandbox import StsServer
from sandbox.aws import faults
from tests.moto_backed.scripted_faults import FAULT_TYPES, SAMPLES
from tests.process.leaks import Canaries
from tests.process.pod import sessions_of

if TYPE_CHECKING:
    from sandbox import Sandbox
    from tests.moto_backed.conftest import Scenario


@dataclass(frozen=True, slots=True)
class Expected:
    """The class of the error, and words that its text must contain."""

    kind: type[ExchangeError]
    words: tuple[str, ...] = ()


GOOD = None
UNREADABLE = Expected(ResponseInvalid, ("is not STS", "AWS_ENDPOINT_URL_STS", "proxy"))


def expect_blank(*fields: str) -> Expected:
    return Expected(ResponseInvalid, (*fields, "missing, blank or malformed"))


EXPECTED: dict[str, Expected | None] = {
    "THROTTLING": Expected(ExchangeThrottled, ("Rate exceeded", "quota", "duration_seconds")),
    "THROTTLING_EXCEPTION": Expected(ExchangeThrottled, ("ThrottlingException", "quota")),
    "REQUEST_LIMIT_EXCEEDED": Expected(ExchangeThrottled, ("RequestLimitExceeded", "quota")),
    "TOO_MANY_REQUESTS": Expected(ExchangeThrottled, ("TooManyRequestsException", "quota")),
    "INTERNAL_FAILURE": Expected(ExchangeUnavailable, ("InternalFailure", "internal error")),
    "SERVICE_UNAVAILABLE": Expected(ExchangeUnavailable, ("ServiceUnavailable",)),
    "INVALID_IDENTITY_TOKEN": Expected(TokenRejected, ("verification key", "JWKS must be public", "{issuer}")),
    "IDP_COMMUNICATION_ERROR": Expected(ExchangeUnavailable, ("could not reach {issuer}", "must be public")),
    "IDP_REJECTED_CLAIM": Expected(TokenRejected, ("issuer {issuer} rejected the token",)),
    "ACCESS_DENIED": Expected(
        RoleDenied,
        ("does not exist, or its trust policy", "{provider}:sub = {subject}", "{provider}:aud = sts.amazonaws.com"),
    ),
    "REGION_DISABLED": Expected(RequestInvalid, ("Activate STS for Region eu-west-1", "123456789012")),
    "EXPIRED_TOKEN_EXCEPTION": Expected(TokenRejected, ("Token expired", "clock is behind")),
    "MINIO_EXPIRED_TOKEN": Expected(TokenRejected, ("ExpiredToken", "clock is behind")),
    "PACKED_POLICY_TOO_LARGE": Expected(RequestInvalid, ("112%", "Shorten session_policy", "policy_arns")),
    "MALFORMED_POLICY_DOCUMENT": Expected(RequestInvalid, ("Fix session_policy", "BROKER_POLICY_ARNS")),
    "VALIDATION_ERROR": Expected(
        RequestInvalid, ("Lower duration_seconds (BROKER_DURATION_SECONDS) from 3600", "{role}")
    ),
    "HTML_503": Expected(ExchangeUnavailable, ("503",)),
    "EMPTY_502": Expected(ExchangeUnavailable, ("502",)),
    "HTML_403": Expected(ResponseInvalid, ("is not STS", "is a web page", "AWS_ENDPOINT_URL_STS")),
    "TEXT_403": Expected(ResponseInvalid, ("is not STS", "is plain text", "service mesh")),
    "S3_403": Expected(RoleDenied, ("STS returned AccessDenied: Access Denied.", "trust policy")),
    "THUMBPRINT": Expected(TokenRejected, ("{issuer} is not the one that the IAM OIDC provider", "thumbprint list")),
    "CEPH_403": Expected(RoleDenied, ("STS returned AccessDenied.", "trust policy")),
    "CEPH_400": Expected(RoleDenied, ("STS returned AccessDenied.", "trust policy")),
    "Broken.EMPTY": Expected(ExchangeUnavailable, ("500",)),
    "Broken.HTML": Expected(ExchangeUnavailable, ("500",)),
    "Broken.TEXT": Expected(ExchangeUnavailable, ("500", "is plain text", "gateway")),
    "Broken.S3": Expected(RoleDenied, ("STS returned AccessDenied: Access Denied.",)),
    "Broken.CEPH": Expected(RoleDenied, ("STS returned AccessDenied.", "trust policy")),
    "Spoiled.TRUNCATED_XML": UNREADABLE,
    "Spoiled.MALFORMED_XML": UNREADABLE,
    "Spoiled.ECHO": UNREADABLE,
    "Spoiled.EXPIRED": Expected(ResponseInvalid, ("expired at 20",)),
    "Spoiled.WRONG_ROLE": Expected(ResponseInvalid, ("requested role {role}, received arn:aws:sts::", "somebody-else")),
    "Spoiled.NO_DATE": GOOD,
    "Blank.ACCESS_KEY_ID": expect_blank("AccessKeyId"),
    "Blank.SECRET_ACCESS_KEY": expect_blank("SecretAccessKey"),
    "Blank.SESSION_TOKEN": expect_blank("SessionToken"),
    "Blank.EXPIRATION": UNREADABLE,  # botocore cannot parse an empty date, and its message quotes the response
    "Missing.ACCESS_KEY_ID": expect_blank("AccessKeyId"),
    "Missing.SECRET_ACCESS_KEY": expect_blank("SecretAccessKey"),
    "Missing.SESSION_TOKEN": expect_blank("SessionToken"),
    "Missing.EXPIRATION": expect_blank("Expiration"),
    "Latency": GOOD,
    "Drip": GOOD,
    "SkewedDate": GOOD,
    "Reset": Expected(ExchangeUnavailable, ("{address}",)),
    "Hang": Expected(ExchangeUnavailable, ("{address}",)),
}


def test_every_fault_of_the_sandbox_has_an_expectation() -> None:
    assert SAMPLES.keys() == EXPECTED.keys()
    assert {type(fault) for fault in SAMPLES.values()} == set(FAULT_TYPES)


@pytest.mark.parametrize(
    "name", [name for name, expected in EXPECTED.items() if expected is not GOOD and name != "Hang"]
)
def test_fault_has_the_expected_class_and_remedy(scenario: Scenario, name: str) -> None:
    expected, token = EXPECTED[name], scenario.make_token()
    assert expected is not None
    scenario.box.sts.script(SAMPLES[name])
    error = scenario.fail_exchange(expected.kind, token)
    assert_explained(scenario, error, expected)
    assert_no_secret(scenario.box.sts, error, token.raw.reveal())
    assert scenario.exchange(), "the next exchange must succeed"


@pytest.mark.parametrize("name", [name for name, expected in EXPECTED.items() if expected is GOOD])
def test_harmless_fault_still_gives_credentials(scenario: Scenario, name: str) -> None:
    scenario.box.sts.script(SAMPLES[name])
    credentials = scenario.exchange()
    assert credentials.lifetime > timedelta(minutes=59)
    assert credentials.secret_access_key.reveal()


def test_hanging_exchange_is_unavailable_when_sts_stops(box: Sandbox, scenario: Scenario) -> None:
    sts = StsServer(account=box.account, addresses=box.addresses)
    hung = replace(scenario, exchanger=StsExchanger(StsSpec(endpoint_url=sts.url), SystemClock()))
    sts.script(SAMPLES["Hang"])

    def stop() -> None:
        sts.wait_for_calls(1)
        sts.stop()

    stopping = threading.Thread(target=stop)
    stopping.start()
    token = hung.make_token()
    error = hung.fail_exchange(ExchangeUnavailable, token)
    stopping.join()
    assert sts.url in str(error)
    assert_no_secret(sts, error, token.raw.reveal())


def test_refusal_has_request_id_and_status_for_the_log(scenario: Scenario) -> None:
    scenario.box.sts.script(faults.ACCESS_DENIED)
    error = scenario.fail_exchange(RoleDenied)
    (call,) = scenario.box.sts.calls
    assert (error.code, error.http_status, error.request_id) == ("AccessDenied", 403, call.request_id)


def test_token_that_sts_quotes_is_removed_from_the_message(scenario: Scenario) -> None:
    token = scenario.make_token()
    scenario.box.sts.script(
        faults.Refuse(code="InvalidIdentityToken", message=f"Cannot read {token.raw.reveal()} at all")
    )
    error = scenario.fail_exchange(TokenRejected, token)
    assert "Cannot read <redacted> at all" in str(error)
    assert_no_secret(scenario.box.sts, error, token.raw.reveal())


@pytest.mark.parametrize("part", [0, 1, 2], ids=["header", "payload", "signature"])
def test_part_of_the_token_that_sts_quotes_is_removed_from_the_message(scenario: Scenario, part: int) -> None:
    token = scenario.make_token()
    piece = token.raw.reveal().split(".")[part][5:150]
    scenario.box.sts.script(faults.Refuse(code="InvalidIdentityToken", message=f"Cannot read {piece}... at all"))
    error = scenario.fail_exchange(TokenRejected, token)
    assert "Cannot read <redacted>... at all" in str(error)
    assert_no_secret(scenario.box.sts, error, token.raw.reveal())


def assert_explained(scenario: Scenario, error: ExchangeError, expected: Expected) -> None:
    issuer = scenario.box.issuer.issuer
    facts = {
        "issuer": issuer,
        "provider": issuer.removeprefix("https://"),
        "subject": "system:serviceaccount:demo:app",
        "role": scenario.profile.role_arn,
        "address": scenario.box.sts.url,
    }
    for words in expected.words:
        assert words.format(**facts) in str(error)
    assert error.message
    assert str(error) == f"{error.message} {error.remedy}".rstrip()


def assert_no_secret(sts: StsServer, error: Exception, token: str) -> None:
    canaries = Canaries()
    canaries.add("token", token)
    for session in sessions_of(sts).values():
        canaries.add("secret access key", session.secret_access_key)
        canaries.add("session token", session.session_token)
    text = "".join(traceback.format_exception(error)) + repr(error) + str(vars(error))
    assert canaries.found_in(text) == set()
    assert "<" not in text.replace("<redacted>", "").replace("<module>", ""), "the body of a response"
