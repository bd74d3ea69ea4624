"""Every scripted fault of the sandbox, as the broker tells it: class, what was found, what to change, and no secret."""

from __future__ import annotations

import threading
import traceback
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

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
    from tests.moto_backed.conftest import Door


@dataclass(frozen=True, slots=True)
class Told:
    """The class that a fault has to arrive as, and words that its text has to hold."""

    kind: type[ExchangeError]
    words: tuple[str, ...] = ()


GOOD = None
UNREADABLE = Told(ResponseInvalid, ("is not STS", "AWS_ENDPOINT_URL_STS", "proxy"))


def blank(*fields: str) -> Told:
    return Told(ResponseInvalid, (*fields, "missing or blank"))


EXPECTED: dict[str, Told | None] = {
    "THROTTLING": Told(ExchangeThrottled, ("Rate exceeded", "quota", "duration_seconds")),
    "THROTTLING_EXCEPTION": Told(ExchangeThrottled, ("ThrottlingException", "quota")),
    "REQUEST_LIMIT_EXCEEDED": Told(ExchangeThrottled, ("RequestLimitExceeded", "quota")),
    "TOO_MANY_REQUESTS": Told(ExchangeThrottled, ("TooManyRequestsException", "quota")),
    "INTERNAL_FAILURE": Told(ExchangeUnavailable, ("InternalFailure", "internal error")),
    "SERVICE_UNAVAILABLE": Told(ExchangeUnavailable, ("ServiceUnavailable",)),
    "INVALID_IDENTITY_TOKEN": Told(TokenRejected, ("verification key", "JWKS must be public", "{issuer}")),
    "IDP_COMMUNICATION_ERROR": Told(ExchangeUnavailable, ("could not reach {issuer}", "must be public")),
    "IDP_REJECTED_CLAIM": Told(TokenRejected, ("no longer vouches", "{issuer}")),
    "ACCESS_DENIED": Told(
        RoleDenied,
        ("does not exist or its trust policy", "{provider}:sub is {subject}", "{provider}:aud is sts.amazonaws.com"),
    ),
    "REGION_DISABLED": Told(RequestInvalid, ("Activate STS for Region eu-west-1", "123456789012")),
    "EXPIRED_TOKEN_EXCEPTION": Told(TokenRejected, ("Token expired", "clock is behind")),
    "MINIO_EXPIRED_TOKEN": Told(TokenRejected, ("ExpiredToken", "clock is behind")),
    "PACKED_POLICY_TOO_LARGE": Told(RequestInvalid, ("112%", "Shorten session_policy", "policy_arns")),
    "MALFORMED_POLICY_DOCUMENT": Told(RequestInvalid, ("Mend session_policy",)),
    "VALIDATION_ERROR": Told(RequestInvalid, ("Lower duration_seconds from 3600", "{role}")),
    "HTML_503": Told(ExchangeUnavailable, ("503",)),
    "EMPTY_502": Told(ExchangeUnavailable, ("502",)),
    "CEPH_403": Told(RoleDenied, ("403", "trust policy")),
    "CEPH_400": Told(RequestInvalid, ("400", "AWS_ENDPOINT_URL_STS")),
    "Broken.EMPTY": Told(ExchangeUnavailable, ("500",)),
    "Broken.HTML": Told(ExchangeUnavailable, ("500",)),
    "Broken.CEPH": Told(ExchangeUnavailable, ("500",)),
    "Spoiled.TRUNCATED_XML": UNREADABLE,
    "Spoiled.MALFORMED_XML": UNREADABLE,
    "Spoiled.ECHO": UNREADABLE,
    "Spoiled.EXPIRED": Told(ResponseInvalid, ("expired at 20",)),
    "Spoiled.WRONG_ROLE": Told(ResponseInvalid, ("asked for {role}, got arn:aws:sts::", "somebody-else")),
    "Spoiled.NO_DATE": GOOD,
    "Blank.ACCESS_KEY_ID": blank("AccessKeyId"),
    "Blank.SECRET_ACCESS_KEY": blank("SecretAccessKey"),
    "Blank.SESSION_TOKEN": blank("SessionToken"),
    "Blank.EXPIRATION": UNREADABLE,  # botocore cannot parse an empty date, and its message quotes the answer
    "Missing.ACCESS_KEY_ID": blank("AccessKeyId"),
    "Missing.SECRET_ACCESS_KEY": blank("SecretAccessKey"),
    "Missing.SESSION_TOKEN": blank("SessionToken"),
    "Missing.EXPIRATION": blank("Expiration"),
    "Latency": GOOD,
    "Drip": GOOD,
    "SkewedDate": GOOD,
    "Reset": Told(ExchangeUnavailable, ("{address}",)),
    "Hang": Told(ExchangeUnavailable, ("{address}",)),
}


def test_every_fault_of_the_sandbox_has_an_expectation() -> None:
    assert SAMPLES.keys() == EXPECTED.keys()
    assert {type(fault) for fault in SAMPLES.values()} == set(FAULT_TYPES)


@pytest.mark.parametrize("name", [name for name, told in EXPECTED.items() if told is not GOOD and name != "Hang"])
def test_fault_is_told_by_class_and_with_what_to_change(door: Door, name: str) -> None:
    told, token = EXPECTED[name], door.token()
    assert told is not None
    door.box.sts.script(SAMPLES[name])
    error = door.refusal(told.kind, token)
    assert_told(door, error, told)
    assert_no_secret(door.box.sts, error, token.raw.reveal())
    assert door.exchange(), "the next exchange has to be as if nothing had been"


@pytest.mark.parametrize("name", [name for name, told in EXPECTED.items() if told is GOOD])
def test_harmless_fault_still_gives_credentials(door: Door, name: str) -> None:
    door.box.sts.script(SAMPLES[name])
    credentials = door.exchange()
    assert credentials.lifetime > timedelta(minutes=59)
    assert credentials.secret_access_key.reveal()


def test_exchange_that_sts_leaves_hanging_ends_as_unavailable_when_sts_goes(box: Sandbox, door: Door) -> None:
    sts = StsServer(account=box.account, addresses=box.addresses)
    hung = replace(door, exchanger=StsExchanger(StsSpec(endpoint_url=sts.url), SystemClock()))
    sts.script(SAMPLES["Hang"])

    def go() -> None:
        sts.wait_for_calls(1)
        sts.stop()

    ending = threading.Thread(target=go)
    ending.start()
    token = hung.token()
    error = hung.refusal(ExchangeUnavailable, token)
    ending.join()
    assert sts.url in str(error)
    assert_no_secret(sts, error, token.raw.reveal())


def test_request_id_and_status_of_a_refusal_are_kept_for_the_log(door: Door) -> None:
    door.box.sts.script(faults.ACCESS_DENIED)
    error = door.refusal(RoleDenied)
    (call,) = door.box.sts.calls
    assert (error.code, error.http_status, error.request_id) == ("AccessDenied", 403, call.request_id)


def test_token_that_sts_quotes_is_cut_out_of_its_sentence(door: Door) -> None:
    token = door.token()
    door.box.sts.script(faults.Refuse(code="InvalidIdentityToken", message=f"Cannot read {token.raw.reveal()} at all"))
    error = door.refusal(TokenRejected, token)
    assert "Cannot read <redacted> at all" in str(error)
    assert_no_secret(door.box.sts, error, token.raw.reveal())


@pytest.mark.parametrize("part", [0, 1, 2], ids=["header", "payload", "signature"])
def test_piece_of_the_token_that_sts_quotes_is_cut_out_of_its_sentence(door: Door, part: int) -> None:
    token = door.token()
    piece = token.raw.reveal().split(".")[part][5:150]
    door.box.sts.script(faults.Refuse(code="InvalidIdentityToken", message=f"Cannot read {piece}... at all"))
    error = door.refusal(TokenRejected, token)
    assert "Cannot read <redacted>... at all" in str(error)
    assert_no_secret(door.box.sts, error, token.raw.reveal())


def assert_told(door: Door, error: ExchangeError, told: Told) -> None:
    issuer = door.box.issuer.issuer
    facts = {
        "issuer": issuer,
        "provider": issuer.removeprefix("https://"),
        "subject": "system:serviceaccount:demo:app",
        "role": door.profile.role_arn,
        "address": door.box.sts.url,
    }
    for words in told.words:
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
    assert "<" not in text.replace("<redacted>", "").replace("<module>", ""), "no body of an answer"
