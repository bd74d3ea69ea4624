"""Refusals of a token: the fault, the quoted message of AWS without secrets, and the remedy."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.core.errors import ExchangeThrottled, ExchangeUnavailable, RequestInvalid, RoleDenied, TokenRejected
from broker.core.model import BoundToken, Secret
from broker.sts.refusals import MAXIMUM_QUOTE_LENGTH, explain
from tests.support.fakes import make_jwt, make_profile, make_token

if TYPE_CHECKING:
    from broker.core.errors import ExchangeError

ISSUER = "https://oidc.example/cluster"
SUBJECT = "system:serviceaccount:demo:app"
ROLE = "arn:aws:iam::123456789012:role/app"
TOKEN = BoundToken(raw=Secret(make_jwt()), fingerprint="0123456789ab", claims=make_token().claims)


def explain_response(code: str = "", message: str = "", status: int = 400) -> ExchangeError:
    response = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status, "RequestId": "r-1"},
    }
    return explain(response, make_profile(duration=timedelta(hours=12)), TOKEN)


@pytest.mark.parametrize(
    ("code", "message", "kind", "remedies"),
    [
        (
            "AccessDenied",
            "Not authorized to perform sts:AssumeRoleWithWebIdentity",
            RoleDenied,
            (
                "trust policy",
                "provider oidc.example/cluster with the conditions",
                f"oidc.example/cluster:sub = {SUBJECT}",
                "oidc.example/cluster:aud = sts.amazonaws.com",
            ),
        ),
        (
            "InvalidIdentityToken",
            f"No OpenIDConnect provider found in your account for {ISSUER}",
            TokenRejected,
            ("in account 123456789012", f"whose URL is exactly {ISSUER}", "Region eu-west-1 is not enabled"),
        ),
        ("InvalidIdentityToken", "Incorrect token audience", TokenRejected, ("Add sts.amazonaws.com", "client IDs")),
        (
            "InvalidIdentityToken",
            "Couldn't retrieve verification key from your identity provider, please reference …",
            TokenRejected,
            (f"keys of {ISSUER}", "within 5 s", "often transient"),
        ),
        (
            "InvalidIdentityToken",
            "OpenIDConnect provider's HTTPS certificate doesn't match configured thumbprint",
            TokenRejected,
            (
                f"certificate of {ISSUER} is not the one that the IAM OIDC provider in account 123456789012 names",
                f"`sts-broker issuer check {ISSUER}`, which prints the thumbprint",
                "public CA",
            ),
        ),
        ("InvalidIdentityToken", "Something new", TokenRejected, ("sts-broker token", ISSUER)),
        (
            "ExpiredTokenException",
            "Token expired: current date/time 2 must be before the expiration date/time 1",
            TokenRejected,
            ("2026-11-23T13:00:00Z", "clock is behind STS"),
        ),
        ("ExpiredToken", "", TokenRejected, ("clock is behind STS",)),
        ("IDPRejectedClaim", "", TokenRejected, (ISSUER,)),
        ("IDPCommunicationError", "", ExchangeUnavailable, (f"could not reach {ISSUER}",)),
        (
            "ValidationError",
            "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
            RequestInvalid,
            ("Lower duration_seconds (BROKER_DURATION_SECONDS) from 43200", ROLE),
        ),
        ("ValidationError", "Something new", RequestInvalid, ("settings of profile default",)),
        ("MalformedPolicyDocument", "", RequestInvalid, ("session_policy",)),
        ("PackedPolicyTooLarge", "", RequestInvalid, ("Shorten session_policy",)),
        ("RegionDisabledException", "", RequestInvalid, ("Activate STS for Region eu-west-1", "AWS_REGION")),
        ("Throttling", "Rate exceeded", ExchangeThrottled, ("for each account and Region",)),
    ],
)
def test_refusal_has_the_remedy(code: str, message: str, kind: type[ExchangeError], remedies: tuple[str, ...]) -> None:
    error = explain_response(code, message)
    assert type(error) is kind
    assert error.message.startswith(f"Cannot assume role {ROLE} as {SUBJECT}. STS returned {code}")
    assert message.rstrip(".") in error.message
    assert [remedy for remedy in remedies if remedy not in error.remedy] == []


def test_transient_fault_has_no_remedy() -> None:
    assert explain_response("InternalFailure", status=500).remedy == ""


@pytest.mark.parametrize(("code", "status"), [("", 503), ("503", 503), ("", 0)])
def test_response_without_a_code_is_named_by_its_status(code: str, status: int) -> None:
    assert f"STS returned HTTP status {status}." in explain_response(code, status=status).message


def test_code_takes_precedence_over_the_status() -> None:
    """Gateways change the status, not the code."""
    assert isinstance(explain_response("AccessDenied", status=500), RoleDenied)


@pytest.mark.parametrize("response", [{}, {"Error": {}}, {"Error": {"Code": None, "Message": None}}])
def test_response_without_a_message_is_explained_without_a_quote(response: dict[str, object]) -> None:
    error = explain(response, make_profile(), make_token())
    assert "None" not in error.message
    assert error.message.endswith("STS returned HTTP status 0.")


def test_role_without_an_account_is_explained_without_one() -> None:
    profile = make_profile(role_arn="arn:minio:iam:::role/app")
    error = explain({"Error": {"Code": "RegionDisabledException"}}, profile, make_token())
    assert "in account the role's" in error.remedy


def test_long_message_is_shortened() -> None:
    error = explain_response("ValidationError", "word " * 1000)
    assert len(error.message) < MAXIMUM_QUOTE_LENGTH + 200


def test_control_characters_are_removed() -> None:
    assert explain_response("Evil\n\x1b[2J", "Two\nlines\x1b[2J\x00").message.isprintable()


def test_braces_in_a_claim_or_message_are_kept() -> None:
    token = make_token(issuer="https://{role}", subject="{subject}")
    response = {"Error": {"Code": "AccessDenied", "Message": "{issuer} No OpenIDConnect provider {0}"}}
    error = explain(response, make_profile(), token)
    assert "https://{role}" in error.remedy


@pytest.mark.parametrize("where", ["code", "message"])
@pytest.mark.parametrize("wrap", ["{}", "Token '{}' is bad", "a{}", "<{}>"])
def test_token_in_the_response_is_removed(where: str, wrap: str) -> None:
    text = wrap.format(TOKEN.raw.reveal())
    error = explain_response(text) if where == "code" else explain_response(message=text)
    assert all(part not in f"{error} {error.code}" for part in TOKEN.raw.reveal().split("."))


@given(start=st.integers(0, 400), length=st.integers(24, 400))
def test_part_of_the_token_is_removed(start: int, length: int) -> None:
    """Some implementations quote the beginning of the token, or its payload."""
    piece = TOKEN.raw.reveal()[start : start + length]
    error = explain_response("InvalidIdentityToken", f"cannot parse {piece} at all")
    assert all(part not in str(error) for part in piece.split(".") if len(part) >= 16)


@given(code=st.text(), message=st.text(), status=st.integers(0, 999))
def test_every_response_is_explained_with_printable_text(code: str, message: str, status: int) -> None:
    error = explain_response(code, message, status)
    assert error.message.isprintable()
    assert (error.http_status, error.request_id) == (status, "r-1")
