"""GetWebIdentityToken of the simulated STS: claims and keys as AWS documents them, and everything that it refuses."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.request import urlopen

import botocore.config
import botocore.exceptions
import jwt
import pytest

from sandbox.aws import outbound
from tests.sandbox.sts_client import SESSION, Exchanger, Refused, ShiftedClock, refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sandbox import Sandbox

ALLOWED = {"Effect": "Allow", "Action": ["sts:GetWebIdentityToken", "sts:TagGetWebIdentityToken"], "Resource": "*"}
REQUEST: dict[str, Any] = {"Audience": ["vault"], "SigningAlgorithm": "RS256"}


def permit(simulator: Sandbox, **statement: object) -> None:
    """Give the role this statement, with the fields of ALLOWED where it has none."""
    document = {"Version": "2012-10-17", "Statement": [{**ALLOWED, **statement}]}
    simulator.iam.put_role_policy(
        RoleName=simulator.role_arn.rpartition("/")[2], PolicyName="tokens", PolicyDocument=json.dumps(document)
    )


@pytest.fixture
def call(simulator: Sandbox, exchanger: Exchanger) -> Iterator[Callable[..., dict[str, Any]]]:
    """Return a function that requests a token with a session of the role, in an account that has enabled it."""
    simulator.sts.outbound.enable(simulator.account_id)
    permit(simulator)
    config = botocore.config.Config(retries={"total_max_attempts": 1}, parameter_validation=False, proxies={})
    client = SESSION.create_client(
        "sts", region_name="eu-central-1", endpoint_url=simulator.sts.url, config=config, **exchanger.keys()
    )

    def request(**parameters: object) -> dict[str, Any]:
        merged = {name: value for name, value in {**REQUEST, **parameters}.items() if value is not None}
        response: dict[str, Any] = client.get_web_identity_token(**merged)
        return response

    with closing(client):
        yield request
    simulator.iam.delete_role_policy(RoleName=simulator.role_arn.rpartition("/")[2], PolicyName="tokens")


def refusal(call: Callable[..., dict[str, Any]], **parameters: object) -> Refused:
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        call(**parameters)
    return refused(caught.value)


def verify(simulator: Sandbox, response: dict[str, Any], audience: str = "vault") -> dict[str, Any]:
    text = response["WebIdentityToken"]
    key = jwt.PyJWKClient(simulator.sts.url + outbound.KEYS_PATH).get_signing_key_from_jwt(text)
    claims: dict[str, Any] = jwt.decode(text, key, algorithms=["RS256", "ES384"], audience=audience)
    return claims


def test_claims_are_those_that_aws_documents(simulator: Sandbox, call: Callable[..., dict[str, Any]]) -> None:
    response = call()
    claims = verify(simulator, response)
    assert list(claims) == ["iss", "aud", "sub", "iat", "exp", "jti", "https://sts.amazonaws.com/"]
    assert claims["iss"] == simulator.sts.outbound.enable(simulator.account_id)
    assert (claims["aud"], claims["sub"]) == ("vault", simulator.role_arn)
    assert claims["exp"] - claims["iat"] == 300
    assert response["Expiration"].timestamp() == claims["exp"]
    identity = claims["https://sts.amazonaws.com/"]
    assert identity.pop("original_session_exp").endswith("Z")
    assert identity == {
        "aws_account": simulator.account_id,
        "source_region": "eu-central-1",
        "federated_provider": simulator.provider_arn,
    }
    header = jwt.get_unverified_header(response["WebIdentityToken"])
    assert header == {"alg": "RS256", "kid": "RSA_0", "typ": "JWT"}


def test_tags_and_several_audiences_are_in_the_token(simulator: Sandbox, call: Callable[..., dict[str, Any]]) -> None:
    response = call(Audience=["vault", "other"], SigningAlgorithm="ES384", Tags=[{"Key": "team", "Value": "blue"}])
    claims = verify(simulator, response, "other")
    assert claims["aud"] == ["vault", "other"]
    assert claims["https://sts.amazonaws.com/"]["request_tags"] == {"team": "blue"}
    assert jwt.get_unverified_header(response["WebIdentityToken"])["kid"] == "EC384_0"


def test_discovery_document_names_issuer_and_keys(simulator: Sandbox, call: Callable[..., dict[str, Any]]) -> None:
    call()
    with urlopen(simulator.sts.url + outbound.DISCOVERY_PATH) as response:
        document = json.load(response)
    issuer = simulator.sts.outbound.enable(simulator.account_id)
    assert (document["issuer"], document["jwks_uri"]) == (issuer, f"{issuer}/.well-known/jwks.json")
    assert document["id_token_signing_alg_values_supported"] == ["RS256", "ES384"]
    with pytest.raises(HTTPError):
        urlopen(simulator.sts.url + "/.well-known/other")


@pytest.mark.parametrize("seconds", [60, 3540])
def test_shortest_and_longest_lifetime_are_accepted(call: Callable[..., dict[str, Any]], seconds: int) -> None:
    assert call(DurationSeconds=seconds)["WebIdentityToken"]


@pytest.mark.parametrize(
    ("parameters", "found"),
    [
        ({"Audience": None}, "'audience' failed to satisfy constraint: Member must not be null"),
        ({"Audience": [str(number) for number in range(11)]}, "length less than or equal to 10"),
        ({"Audience": [""]}, "length greater than or equal to 1"),
        ({"Audience": ["x" * 1001]}, "length less than or equal to 1000"),
        ({"SigningAlgorithm": None}, "'signingAlgorithm' failed to satisfy constraint: Member must not be null"),
        ({"SigningAlgorithm": "HS256"}, "enum value set: [RS256, ES384]"),
        ({"DurationSeconds": 59}, "greater than or equal to 60"),
        ({"DurationSeconds": 3601}, "less than or equal to 3600"),
    ],
)
def test_parameter_out_of_bounds_is_a_validation_error(
    call: Callable[..., dict[str, Any]], parameters: dict[str, object], found: str
) -> None:
    error = refusal(call, **parameters)
    assert (error.code, error.status) == ("ValidationError", 400)
    assert found in error.message


@pytest.mark.parametrize(
    ("statement", "parameters", "allowed"),
    [
        ({"Action": "sts:AssumeRole"}, {}, False),
        ({"Effect": "Deny"}, {}, False),
        ({"Condition": {"ForAllValues:StringEquals": {"sts:IdentityTokenAudience": "vault"}}}, {}, True),
        ({"Condition": {"ForAllValues:StringEquals": {"sts:IdentityTokenAudience": "other"}}}, {}, False),
        ({"Condition": {"NumericLessThanEquals": {"sts:DurationSeconds": "300"}}}, {}, True),
        ({"Condition": {"NumericLessThanEquals": {"sts:DurationSeconds": "300"}}}, {"DurationSeconds": 301}, False),
        ({"Condition": {"StringEquals": {"sts:SigningAlgorithm": "ES384"}}}, {}, False),
        ({"Action": "sts:GetWebIdentityToken"}, {"Tags": [{"Key": "a", "Value": "b"}]}, False),
    ],
)
def test_policies_of_the_role_decide(
    simulator: Sandbox,
    call: Callable[..., dict[str, Any]],
    statement: dict[str, object],
    parameters: dict[str, object],
    allowed: bool,
) -> None:
    permit(simulator, **statement)
    if allowed:
        assert call(**parameters)["WebIdentityToken"]
    else:
        error = refusal(call, **parameters)
        assert (error.code, error.status) == ("AccessDenied", 403)
        assert "is not authorized to perform: sts:" in error.message


def test_account_that_has_not_enabled_it_is_refused(simulator: Sandbox, call: Callable[..., dict[str, Any]]) -> None:
    simulator.sts.outbound.disable(simulator.account_id)
    assert refusal(call).code == "OutboundWebIdentityFederationDisabledException"


def test_token_that_would_outlive_the_session_is_refused(
    call: Callable[..., dict[str, Any]], clock: ShiftedClock
) -> None:
    clock.offset = timedelta(minutes=50)
    assert call(DurationSeconds=540)["WebIdentityToken"]
    assert refusal(call, DurationSeconds=660).code == "SessionDurationEscalationException"


def test_expired_and_unsigned_calls_are_refused(
    call: Callable[..., dict[str, Any]], clock: ShiftedClock, exchanger: Exchanger
) -> None:
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        exchanger.client.get_web_identity_token(**REQUEST)
    assert refused(caught.value).code == "MissingAuthenticationToken"
    clock.offset = timedelta(hours=2)
    assert refusal(call).code == "ExpiredToken"
