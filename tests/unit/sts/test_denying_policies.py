"""Refusals that name a policy of the VPC endpoint or of the organization: the remedy is not the trust policy.

The messages have the form of the IAM User Guide, "Troubleshoot access denied error messages".
"""

from __future__ import annotations

import pytest

from broker.core.errors import RoleDenied
from broker.doctor.causes import Refusal
from broker.sts.denying_policies import find_denying_policy
from broker.sts.refusals import MAXIMUM_QUOTE_LENGTH
from tests.unit.sts.test_chain_refusals import explain_response as explain_chain
from tests.unit.sts.test_refusals import ISSUER, ROLE, explain_response

WEB = "sts:AssumeRoleWithWebIdentity"
CALLER = "User: arn:aws:sts::210987654321:assumed-role/first/session is not authorized to perform: sts:AssumeRole"
ENDPOINT, SCP, RCP = "policy of the VPC endpoint", "service control policy (SCP)", "resource control policy (RCP)"


@pytest.mark.parametrize(
    ("message", "named"),
    [
        (f"Not authorized to perform {WEB} because no VPC endpoint policy allows the {WEB} action", ENDPOINT),
        (f"Not authorized to perform: {WEB} with an explicit deny in a VPC endpoint policy", ENDPOINT),
        (f"Not authorized to perform: {WEB} with an explicit deny in an endpoint policy", ENDPOINT),
        (f"Not authorized to perform: {WEB} with an explicit deny in a resource control policy", RCP),
        (f"Not authorized to perform: {WEB} because no resource control policy allows the {WEB} action", RCP),
        (f"Not authorized to perform: {WEB} with an explicit deny in a service control policy", SCP),
        ("not authorized: denied by an SCP", SCP),
    ],
)
def test_refusal_that_names_a_policy_gets_its_remedy(message: str, named: str) -> None:
    error = explain_response("AccessDenied", message, 403)
    assert isinstance(error, RoleDenied)
    assert named in error.remedy
    assert f"the trust policy of {ROLE} cannot override it" in error.remedy
    assert f"allow {WEB} on {ROLE}" in error.remedy
    refusal = Refusal(reason=error.reason, message=error.message)
    assert named in refusal.policy_hint
    assert "no trust policy can override" in refusal.policy_hint


def test_endpoint_policy_is_explained_for_a_call_that_is_not_signed() -> None:
    remedy = explain_response("AccessDenied", f"no VPC endpoint policy allows the {WEB} action", 403).remedy
    assert remedy.endswith("The call is not signed: conditions on the caller's account or organization never match it.")


def test_resource_control_policy_is_explained_with_account_and_issuer() -> None:
    remedy = explain_response("AccessDenied", "explicit deny in a resource control policy", 403).remedy
    assert "of the organization of account 123456789012" in remedy
    assert f"for tokens of {ISSUER}" in remedy


@pytest.mark.parametrize(
    ("reason", "named"),
    [
        ("with an explicit deny in a service control policy", SCP),
        ("because no VPC endpoint policy allows the sts:AssumeRole action", ENDPOINT),
        ("with an explicit deny in a resource control policy", RCP),
    ],
)
def test_denied_chain_gets_the_same_remedy(reason: str, named: str) -> None:
    remedy = explain_chain("AccessDenied", f"{CALLER} on resource: {ROLE} {reason}").remedy
    assert named in remedy
    assert "allow sts:AssumeRole on arn:" in remedy
    assert "not signed" not in remedy


def test_policy_behind_a_long_message_is_found_and_quoted() -> None:
    role = f"arn:aws:iam::123456789012:role/{'team/' * 60}app"
    reason = "with an explicit deny in a service control policy"
    error = explain_chain("AccessDenied", f"{CALLER} on resource: {role} {reason}")
    assert SCP in error.remedy
    assert error.message.endswith(f"… {reason}.")
    assert len(error.message.split("AccessDenied: ")[1]) <= MAXIMUM_QUOTE_LENGTH + 1


@pytest.mark.parametrize(
    "message",
    [
        f"Not authorized to perform {WEB}",
        f"{CALLER} on resource: arn:aws:iam::123456789012:role/scp",
        f"{CALLER} on resource: arn:aws:iam::123456789012:role/SCP",
        f"{CALLER} on resource: arn:aws:iam::123456789012:role/RCP-reader",
        f"{CALLER} because no identity-based policy allows the sts:AssumeRole action",
    ],
)
def test_other_refusals_name_none(message: str) -> None:
    assert find_denying_policy(message) is None
    assert "trust policy" in explain_response("AccessDenied", message, 403).remedy
    assert "--policy iam" in Refusal(reason="role_denied", message=message).policy_hint


def test_policy_in_a_fault_that_is_no_denial_changes_nothing() -> None:
    remedy = explain_response("Throttling", "Rate exceeded for SCP evaluation", 400).remedy
    assert "quota" in remedy
    assert Refusal(reason="exchange_throttled", message="SCP").denying_policy == ""


@pytest.mark.parametrize("explained", [explain_response, explain_chain])
def test_role_that_another_sts_does_not_have_is_denied(explained: object) -> None:
    """What Ceph answers: 404 with the code NoSuchEntity (rgw_common.cc, ERR_NO_ROLE_FOUND)."""
    error = explained("NoSuchEntity", "No such role", 404)  # type: ignore[operator]
    assert isinstance(error, RoleDenied)
    assert error.http_status == 404
    assert "create it, or correct role_arn (AWS_ROLE_ARN)" in error.remedy
