"""What each refusal of a chained role is told as: which side has to change, and never a secret of the source."""

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


def explained(code: str = "", message: str = "", status: int = 403, **chain: Any) -> ExchangeError:  # noqa: ANN401 - of ChainSpec
    response = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status, "RequestId": "r-1"},
    }
    return explain(response, make_chained("other", **chain), make_session())


def test_denied_chain_names_both_sides_and_their_accounts() -> None:
    error = explained(
        "AccessDenied", f"User: {CALLER} is not authorized to perform: sts:AssumeRole on resource: {ROLE}"
    )
    assert type(error) is RoleDenied
    assert error.message.startswith(f"STS answered AccessDenied to {CALLER} for {ROLE}: User: {CALLER}")
    for part in (
        f"the trust policy of {ROLE} must allow sts:AssumeRole to role app of account 123456789012",
        "if it demands sts:ExternalId, set external_id of profile other",
        f"a policy of role app of account 123456789012 must allow sts:AssumeRole on {ROLE}",
        "The accounts differ (123456789012, 210987654321): both must allow it.",
    ):
        assert part in error.remedy


def test_denied_chain_names_the_actions_that_its_settings_need() -> None:
    error = explained("AccessDenied", "No.", external_id="secret-ish", tags=(("a", "b"),), source_identity="me")
    assert "must allow sts:AssumeRole and sts:TagSession and sts:SetSourceIdentity to" in error.remedy
    assert "with the value that external_id of profile other has" in error.remedy
    assert "secret-ish" not in str(error)


@pytest.mark.parametrize(
    ("code", "message", "status", "kind", "remedy"),
    [
        ("AccessDenied", "not authorized to perform: sts:TagSession", 403, RoleDenied, "must allow sts:TagSession too"),
        ("AccessDenied", "perform: sts:SetSourceIdentity on", 403, RoleDenied, "must allow sts:SetSourceIdentity too"),
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
        ("InvalidClientTokenId", "The security token is invalid.", 403, SourceRejected, "its sessions were revoked"),
        ("SignatureDoesNotMatch", "Signature expired", 403, SourceRejected, "the node's clock is off"),
        ("RequestExpired", "Request has expired.", 400, SourceRejected, "the node's clock is off"),
        ("Throttling", "Rate exceeded", 400, ExchangeThrottled, "quota"),
        ("PackedPolicyTooLarge", "Packed policy consumes 150%", 400, RequestInvalid, "name fewer policy_arns and tags"),
        ("RegionDisabledException", "no", 403, RequestInvalid, "in account 210987654321"),
        ("", "", 503, ExchangeUnavailable, ""),
        ("", "", 401, SourceRejected, "profile default"),
        ("Unheard", "Of.", 400, RequestInvalid, "Look at the profile's settings"),
    ],
)
def test_refusal_is_told_by_what_mends_it(
    code: str, message: str, status: int, kind: type[ExchangeError], remedy: str
) -> None:
    error = explained(code, message, status)
    assert type(error) is kind
    assert remedy in error.remedy
    assert (error.code, error.http_status, error.request_id) == (code, status, "r-1")


def test_source_that_has_no_name_is_named_by_its_profile() -> None:
    """MinIO's answers name no role."""
    error = explain({"Error": {"Code": "AccessDenied"}}, make_chained("other"), make_session(assumed_role_arn=""))
    assert "to profile default for" in error.message
    assert "to the role of default" in error.remedy


def test_signature_faults_of_an_unsigned_call_are_the_tokens() -> None:
    error = explain({"Error": {"Code": "SignatureDoesNotMatch"}}, make_profile(), make_token())
    assert type(error) is TokenRejected


@given(st.text(max_size=40), st.text(max_size=40), st.sampled_from(["secret", "token"]))
def test_no_secret_of_the_source_is_ever_quoted(before: str, after: str, which: str) -> None:
    session = make_session()
    credentials = session.generation.credentials
    secret = (credentials.secret_access_key if which == "secret" else credentials.session_token).reveal()
    response = {"Error": {"Code": "AccessDenied", "Message": f"{before}{secret}{after}"}}
    assert secret not in str(explain(response, make_chained("other"), session))


def test_duration_is_told_in_seconds() -> None:
    profile = make_chained("other")
    assert profile.duration == timedelta(hours=1)
    error = explained("ValidationError", "exceeds the MaxSessionDuration")
    assert "Lower duration_seconds from 3600" in error.remedy
