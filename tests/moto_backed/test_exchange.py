"""A good exchange: what comes back works, was asked for as configured, and knows how far off the clocks are."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from broker.core.clock import Instant, SystemClock
from broker.core.model import StsSpec
from broker.sts.exchange import StsExchanger
from sandbox.aws import faults

if TYPE_CHECKING:
    from queue import SimpleQueue

    from broker.core.clock import Message
    from sandbox import Sandbox
    from tests.moto_backed.conftest import Door

SLACK = timedelta(seconds=2)


@dataclass(slots=True, kw_only=True)
class NodeClock:
    """The machine's clock, off by so much."""

    off_by: timedelta
    _real: SystemClock = field(default_factory=SystemClock)

    def read(self) -> Instant:
        """Return the moment as this node has it."""
        at = self._real.read()
        return Instant(now=at.now + self.off_by, monotonic=at.monotonic)

    def wait(self, inbox: SimpleQueue[Message], duration: timedelta) -> Message | None:
        """Wait as the machine does."""
        return self._real.wait(inbox, duration)


def test_exchange_gives_credentials_that_work(box: Sandbox, door: Door) -> None:
    token = door.token()
    credentials = door.exchange(token)
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


def test_request_says_what_the_profile_says(box: Sandbox, door: Door) -> None:
    arn = box.create_role("moto-backed-long", max_session=timedelta(hours=12))
    profile = replace(door.profile, role_arn=arn, session_name="chosen", duration=timedelta(hours=12))
    credentials = door.exchange(profile=profile)
    (call,) = box.sts.calls
    assert (call.role_arn, call.session_name, call.duration_seconds) == (arn, "chosen", 43_200)
    assert credentials.assumed_role_arn == "arn:aws:sts::123456789012:assumed-role/moto-backed-long/chosen"
    assert timedelta(hours=12) - SLACK < credentials.lifetime <= timedelta(hours=12)


def test_session_name_is_made_from_the_pod_unless_chosen(box: Sandbox, door: Door) -> None:
    door.exchange()
    assert box.sts.calls[0].session_name == "demo.app-7d9c5b6f8-x2x7k"


def test_role_with_a_path_is_recognised_in_the_answer(box: Sandbox, door: Door) -> None:
    created = box.iam.create_role(
        RoleName="moto-backed-nested",
        Path="/team/a/",
        AssumeRolePolicyDocument=str(box.trust_policy()).replace("'", '"'),
    )
    profile = replace(door.profile, role_arn=created["Role"]["Arn"])
    assert profile.role_arn.endswith(":role/team/a/moto-backed-nested")
    assert ":assumed-role/moto-backed-nested/" in door.exchange(profile=profile).assumed_role_arn


@pytest.mark.parametrize("by", [timedelta(hours=2), timedelta(hours=-2), timedelta(seconds=90)])
def test_clock_skew_is_measured_from_the_date_header(box: Sandbox, door: Door, by: timedelta) -> None:
    box.sts.script(faults.SkewedDate(by=by))
    skew = door.exchange().clock_skew
    assert skew is not None
    assert abs(skew - by) < SLACK


def test_answer_without_a_date_leaves_the_skew_unknown(box: Sandbox, door: Door) -> None:
    box.sts.script(faults.Spoiled.NO_DATE)
    assert door.exchange().clock_skew is None


@pytest.mark.parametrize("off_by", [timedelta(minutes=10), timedelta(minutes=-10), timedelta(hours=-3)])
def test_node_whose_clock_is_off_counts_the_lifetime_on_the_clock_of_sts(
    box: Sandbox, door: Door, off_by: timedelta
) -> None:
    exchanger = StsExchanger(StsSpec(endpoint_url=box.sts.url), NodeClock(off_by=off_by))
    credentials = exchanger.exchange(door.profile, door.token())
    assert credentials.clock_skew is not None
    assert abs(credentials.clock_skew + off_by) < SLACK
    assert abs(credentials.lifetime - timedelta(hours=1)) < SLACK
    assert abs(credentials.lapses_at - (credentials.expires_at + off_by)) < SLACK


def test_threads_may_share_the_exchanger_and_do_not_mix_up_their_answers(box: Sandbox, door: Door) -> None:
    roles = [box.create_role(f"moto-backed-{number}") for number in range(8)]
    box.sts.always(faults.CEPH_403, role_arn=roles[0])

    def exchange(role_arn: str) -> str:
        try:
            return door.exchange(profile=replace(door.profile, role_arn=role_arn)).assumed_role_arn
        except Exception as error:  # noqa: BLE001 - its class is what is looked at
            return type(error).__name__

    with ThreadPoolExecutor(max_workers=8) as threads:
        answers = list(threads.map(exchange, roles * 5))
    expected = [f"arn:aws:sts::123456789012:assumed-role/moto-backed-{n}/demo.app-7d9c5b6f8-x2x7k" for n in range(8)]
    assert answers == ["RoleDenied", *expected[1:]] * 5
