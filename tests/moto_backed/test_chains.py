"""The real exchanger and an STS that judges chains: external ids, tags, identities, and what both sides permit."""

from __future__ import annotations

import traceback
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

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
    from tests.moto_backed.conftest import Door

THERE = "210987654321"
NAME = "moto-backed-chained"
CHAINED_ROLE = f"arn:aws:iam::{THERE}:role/{NAME}"


def session_of(credentials: TemporaryCredentials, profile: str = "default") -> SourceSession:
    generation = Generation(profile=profile, number=1, credentials=credentials, reason="", fingerprint="")
    return SourceSession(generation=generation)


def chained(door: Door, role_arn: str = CHAINED_ROLE, **chain: Any) -> ProfileSpec:  # noqa: ANN401 - of ChainSpec
    """Return a profile that is chained to the door's own."""
    return replace(door.profile, name="other", role_arn=role_arn, chain=ChainSpec(source="default", **chain))


def trusting(box: Sandbox, source_role: str, condition: dict[str, Any] | None = None, name: str = NAME) -> str:
    """Make the role in the other account; it trusts the source under this condition."""
    trust = box.chain_trust(source_role, condition=condition)
    return box.create_role(name, account_id=THERE, trust_policy=trust)


@pytest.fixture
def source(door: Door, role_arn: str) -> SourceSession:
    """Exchange a token for the source's session, whose role may chain."""
    door.box.permit_chaining(role_arn, [f"arn:aws:iam::{THERE}:role/*"])
    return session_of(door.exchange())


def refused(door: Door, profile: ProfileSpec, proof: Proof, kind: type[ExchangeError]) -> ExchangeError:
    with pytest.raises(kind) as caught:
        door.exchanger.exchange(profile, proof)
    assert type(caught.value) is kind
    return caught.value


def test_chain_into_another_account_gives_a_session_there(door: Door, role_arn: str, source: SourceSession) -> None:
    trusting(door.box, role_arn)
    credentials = door.exchanger.exchange(chained(door), source)
    name = source.generation.credentials.assumed_role_arn.rpartition("/")[2]
    assert credentials.assumed_role_arn == f"arn:aws:sts::{THERE}:assumed-role/{NAME}/{name}"
    assert credentials.account_id == THERE
    assert timedelta(0) <= timedelta(hours=1) - credentials.lifetime <= timedelta(seconds=1)


def test_trust_that_needs_the_external_id_denies_without_it(door: Door, role_arn: str, source: SourceSession) -> None:
    trusting(door.box, role_arn, {"StringEquals": {"sts:ExternalId": "ext-7"}})
    error = refused(door, chained(door), source, RoleDenied)
    assert "if it demands sts:ExternalId, set external_id of profile other" in error.remedy
    error = refused(door, chained(door, external_id="ext-8"), source, RoleDenied)
    assert "ext-" not in str(error)
    assert door.exchanger.exchange(chained(door, external_id="ext-7"), source)


def test_trust_that_needs_tags_lets_in_those_alone(door: Door, role_arn: str, source: SourceSession) -> None:
    trusting(door.box, role_arn, {"StringEquals": {"aws:RequestTag/team": "blue"}})
    refused(door, chained(door), source, RoleDenied)
    refused(door, chained(door, tags=(("team", "red"),)), source, RoleDenied)
    assert door.exchanger.exchange(chained(door, tags=(("team", "blue"),)), source)
    assert door.box.sts.calls[-1].tag_keys == ("team",)


def test_trust_without_tag_session_is_told_so(door: Door, role_arn: str, source: SourceSession) -> None:
    trust = door.box.chain_trust(role_arn, actions=("sts:AssumeRole",))
    door.box.create_role(NAME, account_id=THERE, trust_policy=trust)
    assert door.exchanger.exchange(chained(door), source)
    error = refused(door, chained(door, tags=(("team", "blue"),)), source, RoleDenied)
    assert "must allow sts:TagSession too" in error.remedy
    error = refused(door, chained(door, source_identity="me"), source, RoleDenied)
    assert "must allow sts:SetSourceIdentity too" in error.remedy


def test_source_without_permission_is_told_that_both_sides_must_allow_it(door: Door, role_arn: str) -> None:
    trusting(door.box, role_arn)
    door.box.permit_chaining(role_arn, [f"arn:aws:iam::{THERE}:role/another"])
    error = refused(door, chained(door), session_of(door.exchange()), RoleDenied)
    assert "The accounts differ" in error.remedy
    assert f"must allow sts:AssumeRole on {CHAINED_ROLE}" in error.remedy


def test_transitive_tags_and_identity_go_down_a_chain_of_three(
    door: Door, role_arn: str, source: SourceSession
) -> None:
    trusting(door.box, role_arn)
    second = chained(
        door,
        tags=(("team", "blue"), ("stage", "test")),
        transitive_tag_keys=("team",),
        source_identity="app",
    )
    middle = session_of(door.exchanger.exchange(second, source), "other")
    third_role = f"arn:aws:iam::{THERE}:role/moto-backed-third"
    door.box.permit_chaining(CHAINED_ROLE, [third_role])
    condition = {"StringEquals": {"aws:PrincipalTag/team": "blue", "aws:SourceIdentity": "app"}}
    trusting(door.box, CHAINED_ROLE, condition, "moto-backed-third")
    assert door.exchanger.exchange(chained(door, third_role), middle).account_id == THERE
    refused(door, chained(door, third_role, source_identity="somebody-else"), middle, RequestInvalid)


def test_session_of_over_an_hour_is_refused_as_role_chaining(door: Door, role_arn: str, source: SourceSession) -> None:
    trust = door.box.chain_trust(role_arn)
    door.box.create_role(NAME, account_id=THERE, trust_policy=trust, max_session=timedelta(hours=12))
    profile = replace(chained(door), duration=timedelta(hours=2))
    error = refused(door, profile, source, RequestInvalid)
    assert "Lower duration_seconds of profile other to 3600" in error.remedy


def test_source_that_is_over_for_sts_is_refused_as_such(door: Door, role_arn: str) -> None:
    """As where the node's clock is behind: the broker would not send it otherwise."""
    trusting(door.box, role_arn)
    ahead = [timedelta(0)]
    account, addresses = door.box.account, door.box.addresses
    with StsServer(account=account, addresses=addresses, now=lambda: datetime.now(UTC) + ahead[0]) as sts:
        exchanger = StsExchanger(StsSpec(endpoint_url=sts.url), SystemClock())
        source = session_of(exchanger.exchange(door.profile, door.token()))
        ahead[0] = timedelta(minutes=61)
        with pytest.raises(SourceRejected) as caught:
            exchanger.exchange(chained(door), source)
    assert caught.value.code == "ExpiredToken"
    assert "the node's clock is off" in caught.value.remedy


@pytest.mark.parametrize("name", [name for name, told in EXPECTED.items() if told is not None and name != "Hang"])
def test_fault_of_a_chain_is_of_the_kind_that_a_tokens_would_be(
    door: Door, role_arn: str, source: SourceSession, name: str
) -> None:
    """But that no token was sent, so none was rejected; and nothing of the source is ever quoted."""
    trusting(door.box, role_arn)
    told = EXPECTED[name]
    assert told is not None
    kind = SourceRejected if told.kind is TokenRejected else told.kind
    door.box.sts.script(SAMPLES[name], action="AssumeRole")
    error = refused(door, chained(door), source, kind)
    text = "".join(traceback.format_exception(error))
    credentials = source.generation.credentials
    assert credentials.secret_access_key.reveal() not in text
    assert credentials.session_token.reveal() not in text
    assert door.exchanger.exchange(chained(door), source), "the next exchange has to be as if nothing had been"
