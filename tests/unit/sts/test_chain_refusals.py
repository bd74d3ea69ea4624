"""Refusals of a chained role: which policy must change, without secrets of the source profile."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.core.errors import (
    ExchangeThrottled,
    ExchangeUnavailable,
    RequestInvalid,
    RoleDenied,
    SourceRejected,
    TokenRejected,
)
from broker.sts.refusals import explain
from tests.support.fakes import make_chained, make_profile, make_session, make_token

if TYPE_CHECKING:
    from broker.core.errors import ExchangeError

ROLE = "arn:aws:iam::210987654321:role/other"
CALLER = "arn:aws:sts::123456789012:assumed-role/app/demo.app-7d9c5b6f8-x2x7k"


def explain_response(code: str = "", message: str = "", status: int = 403, **chain: Any) -> ExchangeError:  # noqa: ANN401 - of ChainSpec
    response = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status, "RequestId": "r-1"},
    }
    return explain(response, make_chained("other", **chain), make_session())


def test_denied_chain_names_both_policies_and_their_accounts() -> None:
    error = explain_response(
        "AccessDenied", f"User: {CALLER} is not authorized to perform: sts:AssumeRole on resource: {ROLE}"
    )
    assert type(error) is RoleDenied
    assert error.message.startswith(f"Cannot assume role {ROLE} as {CALLER}. STS returned AccessDenied: User: {CALLER}")
    for part in (
        f"In the trust policy of {ROLE}, allow sts:AssumeRole for role app of account 123456789012.",
        "If that policy requires sts:ExternalId, set external_id of profile other.",
        f"In a policy of role app of account 123456789012, allow sts:AssumeRole on {ROLE}.",
        "The accounts differ (123456789012, 210987654321), so both policies are needed.",
    ):
        assert part in error.remedy


def test_denied_chain_names_the_actions_that_its_settings_require() -> None:
    error = explain_response("AccessDenied", "No.", external_id="secret-ish", tags=(("a", "b"),), source_identity="me")
    assert "allow sts:AssumeRole and sts:TagSession and sts:SetSourceIdentity for" in error.remedy
    assert "its value must be the external_id of profile other." in error.remedy
    assert "secret-ish" not in str(error)


@pytest.mark.parametrize(
    ("code", "message", "status", "kind", "remedy"),
    [
        (
            "AccessDenied",
            "not authorized to perform: sts:TagSession",
            403,
            RoleDenied,
            "Allow sts:TagSession in the trust policy",
        ),
        (
            "AccessDenied",
            "perform: sts:SetSourceIdentity on",
            403,
            RoleDenied,
            "Allow sts:SetSourceIdentity in the trust",
        ),
        (
            "ValidationError",
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining",
            400,
            RequestInvalid,
            "Lower duration_seconds of profile other to 3600",
        ),
        (
            "ValidationError",
            "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
            400,
            RequestInvalid,
            f"raise the maximum session duration of {ROLE}",
        ),
        (
            "ExpiredToken",
            "The security token included in the request is expired",
            403,
            SourceRejected,
            "profile default",
        ),
        (
            "InvalidClientTokenId",
            "The security token is invalid.",
            403,
            SourceRejected,
            "the role's sessions were revoked",
        ),
        ("SignatureDoesNotMatch", "Signature expired", 403, SourceRejected, "the node's clock is wrong"),
        ("RequestExpired", "Request has expired.", 400, SourceRejected, "the node's clock is wrong"),
        ("Throttling", "Rate exceeded", 400, ExchangeThrottled, "quota"),
        (
            "PackedPolicyTooLarge",
            "Packed policy consumes 150%",
            400,
            RequestInvalid,
            "list fewer policy_arns (BROKER_POLICY_ARNS) and tags",
        ),
        ("RegionDisabledException", "no", 403, RequestInvalid, "in account 210987654321"),
        ("", "", 503, ExchangeUnavailable, ""),
        ("", "", 401, SourceRejected, "profile default"),
        ("Unknown", "New.", 400, RequestInvalid, "Check the settings of profile other"),
    ],
)
def test_refusal_has_the_remedy(code: str, message: str, status: int, kind: type[ExchangeError], remedy: str) -> None:
    error = explain_response(code, message, status)
    assert type(error) is kind
    assert remedy in error.remedy
    assert (error.code, error.http_status, error.request_id) == (code, status, "r-1")


def test_source_without_a_role_arn_is_named_by_its_profile() -> None:
    """Responses of MinIO contain no role."""
    error = explain({"Error": {"Code": "AccessDenied"}}, make_chained("other"), make_session(assumed_role_arn=""))
    assert " as profile default. " in error.message
    assert "for the role of profile default" in error.remedy


def test_signature_fault_of_an_unsigned_call_is_a_rejected_token() -> None:
    error = explain({"Error": {"Code": "SignatureDoesNotMatch"}}, make_profile(), make_token())
    assert type(error) is TokenRejected


@given(st.text(max_size=40), st.text(max_size=40), st.sampled_from(["secret", "token"]))
def test_secrets_of_the_source_are_never_quoted(before: str, after: str, which: str) -> None:
    session = make_session()
    credentials = session.generation.credentials
    secret = (credentials.secret_access_key if which == "secret" else credentials.session_token).reveal()
    response = {"Error": {"Code": "AccessDenied", "Message": f"{before}{secret}{after}"}}
    assert secret not in str(explain(response, make_chained("other"), session))


def test_duration_is_reported_in_seconds() -> None:
    profile = make_chained("other")
    assert profile.duration == timedelta(hours=1)
    error = explain_response("ValidationError", "exceeds the MaxSessionDuration")
    assert "Lower duration_seconds (BROKER_DURATION_SECONDS) from 3600" in error.remedy
