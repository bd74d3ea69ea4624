"""Successful exchanges: working credentials, requests as configured, and the measured clock skew."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from broker.core.clock import Instant, SystemClock
from broker.core.model import StsSpec
from broker.sts.exchange import StsExchanger
from sandbox.aws import faults

if TYPE_CHECKING:
    from sandbox import Sandbox
    from tests.moto_backed.conftest import Scenario

SLACK = timedelta(seconds=2)


@dataclass(slots=True, kw_only=True)
class NodeClock:
    """The machine's clock plus an offset."""

    offset: timedelta
    _real: SystemClock = field(default_factory=SystemClock)

    def read(self) -> Instant:
        """Return the time of this node."""
        at = self._real.read()
        return Instant(now=at.now + self.offset, monotonic=at.monotonic)


def test_exchanged_credentials_work(box: Sandbox, scenario: Scenario) -> None:
    token = scenario.make_token()
    credentials = scenario.exchange(token)
    client = box.boto3_client(
        "sts",
        endpoint_url=box.sts.url,
        aws_access_key_id=credentials.access_key_id,
        aws_secret_access_key=credentials.secret_access_key.reveal(),
        aws_session_token=credentials.session_token.reveal(),
    )
    identity = client.get_caller_identity()
    client.close()
    assert identity["Arn"] == credentials.assumed_role_arn
    assert identity["Account"] == credentials.account_id == "123456789012"
    exchange, _ = box.sts.calls
    assert (exchange.token_fingerprint, exchange.request_id) == (token.fingerprint, credentials.request_id)


def test_request_has_the_settings_of_the_profile(box: Sandbox, scenario: Scenario) -> None:
    arn = box.create_role("moto-backed-long", max_session=timedelta(hours=12))
    profile = replace(scenario.profile, role_arn=arn, session_name="chosen", duration=timedelta(hours=12))
    credentials = scenario.exchange(profile=profile)
    (call,) = box.sts.calls
    assert (call.role_arn, call.session_name, call.duration_seconds) == (arn, "chosen", 43_200)
    assert credentials.assumed_role_arn == "arn:aws:sts::123456789012:assumed-role/moto-backed-long/chosen"
    assert timedelta(hours=12) - SLACK < credentials.lifetime <= timedelta(hours=12)


def test_default_session_name_is_made_from_the_pod(box: Sandbox, scenario: Scenario) -> None:
    scenario.exchange()
    assert box.sts.calls[0].session_name == "demo.app-7d9c5b6f8-x2x7k"


def test_role_with_a_path_matches_the_response(box: Sandbox, scenario: Scenario) -> None:
    created = box.iam.create_role(
        RoleName="moto-backed-nested",
        Path="/team/a/",
        AssumeRolePolicyDocument=str(box.trust_policy()).replace("'", '"'),
    )
    profile = replace(scenario.profile, role_arn=created["Role"]["Arn"])
    assert profile.role_arn.endswith(":role/team/a/moto-backed-nested")
    assert ":assumed-role/moto-backed-nested/" in scenario.exchange(profile=profile).assumed_role_arn


@pytest.mark.parametrize("by", [timedelta(hours=2), timedelta(hours=-2), timedelta(seconds=90)])
def test_clock_skew_is_measured_from_the_date_header(box: Sandbox, scenario: Scenario, by: timedelta) -> None:
    box.sts.script(faults.SkewedDate(by=by))
    skew = scenario.exchange().clock_skew
    assert skew is not None
    assert abs(skew - by) < SLACK


def test_response_without_a_date_gives_no_clock_skew(box: Sandbox, scenario: Scenario) -> None:
    box.sts.script(faults.Spoiled.NO_DATE)
    assert scenario.exchange().clock_skew is None


@pytest.mark.parametrize("offset", [timedelta(minutes=10), timedelta(minutes=-10), timedelta(hours=-3)])
def test_wrong_node_clock_does_not_change_the_lifetime(box: Sandbox, scenario: Scenario, offset: timedelta) -> None:
    exchanger = StsExchanger(StsSpec(endpoint_url=box.sts.url), NodeClock(offset=offset))
    credentials = exchanger.exchange(scenario.profile, scenario.make_token())
    assert credentials.clock_skew is not None
    assert abs(credentials.clock_skew + offset) < SLACK
    assert abs(credentials.lifetime - timedelta(hours=1)) < SLACK
    assert abs(credentials.lapses_at - (credentials.expires_at + offset)) < SLACK


def test_threads_that_share_the_exchanger_get_their_own_responses(box: Sandbox, scenario: Scenario) -> None:
    roles = [box.create_role(f"moto-backed-{number}") for number in range(8)]
    box.sts.always(faults.CEPH_403, role_arn=roles[0])

    def exchange(role_arn: str) -> str:
        try:
            return scenario.exchange(profile=replace(scenario.profile, role_arn=role_arn)).assumed_role_arn
        except Exception as error:  # noqa: BLE001 - the test compares its class
            return type(error).__name__

    with ThreadPoolExecutor(max_workers=8) as threads:
        results = list(threads.map(exchange, roles * 5))
    expected = [f"arn:aws:sts::123456789012:assumed-role/moto-backed-{n}/demo.app-7d9c5b6f8-x2x7k" for n in range(8)]
    assert results == ["RoleDenied", *expected[1:]] * 5


def test_sizes_are_those_that_sts_reports(scenario: Scenario) -> None:
    plain = scenario.exchange().sizes
    assert plain.packed_policy_percent is None
    assert plain.session_token_bytes is not None
    assert plain.session_token_percent == round(plain.session_token_bytes / 40.96)
    policy = '{"Version": "2012-10-17", "Statement": []}' + " " * 1706
    assert scenario.exchange(profile=replace(scenario.profile, session_policy=policy)).sizes.packed_policy_percent == 85
