"""Refusals of an STS that verifies tokens and evaluates trust policies, and their remedies."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from msgspec.structs import replace

from broker.core.clock import SystemClock
from broker.core.errors import Disposition, RequestInvalid, RoleDenied, TokenRejected
from broker.core.model import StsSpec
from broker.sts.exchange import StsExchanger
from sandbox import Availability, Issuer, StsServer

if TYPE_CHECKING:
    from sandbox import Sandbox
    from tests.moto_backed.conftest import Scenario


def test_issuer_without_a_provider_names_issuer_account_and_region(scenario: Scenario) -> None:
    with Issuer(issuer="https://oidc.unregistered.example/id/ABC") as stranger:
        error = scenario.fail_exchange(TokenRejected, scenario.make_token(stranger.mint()))
    assert error.code == "InvalidIdentityToken"
    assert "No OpenIDConnect provider found in your account" in error.message
    assert "account 123456789012 whose URL is exactly https://oidc.unregistered.example/id/ABC" in error.remedy
    assert "Region eu-west-1 is not enabled" in error.remedy


def test_role_of_an_account_without_the_provider_names_that_account(scenario: Scenario) -> None:
    profile = replace(scenario.profile, role_arn="arn:aws:iam::999999999999:role/app")
    error = scenario.fail_exchange(TokenRejected, profile=profile)
    assert "Create an IAM OIDC provider in account 999999999999" in error.remedy


def test_audience_that_the_provider_does_not_list_has_the_remedy_to_add_it(box: Sandbox, scenario: Scenario) -> None:
    box.register_provider(box.issuer, audiences=["somebody-else"])
    error = scenario.fail_exchange(TokenRejected)
    assert "Incorrect token audience" in error.message
    assert error.remedy == (
        f"Add sts.amazonaws.com to the client IDs of the IAM OIDC provider for {box.issuer.issuer}."
    )


def test_audience_that_only_the_trust_policy_refuses_is_denied(box: Sandbox, scenario: Scenario) -> None:
    arn = box.create_role("moto-backed-audience", audience="another")
    error = scenario.fail_exchange(RoleDenied, profile=replace(scenario.profile, role_arn=arn))
    assert f"{box.issuer.issuer.removeprefix('https://')}:aud = sts.amazonaws.com" in error.remedy


def test_subject_that_the_role_does_not_trust_names_subject_and_role(box: Sandbox, scenario: Scenario) -> None:
    error = scenario.fail_exchange(RoleDenied, scenario.make_token(box.issuer.mint(namespace="evil")))
    assert f"role {scenario.profile.role_arn} as system:serviceaccount:evil:app." in error.message
    assert f"{box.issuer.issuer.removeprefix('https://')}:sub = system:serviceaccount:evil:app" in error.remedy
    assert error.disposition is Disposition.SLOW


def test_role_that_does_not_exist_is_reported_as_possibly_missing(scenario: Scenario) -> None:
    profile = replace(scenario.profile, role_arn="arn:aws:iam::123456789012:role/team/nobody")
    error = scenario.fail_exchange(RoleDenied, profile=profile)
    assert "arn:aws:iam::123456789012:role/team/nobody" in error.message
    assert error.remedy.startswith("The role does not exist, or its trust policy")


def test_session_name_that_the_trust_policy_forbids_is_denied(box: Sandbox, scenario: Scenario) -> None:
    policy = box.trust_policy()
    policy["Statement"][0]["Condition"]["StringLike"] = {"sts:RoleSessionName": "demo.*"}
    profile = replace(scenario.profile, role_arn=box.create_role("moto-backed-named", trust_policy=policy))
    assert scenario.exchange(profile=profile).assumed_role_arn.endswith("/demo.app-7d9c5b6f8-x2x7k")
    assert scenario.fail_exchange(RoleDenied, profile=replace(profile, session_name="other")).code == "AccessDenied"


def test_token_that_is_expired_for_sts_names_the_clock(box: Sandbox, scenario: Scenario) -> None:
    ahead = StsServer(
        account=box.account, addresses=box.addresses, now=lambda: datetime.now(UTC) + timedelta(minutes=11)
    )
    with ahead:
        exchanger = StsExchanger(StsSpec(endpoint_url=ahead.url), SystemClock())
        token = scenario.make_token(box.issuer.mint(lifetime=timedelta(minutes=10)))
        error = replace(scenario, exchanger=exchanger).fail_exchange(TokenRejected, token)
    assert error.code == "ExpiredTokenException"
    assert f"The token expires at {token.claims.expires_at:%Y-%m-%dT%H:%M:%SZ}" in error.remedy
    assert "the node's clock is behind STS" in error.remedy


def test_token_that_is_not_valid_yet_is_retried_soon(box: Sandbox, scenario: Scenario) -> None:
    token = scenario.make_token(box.issuer.mint(not_before=datetime.now(UTC) + timedelta(minutes=5)))
    error = scenario.fail_exchange(TokenRejected, token)
    assert "not valid yet" in error.message
    assert error.disposition is Disposition.SOON_THEN_SLOW


def test_forged_signature_is_rejected(box: Sandbox, scenario: Scenario) -> None:
    header, _, signature = box.issuer.mint().split(".")
    payload = box.issuer.mint(pod="another").split(".")[1]
    error = scenario.fail_exchange(TokenRejected, scenario.make_token(f"{header}.{payload}.{signature}"))
    assert "signature is invalid" in error.message
    assert f"the IAM OIDC provider for {box.issuer.issuer}" in error.remedy


def test_unreachable_issuer_has_the_remedy_to_publish_its_keys(box: Sandbox, scenario: Scenario) -> None:
    box.issuer.set_availability(Availability.UNREACHABLE)
    error = scenario.fail_exchange(TokenRejected)
    assert f"STS could not fetch the keys of {box.issuer.issuer}" in error.remedy
    assert "often transient" in error.remedy
    box.issuer.set_availability(Availability.REACHABLE)
    assert scenario.exchange()


def test_session_longer_than_the_role_allows_names_both_remedies(scenario: Scenario) -> None:
    error = scenario.fail_exchange(RequestInvalid, profile=replace(scenario.profile, duration=timedelta(hours=2)))
    assert "MaxSessionDuration" in error.message
    assert error.remedy == (
        "Lower duration_seconds (BROKER_DURATION_SECONDS) from 7200, or raise the maximum session duration of "
        f"{scenario.profile.role_arn}."
    )


def test_session_policy_that_sts_refuses_names_the_settings(scenario: Scenario) -> None:
    error = scenario.fail_exchange(RequestInvalid, profile=replace(scenario.profile, session_policy="[]"))
    assert error.code == "MalformedPolicyDocument"
    assert error.remedy == "Fix session_policy (BROKER_SESSION_POLICY) or policy_arns (BROKER_POLICY_ARNS)."


def test_packed_policies_that_are_too_large_name_the_settings(scenario: Scenario) -> None:
    profile = replace(
        scenario.profile,
        session_policy='{"Statement": []}' + " " * 2025,
        policy_arns=("arn:aws:iam::aws:policy/ReadOnlyAccess",),
    )
    error = scenario.fail_exchange(RequestInvalid, profile=profile)
    assert error.code == "PackedPolicyTooLarge"
    assert error.remedy == (
        "Shorten session_policy (BROKER_SESSION_POLICY), or list fewer policy_arns (BROKER_POLICY_ARNS) and tags."
    )
