"""Every scripted fault, as a client without retries sees it."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import botocore.exceptions
import botocore.parsers
import pytest

from sandbox import StsServer
from sandbox.aws import faults
from tests.sandbox.sts_client import Exchanger, refused, unsigned_client

if TYPE_CHECKING:
    from sandbox import Sandbox

REFUSALS = [value for value in vars(faults).values() if isinstance(value, faults.Refuse)]


@pytest.mark.parametrize("fault", REFUSALS, ids=lambda fault: fault.code)
def test_scripted_refusal_arrives(simulator: Sandbox, exchanger: Exchanger, fault: faults.Refuse) -> None:
    simulator.sts.script(fault)
    refusal = exchanger.refusal()
    assert (refusal.code, refusal.message, refusal.status) == (fault.code, fault.message, fault.status)
    (call,) = simulator.sts.calls
    assert (call.outcome, call.fault) == (fault.code, "Refuse")
    assert exchanger.exchange()


@pytest.mark.parametrize("fault", [faults.HTML_503, faults.EMPTY_502, faults.CEPH_400, faults.CEPH_403])
def test_response_without_an_error_code(simulator: Sandbox, exchanger: Exchanger, fault: faults.Broken) -> None:
    simulator.sts.script(fault)
    with pytest.raises((botocore.exceptions.ClientError, botocore.parsers.ResponseParserError)) as caught:
        exchanger.exchange()
    if isinstance(caught.value, botocore.exceptions.ClientError):
        assert refused(caught.value).status == fault.status
        assert refused(caught.value).code in ("", str(fault.status), "Unknown")
    assert simulator.sts.calls[0].outcome == f"HTTP {fault.status}"


@pytest.mark.parametrize("field", faults.Field)
def test_blank_field(simulator: Sandbox, exchanger: Exchanger, field: faults.Field) -> None:
    simulator.sts.script(faults.Blank(field=field))
    try:
        credentials = exchanger.exchange()["Credentials"]
    except (botocore.exceptions.BotoCoreError, ValueError):
        assert field is faults.Field.EXPIRATION  # an empty date cannot be parsed
    else:
        assert not credentials[field.value]
    assert simulator.sts.calls[0].outcome == "Success"


@pytest.mark.parametrize("field", faults.Field)
def test_missing_field(simulator: Sandbox, exchanger: Exchanger, field: faults.Field) -> None:
    simulator.sts.script(faults.Missing(field=field))
    credentials = exchanger.exchange()["Credentials"]
    assert set(credentials) == {one.value for one in faults.Field} - {field.value}


def test_expired_credentials(simulator: Sandbox, exchanger: Exchanger) -> None:
    simulator.sts.script(faults.Spoiled.EXPIRED)
    assert exchanger.exchange()["Credentials"]["Expiration"] < datetime.now(UTC) - timedelta(minutes=4)


def test_response_for_another_role(simulator: Sandbox, exchanger: Exchanger) -> None:
    simulator.sts.script(faults.Spoiled.WRONG_ROLE)
    assert exchanger.exchange()["AssumedRoleUser"]["Arn"].endswith(":assumed-role/somebody-else/demo.app")


@pytest.mark.parametrize("fault", [faults.Spoiled.TRUNCATED_XML, faults.Spoiled.MALFORMED_XML])
def test_unreadable_xml_carries_a_secret(simulator: Sandbox, exchanger: Exchanger, fault: faults.Spoiled) -> None:
    simulator.sts.script(fault)
    with pytest.raises(botocore.parsers.ResponseParserError) as caught:
        exchanger.exchange()
    assert "<SecretAccessKey>" in str(caught.value)  # so botocore's message must not be logged


def test_echo_returns_the_token(simulator: Sandbox, exchanger: Exchanger) -> None:
    token = simulator.issuer.mint()
    simulator.sts.script(faults.Spoiled.ECHO)
    with pytest.raises(botocore.parsers.ResponseParserError) as caught:
        exchanger.exchange(WebIdentityToken=token)
    assert token in str(caught.value)


def test_skewed_and_absent_date(simulator: Sandbox, exchanger: Exchanger) -> None:
    simulator.sts.script(faults.SkewedDate(by=timedelta(hours=-2)), faults.Spoiled.NO_DATE)
    skewed = exchanger.exchange()["ResponseMetadata"]["HTTPHeaders"]["date"]
    lag = datetime.now(UTC) - parsedate_to_datetime(skewed)
    assert timedelta(hours=1, minutes=59) < lag < timedelta(hours=2, minutes=1)
    assert "date" not in exchanger.exchange()["ResponseMetadata"]["HTTPHeaders"]


def test_latency_delays_a_good_response(simulator: Sandbox, exchanger: Exchanger) -> None:
    simulator.sts.script(faults.Latency(seconds=0.1))
    before = time.monotonic()
    assert exchanger.exchange()
    assert time.monotonic() - before >= 0.1


def test_drip_ends_in_a_good_response(simulator: Sandbox, exchanger: Exchanger) -> None:
    simulator.sts.script(faults.Drip(pause_seconds=0.001, piece_bytes=100))
    assert exchanger.exchange()["Credentials"]["SecretAccessKey"]


def test_reset_breaks_the_connection(simulator: Sandbox, exchanger: Exchanger) -> None:
    simulator.sts.script(faults.Reset())
    with pytest.raises(botocore.exceptions.ConnectionClosedError):
        exchanger.exchange()
    assert simulator.sts.calls[0].outcome == "Reset"
    assert exchanger.exchange()


def test_hang_lasts_until_the_client_closes_the_connection(simulator: Sandbox) -> None:
    client = unsigned_client(simulator, read_timeout_seconds=0.1)
    simulator.sts.script(faults.Hang())
    with pytest.raises(botocore.exceptions.ReadTimeoutError):
        Exchanger(simulator, client).exchange()
    client.close()
    assert simulator.sts.calls[0].outcome == "Hang"


def test_fault_of_a_good_response_does_not_change_a_refusal(simulator: Sandbox, exchanger: Exchanger) -> None:
    simulator.sts.script(faults.Blank(field=faults.Field.SECRET_ACCESS_KEY))
    assert exchanger.refusal(RoleSessionName="x").code == "ValidationError"


def test_scripted_faults_come_in_order_and_before_the_permanent_one(simulator: Sandbox, exchanger: Exchanger) -> None:
    simulator.sts.always(faults.ACCESS_DENIED)
    simulator.sts.script(faults.THROTTLING, None, faults.INTERNAL_FAILURE)
    assert exchanger.refusal().code == "Throttling"
    assert exchanger.exchange()
    assert exchanger.refusal().code == "InternalFailure"
    assert exchanger.refusal().code == "AccessDenied"
    assert exchanger.refusal().code == "AccessDenied"
    simulator.sts.always(None)
    assert exchanger.exchange()


def test_permanent_fault_of_one_role_does_not_affect_others(simulator: Sandbox, exchanger: Exchanger) -> None:
    other = simulator.create_role("spared")
    simulator.sts.always(faults.THROTTLING, role_arn=simulator.role_arn)
    assert exchanger.refusal().code == "Throttling"
    assert exchanger.exchange(RoleArn=other)


@pytest.mark.parametrize(
    "fault",
    [faults.Latency(seconds=600), faults.Hang(), faults.Drip(pause_seconds=600), faults.Drip(pause_seconds=0.01)],
)
def test_stop_does_not_wait_for_a_fault(simulator: Sandbox, fault: faults.Fault) -> None:
    sts = StsServer(account=simulator.account, addresses=simulator.addresses)
    client = unsigned_client(simulator, endpoint=sts.url)
    sts.always(fault)
    failures: list[Exception] = []

    def exchange() -> None:
        try:
            Exchanger(simulator, client).exchange()
        except (botocore.exceptions.BotoCoreError, OSError) as error:
            failures.append(error)

    thread = threading.Thread(target=exchange)
    thread.start()
    if isinstance(fault, faults.Latency):
        threading.Event().wait(0.1)  # a delayed call is recorded only with its response
    else:
        sts.wait_for_calls(1)
    before = time.monotonic()
    sts.stop()
    thread.join(5)
    client.close()
    assert time.monotonic() - before < 2
    assert failures
