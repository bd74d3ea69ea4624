"""Each refusal of the STS with teeth, as the broker tells it to whoever has to change something."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from broker.core.clock import SystemClock
from broker.core.errors import Disposition, RequestInvalid, RoleDenied, TokenRejected
from broker.core.model import StsSpec
from broker.sts.exchange import StsExchanger
from sandbox import Availability, Issuer, StsServer

if TYPE_CHECKING:
    from sandbox import Sandbox
    from tests.moto_backed.conftest import Door


def test_issuer_without_a_provider_names_issuer_account_and_region(door: Door) -> None:
    with Issuer(issuer="https://oidc.unregistered.example/id/ABC") as stranger:
        error = door.refusal(TokenRejected, door.token(stranger.mint()))
    assert error.code == "InvalidIdentityToken"
    assert "No OpenIDConnect provider found in your account" in error.message
    assert "account 123456789012 whose URL is exactly https://oidc.unregistered.example/id/ABC" in error.remedy
    assert "Region eu-west-1 is not enabled" in error.remedy


def test_role_of_an_account_without_the_provider_names_that_account(door: Door) -> None:
    profile = replace(door.profile, role_arn="arn:aws:iam::999999999999:role/app")
    error = door.refusal(TokenRejected, profile=profile)
    assert "Create an IAM OIDC provider in account 999999999999" in error.remedy


def test_audience_that_the_provider_does_not_list_is_to_be_added(box: Sandbox, door: Door) -> None:
    box.register_provider(box.issuer, audiences=["somebody-else"])
    error = door.refusal(TokenRejected)
    assert "Incorrect token audience" in error.message
    assert error.remedy == (
        f"Add sts.amazonaws.com to the client ids of the IAM OIDC provider for {box.issuer.issuer}."
    )


def test_audience_that_only_the_trust_policy_refuses_is_denied(box: Sandbox, door: Door) -> None:
    arn = box.create_role("moto-backed-audience", audience="another")
    error = door.refusal(RoleDenied, profile=replace(door.profile, role_arn=arn))
    assert f"{box.issuer.issuer.removeprefix('https://')}:aud is sts.amazonaws.com" in error.remedy


def test_subject_that_the_role_does_not_trust_names_subject_and_role(box: Sandbox, door: Door) -> None:
    error = door.refusal(RoleDenied, door.token(box.issuer.mint(namespace="evil")))
    assert f"system:serviceaccount:evil:app for {door.profile.role_arn}" in error.message
    assert f"{box.issuer.issuer.removeprefix('https://')}:sub is system:serviceaccount:evil:app" in error.remedy
    assert error.disposition is Disposition.SLOW


def test_role_that_does_not_exist_says_that_it_may_not(door: Door) -> None:
    profile = replace(door.profile, role_arn="arn:aws:iam::123456789012:role/team/nobody")
    error = door.refusal(RoleDenied, profile=profile)
    assert "arn:aws:iam::123456789012:role/team/nobody" in error.message
    assert error.remedy.startswith("Either the role does not exist or its trust policy")


def test_session_name_that_the_trust_policy_forbids_is_denied(box: Sandbox, door: Door) -> None:
    policy = box.trust_policy()
    policy["Statement"][0]["Condition"]["StringLike"] = {"sts:RoleSessionName": "demo.*"}
    profile = replace(door.profile, role_arn=box.create_role("moto-backed-named", trust_policy=policy))
    assert door.exchange(profile=profile).assumed_role_arn.endswith("/demo.app-7d9c5b6f8-x2x7k")
    assert door.refusal(RoleDenied, profile=replace(profile, session_name="other")).code == "AccessDenied"


def test_token_that_sts_finds_expired_points_at_the_clocks(box: Sandbox, door: Door) -> None:
    ahead = StsServer(
        account=box.account, addresses=box.addresses, now=lambda: datetime.now(UTC) + timedelta(minutes=11)
    )
    with ahead:
        exchanger = StsExchanger(StsSpec(endpoint_url=ahead.url), SystemClock())
        token = door.token(box.issuer.mint(lifetime=timedelta(minutes=10)))
        error = replace(door, exchanger=exchanger).refusal(TokenRejected, token)
    assert error.code == "ExpiredTokenException"
    assert f"The token runs to {token.claims.expires_at:%Y-%m-%dT%H:%M:%SZ}" in error.remedy
    assert "the node's clock is behind STS" in error.remedy


def test_token_that_is_not_valid_yet_is_rejected_soon(box: Sandbox, door: Door) -> None:
    token = door.token(box.issuer.mint(not_before=datetime.now(UTC) + timedelta(minutes=5)))
    error = door.refusal(TokenRejected, token)
    assert "not valid yet" in error.message
    assert error.disposition is Disposition.SOON_THEN_SLOW


def test_forged_signature_is_rejected(box: Sandbox, door: Door) -> None:
    header, _, signature = box.issuer.mint().split(".")
    payload = box.issuer.mint(pod="another").split(".")[1]
    error = door.refusal(TokenRejected, door.token(f"{header}.{payload}.{signature}"))
    assert "signature is invalid" in error.message
    assert f"the IAM OIDC provider of {box.issuer.issuer}" in error.remedy


def test_unreachable_issuer_says_that_its_keys_must_be_public(box: Sandbox, door: Door) -> None:
    box.issuer.set_availability(Availability.UNREACHABLE)
    error = door.refusal(TokenRejected)
    assert f"STS could not fetch the keys of {box.issuer.issuer}" in error.remedy
    assert "often passes by itself" in error.remedy
    box.issuer.set_availability(Availability.REACHABLE)
    assert door.exchange()


def test_session_longer_than_the_role_allows_names_both_ways_to_mend_it(door: Door) -> None:
    error = door.refusal(RequestInvalid, profile=replace(door.profile, duration=timedelta(hours=2)))
    assert "MaxSessionDuration" in error.message
    assert error.remedy == (
        f"Lower duration_seconds from 7200, or raise the maximum session duration of {door.profile.role_arn}."
    )


def test_session_policy_that_sts_refuses_names_the_settings(door: Door) -> None:
    error = door.refusal(RequestInvalid, profile=replace(door.profile, session_policy="[]"))
    assert error.code == "MalformedPolicyDocument"
    assert error.remedy == "Mend session_policy or policy_arns of the profile."


def test_policies_too_big_when_packed_name_the_settings(door: Door) -> None:
    profile = replace(
        door.profile,
        session_policy='{"Statement": []}' + " " * 2025,
        policy_arns=("arn:aws:iam::aws:policy/ReadOnlyAccess",),
    )
    error = door.refusal(RequestInvalid, profile=profile)
    assert error.code == "PackedPolicyTooLarge"
    assert error.remedy == "Shorten session_policy, or name fewer policy_arns and tags."
