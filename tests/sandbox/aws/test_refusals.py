"""Every refusal of the simulated STS has AWS's code, message and status."""

from __future__ import annotations

import http.client
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import botocore.exceptions
import jwt
import pytest

from sandbox import Availability, Issuer, Sandbox
from sandbox.http.loopback import LoopbackServer, Request, Wire

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.sandbox.sts_client import Exchanger, ShiftedClock

NO_KEY = (
    "Couldn't retrieve verification key from your identity provider, "
    "please reference AssumeRoleWithWebIdentity documentation for requirements"
)
DENIED = "Not authorized to perform sts:AssumeRoleWithWebIdentity"


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"RoleArn": "arn:short"}, "at 'roleArn' failed to satisfy constraint: Member must have length greater"),
        ({"RoleArn": "not-an-arn-but-long-enough"}, "not-an-arn-but-long-enough is invalid"),
        ({"RoleArn": "arn:aws:iam::123456789012:user/not-a-role"}, "is invalid"),
        ({"RoleSessionName": "x"}, "length greater than or equal to 2"),
        ({"RoleSessionName": "x" * 65}, "length less than or equal to 64"),
        ({"RoleSessionName": "a b/c!"}, r"regular expression pattern: [\w+=,.@-]*"),
        ({"RoleSessionName": "dämon"}, "regular expression pattern"),
        ({"WebIdentityToken": "abc"}, "Value at 'webIdentityToken'"),
        ({"WebIdentityToken": "x" * 20_001}, "length less than or equal to 20000"),
        ({"DurationSeconds": 899}, "value greater than or equal to 900"),
        ({"DurationSeconds": 43_201}, "value less than or equal to 43200"),
        ({"DurationSeconds": 3601}, "exceeds the MaxSessionDuration set for this role."),
        ({"Policy": "x" * 2049}, "at 'policy' failed"),
        ({"PolicyArns": [{"arn": "arn:aws:iam::aws:policy/A"}] * 11}, "at 'policyArns' failed"),
        ({"PolicyArns": [{"arn": "arn:aws:iam::999999999999:policy/A"}]}, "is invalid"),
        ({"PolicyArns": [{"arn": "nonsense"}]}, "nonsense is invalid"),
        ({"ProviderId": "www.amazon.com"}, "ProviderId"),
    ],
)
def test_invalid_parameter(exchanger: Exchanger, parameters: dict[str, Any], message: str) -> None:
    refusal = exchanger.refusal(**parameters)
    assert (refusal.code, refusal.status) == ("ValidationError", 400)
    assert message in refusal.message


def test_empty_parameter(simulator: Sandbox, exchanger: Exchanger) -> None:
    refusal = exchanger.refusal(RoleSessionName="")
    assert refusal.code == "ValidationError"
    assert simulator.sts.calls[0].outcome == "ValidationError"


@pytest.mark.parametrize("policy", ["{bad", "[]", '{"Version": "2012-10-17"}', '{"Statement": "\u20ac"}'])
def test_malformed_session_policy(exchanger: Exchanger, policy: str) -> None:
    refusal = exchanger.refusal(Policy=policy)
    assert (refusal.code, refusal.status) == ("MalformedPolicyDocument", 400)


def test_policies_that_are_together_too_large(exchanger: Exchanger) -> None:
    arns = [{"arn": "arn:aws:iam::aws:policy/ReadOnlyAccess"}]
    refusal = exchanger.refusal(Policy='{"Statement": []}' + " " * 2025, PolicyArns=arns)
    assert (refusal.code, refusal.status) == ("PackedPolicyTooLarge", 400)
    assert "102% of allotted space" in refusal.message or "101% of allotted space" in refusal.message


@pytest.mark.parametrize("token", ["nonsense", "a.b.c", "eyJhbGciOiJub25lIn0.W10."])
def test_token_that_is_not_a_jwt(exchanger: Exchanger, token: str) -> None:
    refusal = exchanger.refusal(WebIdentityToken=token)
    assert (refusal.code, refusal.status) == ("InvalidIdentityToken", 400)
    assert "not a valid JWT" in refusal.message


@pytest.mark.parametrize("claim", ["iss", "sub", "aud", "exp", "iat"])
def test_token_without_a_claim(simulator: Sandbox, exchanger: Exchanger, claim: str) -> None:
    refusal = exchanger.refusal(WebIdentityToken=simulator.issuer.mint(**{claim: None}))  # type: ignore[arg-type]
    assert (refusal.code, refusal.message) == ("InvalidIdentityToken", f"Missing a required claim: {claim}")


def test_token_with_a_fractional_time(simulator: Sandbox, exchanger: Exchanger) -> None:
    token = simulator.issuer.mint(exp=datetime.now(UTC).timestamp() + 600.5)
    assert exchanger.refusal(WebIdentityToken=token).message == "The claim exp is not an integer"


def test_unknown_issuer(exchanger: Exchanger) -> None:
    with Issuer(issuer="https://elsewhere.example") as stranger:
        refusal = exchanger.refusal(WebIdentityToken=stranger.mint())
    assert (refusal.code, refusal.status) == ("InvalidIdentityToken", 400)
    assert refusal.message == "No OpenIDConnect provider found in your account for https://elsewhere.example"


def test_provider_of_another_account_does_not_count(exchanger: Exchanger) -> None:
    refusal = exchanger.refusal(RoleArn="arn:aws:iam::999999999999:role/app")
    assert refusal.message.startswith("No OpenIDConnect provider found in your account")


def test_unlisted_audience(simulator: Sandbox, exchanger: Exchanger) -> None:
    refusal = exchanger.refusal(WebIdentityToken=simulator.issuer.mint(audience="https://kubernetes.default.svc"))
    assert (refusal.code, refusal.message) == ("InvalidIdentityToken", "Incorrect token audience")


def test_retired_key_cannot_be_verified(simulator: Sandbox, exchanger: Exchanger) -> None:
    token = simulator.issuer.mint()
    old = jwt.get_unverified_header(token)["kid"]
    simulator.issuer.add_key()
    assert exchanger.exchange(WebIdentityToken=token)
    simulator.issuer.retire_key(old)
    refusal = exchanger.refusal(WebIdentityToken=token)
    assert (refusal.code, refusal.message, refusal.status) == ("InvalidIdentityToken", NO_KEY, 400)
    assert exchanger.exchange()


@pytest.mark.parametrize("availability", [Availability.UNREACHABLE, Availability.SLOW])
def test_unreachable_issuer(simulator: Sandbox, exchanger: Exchanger, availability: Availability) -> None:
    simulator.issuer.set_availability(availability, delay=timedelta(milliseconds=1200))
    refusal = exchanger.refusal()
    assert (refusal.code, refusal.message) == ("InvalidIdentityToken", NO_KEY)
    simulator.issuer.set_availability(Availability.REACHABLE)
    assert exchanger.exchange()


def test_forged_signature(simulator: Sandbox, exchanger: Exchanger) -> None:
    header, _, signature = simulator.issuer.mint().split(".")
    _, payload, _ = simulator.issuer.mint(pod="another").split(".")
    refusal = exchanger.refusal(WebIdentityToken=f"{header}.{payload}.{signature}")
    assert (refusal.code, refusal.message) == ("InvalidIdentityToken", "The ID Token signature is invalid")


def test_unsupported_algorithm(simulator: Sandbox, exchanger: Exchanger) -> None:
    claims = jwt.decode(simulator.issuer.mint(), options={"verify_signature": False})
    token = jwt.encode(claims, "a secret that both sides know, 32 b", algorithm="HS256")
    assert "unsupported algorithm" in exchanger.refusal(WebIdentityToken=token).message


def test_expired_token(simulator: Sandbox, exchanger: Exchanger, clock: ShiftedClock) -> None:
    token = simulator.issuer.mint(lifetime=timedelta(minutes=10))
    expiry = jwt.decode(token, options={"verify_signature": False})["exp"]
    clock.offset = timedelta(minutes=10, seconds=1)
    refusal = exchanger.refusal(WebIdentityToken=token)
    assert (refusal.code, refusal.status) == ("ExpiredTokenException", 400)
    assert refusal.message.startswith("Token expired: current date/time ")
    assert refusal.message.endswith(f" must be before the expiration date/time {expiry}")


def test_token_that_is_not_valid_yet(simulator: Sandbox, exchanger: Exchanger) -> None:
    refusal = exchanger.refusal(
        WebIdentityToken=simulator.issuer.mint(not_before=datetime.now(UTC) + timedelta(minutes=5))
    )
    assert (refusal.code, refusal.status) == ("InvalidIdentityToken", 400)
    assert "not valid yet" in refusal.message


def test_missing_role_is_refused_like_a_role_that_denies(simulator: Sandbox, exchanger: Exchanger) -> None:
    refusal = exchanger.refusal(RoleArn="arn:aws:iam::123456789012:role/nobody")
    assert (refusal.code, refusal.message, refusal.status) == ("AccessDenied", DENIED, 403)
    assert simulator.sts.calls[0].reason == "the role does not exist"


def test_subject_that_the_role_does_not_trust(simulator: Sandbox, exchanger: Exchanger) -> None:
    refusal = exchanger.refusal(WebIdentityToken=simulator.issuer.mint(namespace="evil"))
    assert (refusal.code, refusal.message, refusal.status) == ("AccessDenied", DENIED, 403)


def test_session_name_that_the_trust_policy_forbids(simulator: Sandbox, exchanger: Exchanger) -> None:
    policy = simulator.trust_policy()
    policy["Statement"][0]["Condition"]["StringLike"] = {"sts:RoleSessionName": "demo.*"}
    arn = simulator.create_role("named", trust_policy=policy)
    assert exchanger.exchange(RoleArn=arn, RoleSessionName="demo.app")
    assert exchanger.refusal(RoleArn=arn, RoleSessionName="other").code == "AccessDenied"


def test_changed_trust_policy_takes_effect_at_once(simulator: Sandbox, exchanger: Exchanger) -> None:
    arn = simulator.create_role("changing", subjects=["system:serviceaccount:demo:other"])
    assert exchanger.refusal(RoleArn=arn).code == "AccessDenied"
    policy = str(simulator.trust_policy()).replace("'", '"')
    simulator.iam.update_assume_role_policy(RoleName="changing", PolicyDocument=policy)
    assert exchanger.exchange(RoleArn=arn)


def test_longer_session_that_the_role_allows_is_issued(simulator: Sandbox, exchanger: Exchanger) -> None:
    arn = simulator.create_role("long", max_session=timedelta(hours=12))
    assert exchanger.exchange(RoleArn=arn, DurationSeconds=43_200)


def test_second_provider_works_next_to_the_first(simulator: Sandbox, exchanger: Exchanger) -> None:
    with Issuer(issuer="https://oidc.other.example/two") as other:
        policy = simulator.trust_policy()
        policy["Statement"][0]["Principal"]["Federated"] = simulator.register_provider(other, audiences=["custom"])
        policy["Statement"][0]["Condition"] = {"StringEquals": {"oidc.other.example/two:aud": "custom"}}
        arn = simulator.create_role("second", trust_policy=policy)
        answer = exchanger.exchange(RoleArn=arn, WebIdentityToken=other.mint(audience="custom"))
    assert answer["Provider"] == "https://oidc.other.example/two"


def post(simulator: Sandbox, form: dict[str, str]) -> tuple[int, str]:
    """Send a form unchanged. An SDK would add parameters."""
    connection = http.client.HTTPConnection("127.0.0.1", int(simulator.sts.url.rpartition(":")[2]), timeout=5)
    connection.request("POST", "/", urlencode(form), {"Content-Type": "application/x-www-form-urlencoded"})
    response = connection.getresponse()
    status, body = response.status, response.read().decode()
    connection.close()
    return status, body


@pytest.mark.parametrize("left_out", ["RoleArn", "RoleSessionName", "WebIdentityToken"])
def test_missing_required_parameter(simulator: Sandbox, left_out: str) -> None:
    form = {
        "Action": "AssumeRoleWithWebIdentity",
        "RoleArn": simulator.role_arn,
        "RoleSessionName": "demo.app",
        "WebIdentityToken": simulator.issuer.mint(),
    }
    status, body = post(simulator, {name: value for name, value in form.items() if name != left_out})
    assert status == 400
    assert "Member must not be null" in body
    assert '<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">' in body
    assert "<Type>Sender</Type>" in body


def test_duration_that_is_not_a_number(simulator: Sandbox, exchanger: Exchanger) -> None:
    assert exchanger.refusal(DurationSeconds="an hour").code == "MalformedInput"
    assert simulator.sts.calls[0].duration_seconds is None


@pytest.mark.parametrize("form", [{}, {"Action": "Nonsense"}, {"Action": "AssumeRole", "RoleArn": "x"}])
def test_unsigned_request_for_another_action(simulator: Sandbox, form: dict[str, str]) -> None:
    status, body = post(simulator, form)
    assert status == 403
    assert "MissingAuthenticationToken" in body


def test_session_cannot_request_a_session_token(simulator: Sandbox, exchanger: Exchanger) -> None:
    client = simulator.boto3_client("sts", endpoint_url=simulator.sts.url, **exchanger.keys())
    with pytest.raises(botocore.exceptions.ClientError, match="AccessDenied"):
        client.get_session_token()
    assert client.get_access_key_info(AccessKeyId="ASIAEXAMPLEEXAMPLE12")["Account"] == simulator.account_id
    client.close()


@pytest.mark.parametrize(
    "change", [("issuer", "https://imposter.example"), ("jwks_uri", "https://imposter.example/keys")]
)
def test_discovery_document_of_another_issuer_gives_no_key(
    simulator: Sandbox, exchanger: Exchanger, change: tuple[str, str]
) -> None:
    iss = "https://oidc.imposter.example"
    document = {"issuer": iss, "jwks_uri": f"{iss}/keys"} | dict([change])

    def answer(_: Request, wire: Wire) -> None:
        wire.send(200, {}, json.dumps(document).encode())

    refuse_documents(simulator, exchanger, answer, iss)


@pytest.mark.parametrize(("status", "body"), [(404, b"{}"), (200, b"[]"), (200, b"<html>")])
def test_broken_documents_give_no_key(simulator: Sandbox, exchanger: Exchanger, status: int, body: bytes) -> None:
    def answer(_: Request, wire: Wire) -> None:
        wire.send(status, {}, body)

    refuse_documents(simulator, exchanger, answer, "https://oidc.broken.example")


def refuse_documents(
    simulator: Sandbox, exchanger: Exchanger, answer: Callable[[Request, Wire], None], iss: str
) -> None:
    """Exchange a token of an issuer whose documents `answer` serves. STS must refuse it."""
    with Issuer(issuer=iss) as issuer:
        simulator.register_provider(issuer)
        server = LoopbackServer(answer=answer)
        simulator.addresses[iss] = server.url
        refusal = exchanger.refusal(WebIdentityToken=issuer.mint())
        server.stop()
    assert (refusal.code, refusal.message) == ("InvalidIdentityToken", NO_KEY)
