"""GetWebIdentityToken on the wire, the checks of its response, and what each refusal says to change."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

import pytest

from broker.core.errors import (
    ExchangeError,
    ExchangeThrottled,
    ExchangeUnavailable,
    RequestInvalid,
    ResponseInvalid,
    SourceRejected,
    WebIdentityTokenDenied,
)
from broker.core.web_identity_spec import WebIdentityTokenSpec
from broker.sts.web_identity_token import request_token
from tests.support.fakes import EPOCH, ROLE_ARN, make_profile, make_session
from tests.unit.sts.scripted_sts import NAMESPACE, make_refusal

if TYPE_CHECKING:
    from broker.core.web_identity_token import WebIdentityToken
    from broker.sts.exchange import StsExchanger
    from tests.unit.sts.scripted_sts import Sts

JWT = "eyJhbGciOiJSUzI1NiJ9.eyJhdWQiOiJ2YXVsdCJ9.c2lnbmF0dXJl"
SPEC = WebIdentityTokenSpec(audiences=("vault", "api://x"), signing_algorithm="ES384")
PROFILE = make_profile(web_identity_token=SPEC)


def make_response(**changes: str) -> bytes:
    fields = {"WebIdentityToken": JWT, "Expiration": "2026-11-23T12:05:00Z", **changes}
    tags = "".join(f"<{name}>{value}</{name}>" for name, value in fields.items() if value != "-")
    return (
        f'<GetWebIdentityTokenResponse xmlns="{NAMESPACE}"><GetWebIdentityTokenResult>{tags}'
        "</GetWebIdentityTokenResult><ResponseMetadata><RequestId>request-1</RequestId></ResponseMetadata>"
        "</GetWebIdentityTokenResponse>"
    ).encode()


def request(exchanger: StsExchanger, duration: int = 300) -> WebIdentityToken:
    return request_token(exchanger, PROFILE, make_session(), timedelta(seconds=duration))


def fail(exchanger: StsExchanger) -> ExchangeError:
    with pytest.raises(ExchangeError) as caught:
        request(exchanger)
    assert JWT not in str(caught.value)
    return caught.value


def refuse(exchanger: StsExchanger, sts: Sts, code: str, message: str = "No.", status: int = 403) -> ExchangeError:
    sts.status, sts.body = status, make_refusal(code, message)
    return fail(exchanger)


def test_call_is_signed_and_has_every_setting(exchanger: StsExchanger, sts: Sts) -> None:
    sts.body, sts.headers = make_response(), {"Date": "Mon, 23 Nov 2026 12:00:00 GMT"}
    token = request(exchanger, 240)
    sent = {name: value for name, (value,) in parse_qs(sts.requests[-1].body.decode()).items()}
    assert sent == {
        "Action": "GetWebIdentityToken",
        "Version": "2011-06-15",
        "Audience.member.1": "vault",
        "Audience.member.2": "api://x",
        "DurationSeconds": "240",
        "SigningAlgorithm": "ES384",
    }
    headers = sts.requests[-1].headers
    assert "Credential=ASIA" in headers["authorization"]
    assert headers["x-amz-security-token"] == make_session().generation.credentials.session_token.reveal()
    assert token.raw.reveal() == JWT
    assert (token.profile, token.received_at, token.request_id) == ("default", EPOCH, "request-1")
    assert token.lifetime == timedelta(seconds=240), "no longer than requested"
    assert JWT not in repr(token)


def test_lifetime_is_by_the_clock_of_sts(exchanger: StsExchanger, sts: Sts) -> None:
    sts.body = make_response(Expiration="2026-11-23T15:01:00Z")
    sts.headers = {"Date": "Mon, 23 Nov 2026 15:00:00 GMT"}
    token = request(exchanger)
    expected = timedelta(seconds=59.5)  # a Date header has whole seconds, so half of one is added to it
    assert (token.lifetime, token.lapses_at) == (expected, EPOCH + expected)


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"WebIdentityToken": "-"}, "WebIdentityToken"),
        ({"WebIdentityToken": "not a token"}, "WebIdentityToken"),
        ({"Expiration": "-"}, "Expiration"),
        ({"WebIdentityToken": "", "Expiration": "-"}, "WebIdentityToken, Expiration"),
        ({"Expiration": "2026-11-23T11:00:00Z"}, "expired at 2026-11-23T11:00:00Z"),
    ],
)
def test_unusable_response_is_refused(exchanger: StsExchanger, sts: Sts, changes: dict[str, str], found: str) -> None:
    sts.body, sts.headers = make_response(**changes), {"Date": "Mon, 23 Nov 2026 12:00:00 GMT"}
    error = fail(exchanger)
    assert type(error) is ResponseInvalid
    assert found in error.message


@pytest.mark.parametrize(
    ("code", "message", "kind", "remedy"),
    [
        (
            "OutboundWebIdentityFederationDisabledException",
            "Disabled.",
            WebIdentityTokenDenied,
            "Account 123456789012 has not enabled outbound identity federation.",
        ),
        (
            "AccessDenied",
            "because no identity-based policy allows the sts:GetWebIdentityToken action",
            WebIdentityTokenDenied,
            "sts:IdentityTokenAudience vault, api://x, sts:DurationSeconds 300, sts:SigningAlgorithm ES384",
        ),
        (
            "AccessDenied",
            "because no session policy allows the sts:GetWebIdentityToken action",
            WebIdentityTokenDenied,
            "Allow sts:GetWebIdentityToken in session_policy (BROKER_SESSION_POLICY)",
        ),
        (
            "AccessDenied",
            "because no permissions boundary allows the sts:GetWebIdentityToken action",
            WebIdentityTokenDenied,
            f"Allow sts:GetWebIdentityToken in the permissions boundary of {ROLE_ARN}.",
        ),
        (
            "AccessDenied",
            "with an explicit deny in a service control policy",
            WebIdentityTokenDenied,
            "denied by a service control policy (SCP), which no policy of",
        ),
        ("JWTPayloadSizeExceededException", "Big.", RequestInvalid, "List fewer audiences in web_identity_token"),
        ("SessionDurationEscalationException", "Long.", RequestInvalid, "outlive the session"),
        ("InvalidAction", "Could not find operation", RequestInvalid, "only at regional endpoints"),
        ("RegionDisabledException", "Off.", RequestInvalid, "Activate STS for Region eu-west-1"),
        ("ValidationError", "Bad.", RequestInvalid, "web_identity_token of profile default"),
        ("ExpiredToken", "Expired.", SourceRejected, "send SIGHUP"),
        ("InvalidClientTokenId", "Invalid.", SourceRejected, "send SIGHUP"),
        ("Throttling", "Slow.", ExchangeThrottled, "quota"),
        ("ServiceUnavailable", "Down.", ExchangeUnavailable, ""),
    ],
)
def test_refusal_says_what_to_change(  # noqa: PLR0913, PLR0917 - one row of the table
    exchanger: StsExchanger, sts: Sts, code: str, message: str, kind: type[ExchangeError], remedy: str
) -> None:
    error = refuse(exchanger, sts, code, message, 503 if kind is ExchangeUnavailable else 403)
    assert type(error) is kind
    assert error.message.startswith(f"Cannot get the web identity token of profile default for role {ROLE_ARN}. STS ")
    assert code in error.message
    assert remedy in error.remedy
    assert "{" not in error.remedy
    assert (error.code, error.request_id) == (code, "request-2")


def test_refusal_that_quotes_the_session_token_is_cleaned(exchanger: StsExchanger, sts: Sts) -> None:
    secret = make_session().generation.credentials.session_token.reveal()
    assert secret not in str(refuse(exchanger, sts, "AccessDenied", f"The token {secret} is not good"))


def test_web_page_is_not_taken_for_sts(exchanger: StsExchanger, sts: Sts) -> None:
    sts.status, sts.body = 200, b"<html><body>Log in</body></html>"
    error = fail(exchanger)
    assert type(error) is ResponseInvalid
    assert "is a web page" in error.message
