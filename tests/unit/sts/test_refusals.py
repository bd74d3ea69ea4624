"""What each refusal is told as: the fault, AWS's own words made safe, and the change that mends it."""

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


def explained(code: str = "", message: str = "", status: int = 400) -> ExchangeError:
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
                "provider oidc.example/cluster where",
                f"oidc.example/cluster:sub is {SUBJECT}",
                "oidc.example/cluster:aud is sts.amazonaws.com",
            ),
        ),
        (
            "InvalidIdentityToken",
            f"No OpenIDConnect provider found in your account for {ISSUER}",
            TokenRejected,
            ("in account 123456789012", f"whose URL is exactly {ISSUER}", "Region eu-west-1 is not enabled"),
        ),
        ("InvalidIdentityToken", "Incorrect token audience", TokenRejected, ("Add sts.amazonaws.com", "client ids")),
        (
            "InvalidIdentityToken",
            "Couldn't retrieve verification key from your identity provider, please reference …",
            TokenRejected,
            (f"keys of {ISSUER}", "within 5 s", "often passes by itself"),
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
            ("Lower duration_seconds from 43200", ROLE),
        ),
        ("ValidationError", "Something new", RequestInvalid, ("profile's settings",)),
        ("MalformedPolicyDocument", "", RequestInvalid, ("session_policy",)),
        ("PackedPolicyTooLarge", "", RequestInvalid, ("Shorten session_policy",)),
        ("RegionDisabledException", "", RequestInvalid, ("Activate STS for Region eu-west-1", "AWS_REGION")),
        ("Throttling", "Rate exceeded", ExchangeThrottled, ("per account and Region",)),
    ],
)
def test_refusal_says_what_to_change(
    code: str, message: str, kind: type[ExchangeError], remedies: tuple[str, ...]
) -> None:
    error = explained(code, message)
    assert type(error) is kind
    assert error.message.startswith(f"STS answered {code} to {SUBJECT} for {ROLE}")
    assert message.rstrip(".") in error.message
    assert [remedy for remedy in remedies if remedy not in error.remedy] == []


def test_fault_that_passes_by_itself_asks_for_no_change() -> None:
    assert explained("InternalFailure", status=500).remedy == ""


@pytest.mark.parametrize(("code", "status"), [("", 503), ("503", 503), ("", 0)])
def test_answer_without_a_code_is_named_by_its_status(code: str, status: int) -> None:
    assert f"STS answered HTTP status {status} to " in explained(code, status=status).message


def test_code_weighs_more_than_the_status() -> None:
    """Gateways change the one, not the other."""
    assert isinstance(explained("AccessDenied", status=500), RoleDenied)


@pytest.mark.parametrize("response", [{}, {"Error": {}}, {"Error": {"Code": None, "Message": None}}])
def test_answer_that_says_nothing_is_told_without_a_quote(response: dict[str, object]) -> None:
    error = explain(response, make_profile(), make_token())
    assert "None" not in error.message
    assert error.message.endswith(f" for {ROLE}.")


def test_role_without_an_account_is_spoken_of_without_one() -> None:
    profile = make_profile(role_arn="arn:minio:iam:::role/app")
    error = explain({"Error": {"Code": "RegionDisabledException"}}, profile, make_token())
    assert "in account the role's" in error.remedy


def test_long_sentence_is_cut() -> None:
    error = explained("ValidationError", "word " * 1000)
    assert len(error.message) < MAXIMUM_QUOTE_LENGTH + 200


def test_control_characters_do_not_come_along() -> None:
    assert explained("Evil\n\x1b[2J", "Two\nlines\x1b[2J\x00").message.isprintable()


def test_braces_in_a_claim_or_sentence_are_taken_as_they_are() -> None:
    token = make_token(issuer="https://{role}", subject="{subject}")
    response = {"Error": {"Code": "AccessDenied", "Message": "{issuer} No OpenIDConnect provider {0}"}}
    error = explain(response, make_profile(), token)
    assert "https://{role}" in error.remedy


@pytest.mark.parametrize("where", ["code", "message"])
@pytest.mark.parametrize("wrap", ["{}", "Token '{}' is bad", "a{}", "<{}>"])
def test_token_in_the_answer_is_cut_out(where: str, wrap: str) -> None:
    text = wrap.format(TOKEN.raw.reveal())
    error = explained(text) if where == "code" else explained(message=text)
    assert all(part not in f"{error} {error.code}" for part in TOKEN.raw.reveal().split("."))


@given(start=st.integers(0, 400), length=st.integers(24, 400))
def test_piece_of_the_token_is_cut_out(start: int, length: int) -> None:
    """Some implementations quote the beginning, or the payload."""
    piece = TOKEN.raw.reveal()[start : start + length]
    error = explained("InvalidIdentityToken", f"cannot parse {piece} at all")
    assert all(part not in str(error) for part in piece.split(".") if len(part) >= 16)


@given(code=st.text(), message=st.text(), status=st.integers(0, 999))
def test_every_answer_is_explained_in_printable_words(code: str, message: str, status: int) -> None:
    error = explained(code, message, status)
    assert error.message.isprintable()
    assert (error.http_status, error.request_id) == (status, "r-1")
