"""Scripted faults of AssumeRole, which affect a chained exchange like one with a token."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import botocore.exceptions
import botocore.parsers
import pytest

from sandbox.aws import chain_faults, faults
from tests.sandbox.role_chains import SOURCE, assume, refusal

if TYPE_CHECKING:
    from sandbox import Sandbox
    from tests.sandbox.sts_client import Exchanger

REFUSALS = [*vars(faults).values(), *vars(chain_faults).values()]


@pytest.fixture
def keys(simulator: Sandbox, exchanger: Exchanger) -> dict[str, str]:
    return exchanger.keys(RoleArn=simulator.create_role("source"))


@pytest.fixture
def arn(simulator: Sandbox) -> str:
    return simulator.create_role("chained", trust_policy=simulator.chain_trust(SOURCE))


def script(simulator: Sandbox, *scripted: faults.Fault) -> None:
    simulator.sts.script(*scripted, action="AssumeRole")


@pytest.mark.parametrize(
    "fault", [one for one in REFUSALS if isinstance(one, faults.Refuse)], ids=lambda fault: str(fault.code)
)
def test_scripted_refusal_arrives_and_the_next_call_succeeds(
    simulator: Sandbox, keys: dict[str, str], arn: str, fault: faults.Refuse
) -> None:
    script(simulator, fault)
    response = refusal(simulator, keys, arn)
    assert (response.code, response.message, response.status) == (fault.code, fault.message, fault.status)
    assert (simulator.sts.calls[-1].outcome, simulator.sts.calls[-1].fault) == (fault.code, "Refuse")
    assert simulator.sts.calls[-1].caller_arn.endswith(":assumed-role/source/demo.app")
    assert assume(simulator, keys, arn)


@pytest.mark.parametrize("field", list(faults.Field))
def test_scripted_field_is_blank_or_missing(
    simulator: Sandbox, keys: dict[str, str], arn: str, field: faults.Field
) -> None:
    script(simulator, faults.Missing(field=field))
    assert field.value not in assume(simulator, keys, arn)["Credentials"]
    script(simulator, faults.Blank(field=field))
    if field is faults.Field.EXPIRATION:
        with pytest.raises(ValueError, match="Invalid timestamp"):
            assume(simulator, keys, arn)
    else:
        assert assume(simulator, keys, arn)["Credentials"][field.value] == ""


def test_good_response_is_changed_as_scripted(simulator: Sandbox, keys: dict[str, str], arn: str) -> None:
    script(simulator, faults.Spoiled.WRONG_ROLE, faults.Spoiled.EXPIRED)
    assert assume(simulator, keys, arn)["AssumedRoleUser"]["Arn"].endswith(":assumed-role/somebody-else/hop")
    assert assume(simulator, keys, arn)["Credentials"]["Expiration"] < datetime.now(UTC)
    script(simulator, faults.SkewedDate(by=timedelta(hours=2)), faults.Spoiled.NO_DATE)
    date = parsedate_to_datetime(assume(simulator, keys, arn)["ResponseMetadata"]["HTTPHeaders"]["date"])
    assert date - datetime.now(UTC) > timedelta(hours=1)
    assert "date" not in assume(simulator, keys, arn)["ResponseMetadata"]["HTTPHeaders"]


@pytest.mark.parametrize(
    "fault", [faults.Spoiled.TRUNCATED_XML, faults.Spoiled.MALFORMED_XML, faults.Spoiled.ECHO, faults.HTML_503]
)
def test_response_that_is_not_xml_cannot_be_read(
    simulator: Sandbox, keys: dict[str, str], arn: str, fault: faults.Fault
) -> None:
    script(simulator, fault)
    with pytest.raises((botocore.parsers.ResponseParserError, botocore.exceptions.ClientError)):
        assume(simulator, keys, arn)


def test_slow_responses_are_complete(simulator: Sandbox, keys: dict[str, str], arn: str) -> None:
    script(simulator, faults.Latency(seconds=0.1), faults.Drip(pause_seconds=0.001, piece_bytes=100))
    before = time.monotonic()
    assert assume(simulator, keys, arn)
    assert time.monotonic() - before >= 0.1
    assert assume(simulator, keys, arn)["Credentials"]["SecretAccessKey"]


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (faults.Hang(), botocore.exceptions.ReadTimeoutError),
        (faults.Drip(pause_seconds=60), botocore.exceptions.ReadTimeoutError),
        (faults.Reset(), botocore.exceptions.ConnectionClosedError),
    ],
)
def test_connection_without_a_response_fails_in_the_client(
    simulator: Sandbox, keys: dict[str, str], arn: str, fault: faults.Fault, error: type[Exception]
) -> None:
    script(simulator, fault)
    with pytest.raises(error):
        assume(simulator, keys, arn, read_timeout_seconds=0.2)
    assert simulator.sts.calls[-1].fault == type(fault).__name__


def test_permanent_fault_of_one_chained_role_does_not_affect_others(
    simulator: Sandbox, keys: dict[str, str], arn: str
) -> None:
    spared = simulator.create_role("spared", trust_policy=simulator.chain_trust(SOURCE))
    simulator.sts.always(chain_faults.EXPIRED_TOKEN, role_arn=arn, action="AssumeRole")
    assert [refusal(simulator, keys, arn).code for _ in range(2)] == ["ExpiredToken"] * 2
    assert assume(simulator, keys, spared)
    simulator.sts.always(None, role_arn=arn, action="AssumeRole")
    assert assume(simulator, keys, arn)
