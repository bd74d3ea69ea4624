"""Chained roles at an STS that evaluates both policies, external IDs, session tags and source identities."""

from __future__ import annotations

import traceback
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from broker.core.clock import SystemClock
from broker.core.errors import ExchangeError, RequestInvalid, RoleDenied, SourceRejected, TokenRejected
from broker.core.model import ChainSpec, Generation, ProfileSpec, SourceSession, StsSpec
from broker.sts.exchange import StsExchanger
from sandbox import StsServer
from tests.moto_backed.scripted_faults import SAMPLES
from tests.moto_backed.test_faults import EXPECTED

if TYPE_CHECKING:
    from broker.core.model import Proof, TemporaryCredentials
    from sandbox import Sandbox
    from tests.moto_backed.conftest import Scenario

OTHER_ACCOUNT = "210987654321"
ROLE_NAME = "moto-backed-chained"
CHAINED_ROLE = f"arn:aws:iam::{OTHER_ACCOUNT}:role/{ROLE_NAME}"


def make_session(credentials: TemporaryCredentials, profile: str = "default") -> SourceSession:
    generation = Generation(profile=profile, number=1, credentials=credentials, reason="", fingerprint="")
    return SourceSession(generation=generation)


def make_chained(scenario: Scenario, role_arn: str = CHAINED_ROLE, **chain: Any) -> ProfileSpec:  # noqa: ANN401 - of ChainSpec
    """Return a profile that is chained to the profile of the scenario."""
    return replace(scenario.profile, name="other", role_arn=role_arn, chain=ChainSpec(source="default", **chain))


def create_role_trusting(
    box: Sandbox, source_role: str, condition: dict[str, Any] | None = None, name: str = ROLE_NAME
) -> str:
    """Create a role in the other account that trusts the source role under this condition. Return its ARN."""
    trust = box.chain_trust(source_role, condition=condition)
    return box.create_role(name, account_id=OTHER_ACCOUNT, trust_policy=trust)


@pytest.fixture
def source(scenario: Scenario, role_arn: str) -> SourceSession:
    """Exchange a token for a source session whose role may assume roles of the other account."""
    scenario.box.permit_chaining(role_arn, [f"arn:aws:iam::{OTHER_ACCOUNT}:role/*"])
    return make_session(scenario.exchange())


def fail_exchange(scenario: Scenario, profile: ProfileSpec, proof: Proof, kind: type[ExchangeError]) -> ExchangeError:
    with pytest.raises(kind) as caught:
        scenario.exchanger.exchange(profile, proof)
    assert type(caught.value) is kind
    return caught.value


def test_chain_into_another_account_gives_a_session_of_that_account(
    scenario: Scenario, role_arn: str, source: SourceSession
) -> None:
    create_role_trusting(scenario.box, role_arn)
    credentials = scenario.exchanger.exchange(make_chained(scenario), source)
    name = source.generation.credentials.assumed_role_arn.rpartition("/")[2]
    assert credentials.assumed_role_arn == f"arn:aws:sts::{OTHER_ACCOUNT}:assumed-role/{ROLE_NAME}/{name}"
    assert credentials.account_id == OTHER_ACCOUNT
    assert timedelta(0) <= timedelta(hours=1) - credentials.lifetime <= timedelta(seconds=1)


def test_trust_that_requires_an_external_id_denies_without_it(
    scenario: Scenario, role_arn: str, source: SourceSession
) -> None:
    create_role_trusting(scenario.box, role_arn, {"StringEquals": {"sts:ExternalId": "ext-7"}})
    error = fail_exchange(scenario, make_chained(scenario), source, RoleDenied)
    assert "If that policy requires sts:ExternalId, set external_id of profile other." in error.remedy
    error = fail_exchange(scenario, make_chained(scenario, external_id="ext-8"), source, RoleDenied)
    assert "ext-" not in str(error)
    assert scenario.exchanger.exchange(make_chained(scenario, external_id="ext-7"), source)


def test_trust_that_requires_tags_allows_only_those(scenario: Scenario, role_arn: str, source: SourceSession) -> None:
    create_role_trusting(scenario.box, role_arn, {"StringEquals": {"aws:RequestTag/team": "blue"}})
    fail_exchange(scenario, make_chained(scenario), source, RoleDenied)
    fail_exchange(scenario, make_chained(scenario, tags=(("team", "red"),)), source, RoleDenied)
    assert scenario.exchanger.exchange(make_chained(scenario, tags=(("team", "blue"),)), source)
    assert scenario.box.sts.calls[-1].tag_keys == ("team",)


def test_trust_without_tag_session_is_explained(scenario: Scenario, role_arn: str, source: SourceSession) -> None:
    trust = scenario.box.chain_trust(role_arn, actions=("sts:AssumeRole",))
    scenario.box.create_role(ROLE_NAME, account_id=OTHER_ACCOUNT, trust_policy=trust)
    assert scenario.exchanger.exchange(make_chained(scenario), source)
    error = fail_exchange(scenario, make_chained(scenario, tags=(("team", "blue"),)), source, RoleDenied)
    assert "Allow sts:TagSession in the trust policy" in error.remedy
    error = fail_exchange(scenario, make_chained(scenario, source_identity="me"), source, RoleDenied)
    assert "Allow sts:SetSourceIdentity in the trust policy" in error.remedy


def test_source_without_permission_is_explained_with_both_policies(scenario: Scenario, role_arn: str) -> None:
    create_role_trusting(scenario.box, role_arn)
    scenario.box.permit_chaining(role_arn, [f"arn:aws:iam::{OTHER_ACCOUNT}:role/another"])
    error = fail_exchange(scenario, make_chained(scenario), make_session(scenario.exchange()), RoleDenied)
    assert "The accounts differ" in error.remedy
    assert f"allow sts:AssumeRole on {CHAINED_ROLE}" in error.remedy


def test_transitive_tags_and_identity_reach_the_third_role_of_a_chain(
    scenario: Scenario, role_arn: str, source: SourceSession
) -> None:
    create_role_trusting(scenario.box, role_arn)
    second = make_chained(
        scenario,
        tags=(("team", "blue"), ("stage", "test")),
        transitive_tag_keys=("team",),
        source_identity="app",
    )
    middle = make_session(scenario.exchanger.exchange(second, source), "other")
    third_role = f"arn:aws:iam::{OTHER_ACCOUNT}:role/moto-backed-third"
    scenario.box.permit_chaining(CHAINED_ROLE, [third_role])
    condition = {"StringEquals": {"aws:PrincipalTag/team": "blue", "aws:SourceIdentity": "app"}}
    create_role_trusting(scenario.box, CHAINED_ROLE, condition, "moto-backed-third")
    assert scenario.exchanger.exchange(make_chained(scenario, third_role), middle).account_id == OTHER_ACCOUNT
    fail_exchange(scenario, make_chained(scenario, third_role, source_identity="somebody-else"), middle, RequestInvalid)


def test_session_of_over_an_hour_is_refused_as_role_chaining(
    scenario: Scenario, role_arn: str, source: SourceSession
) -> None:
    trust = scenario.box.chain_trust(role_arn)
    scenario.box.create_role(ROLE_NAME, account_id=OTHER_ACCOUNT, trust_policy=trust, max_session=timedelta(hours=12))
    profile = replace(make_chained(scenario), duration=timedelta(hours=2))
    error = fail_exchange(scenario, profile, source, RequestInvalid)
    assert "Lower duration_seconds of profile other to 3600" in error.remedy


def test_source_that_is_expired_for_sts_is_rejected(scenario: Scenario, role_arn: str) -> None:
    """This happens if the node's clock is behind. Otherwise the broker would not send expired credentials."""
    create_role_trusting(scenario.box, role_arn)
    ahead = [timedelta(0)]
    account, addresses = scenario.box.account, scenario.box.addresses
    with StsServer(account=account, addresses=addresses, now=lambda: datetime.now(UTC) + ahead[0]) as sts:
        exchanger = StsExchanger(StsSpec(endpoint_url=sts.url), SystemClock())
        source = make_session(exchanger.exchange(scenario.profile, scenario.make_token()))
        ahead[0] = timedelta(minutes=61)
        with pytest.raises(SourceRejected) as caught:
            exchanger.exchange(make_chained(scenario), source)
    assert caught.value.code == "ExpiredToken"
    assert "the node's clock is wrong" in caught.value.remedy


@pytest.mark.parametrize(
    "name", [name for name, expected in EXPECTED.items() if expected is not None and name != "Hang"]
)
def test_fault_of_a_chain_has_the_class_of_the_same_fault_of_a_token(
    scenario: Scenario, role_arn: str, source: SourceSession, name: str
) -> None:
    """Except that no token was sent, so none can be rejected. Secrets of the source are never quoted."""
    create_role_trusting(scenario.box, role_arn)
    expected = EXPECTED[name]
    assert expected is not None
    kind = SourceRejected if expected.kind is TokenRejected else expected.kind
    scenario.box.sts.script(SAMPLES[name], action="AssumeRole")
    error = fail_exchange(scenario, make_chained(scenario), source, kind)
    text = "".join(traceback.format_exception(error))
    credentials = source.generation.credentials
    assert credentials.secret_access_key.reveal() not in text
    assert credentials.session_token.reveal() not in text
    assert scenario.exchanger.exchange(make_chained(scenario), source), "the next exchange must succeed"
