"""The simulated STS on tokens of CI systems, SPIRE, GKE and AKS: it requires what AWS requires, and gives its keys.

Sources: aws-actions/configure-aws-credentials#502 and aws/aws-sdk-ruby#2698 ("Missing a required claim"), spiffe/spire
credtemplate/builder.go (AWS rejects timestamps that are not integers), the Service Authorization Reference (keys).
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from broker.cli.main import main
from sandbox import Issuer
from tests.support.issuer_tokens import GITHUB, TOKENS, IssuedToken, github_claims

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sandbox import Sandbox
    from tests.sandbox.sts_client import Exchanger

by_name = pytest.mark.parametrize("issued", TOKENS, ids=lambda one: one.name)


@pytest.fixture
def register(simulator: Sandbox) -> Iterator[Callable[[str], Issuer]]:
    """Return a function that starts an issuer with a provider in the account."""
    issuers: list[tuple[Issuer, str]] = []

    def start(url: str) -> Issuer:
        issuer = Issuer(issuer=url)
        issuers.append((issuer, simulator.register_provider(issuer)))
        return issuer

    yield start
    for issuer, arn in issuers:
        simulator.iam.delete_open_id_connect_provider(OpenIDConnectProviderArn=arn)
        issuer.stop()


def create_role(simulator: Sandbox, issued: IssuedToken, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["trust", "render", "--account", simulator.account_id, *issued.options]) == 0
    return simulator.create_role(f"of-{issued.name}", trust_policy=json.loads(capsys.readouterr().out))


@by_name
def test_rendered_policy_admits_the_token_and_not_its_neighbor(
    issued: IssuedToken,
    simulator: Sandbox,
    exchanger: Exchanger,
    register: Callable[[str], Issuer],
    capsys: pytest.CaptureFixture[str],
) -> None:
    issuer, role = register(issued.issuer), create_role(simulator, issued, capsys)
    claims = issued.claims(datetime.now(UTC))
    answer = exchanger.client.assume_role_with_web_identity(
        RoleArn=role, RoleSessionName=issued.session, WebIdentityToken=issuer.sign(claims)
    )
    assert (answer["Provider"], answer["SubjectFromWebIdentityToken"]) == (issued.issuer, claims["sub"])
    refusal = exchanger.refusal(RoleArn=role, WebIdentityToken=issuer.sign({**claims, "sub": issued.neighbor}))
    assert refusal.code == "AccessDenied"


@by_name
@pytest.mark.parametrize("claim", ["iss", "sub", "aud", "exp", "iat"])
def test_required_claim_is_missed(
    issued: IssuedToken, claim: str, exchanger: Exchanger, register: Callable[[str], Issuer]
) -> None:
    claims = {name: value for name, value in issued.claims(datetime.now(UTC)).items() if name != claim}
    refusal = exchanger.refusal(WebIdentityToken=register(issued.issuer).sign(claims))
    assert (refusal.code, refusal.message) == ("InvalidIdentityToken", f"Missing a required claim: {claim}")


def test_slash_at_the_end_is_part_of_the_issuer(
    simulator: Sandbox, exchanger: Exchanger, register: Callable[[str], Issuer]
) -> None:
    aks = next(one for one in TOKENS if one.name == "aks")
    without = register(aks.issuer.removesuffix("/"))
    assert simulator.addresses.keys() >= {without.issuer}
    refusal = exchanger.refusal(WebIdentityToken=without.sign(aks.claims(datetime.now(UTC))))
    assert refusal.message == f"No OpenIDConnect provider found in your account for {aks.issuer}"


@pytest.mark.parametrize(
    ("conditions", "is_admitted"),
    [
        ({"repository_id": "456789", "environment": "prod"}, True),
        ({"repository_id": "456789", "environment": "test"}, False),
        ({"job_workflow_ref": "octo-org/octo-repo/.github/workflows/deploy.yml@refs/heads/main"}, True),
        ({"repository_owner": "octo-org"}, False),  # no condition key of AWS
    ],
)
def test_claims_that_aws_lists_are_condition_keys(
    conditions: dict[str, str],
    is_admitted: bool,
    simulator: Sandbox,
    exchanger: Exchanger,
    register: Callable[[str], Issuer],
) -> None:
    issuer = register(GITHUB)
    keys: dict[str, Any] = {f"token.actions.githubusercontent.com:{name}": value for name, value in conditions.items()}
    policy = simulator.trust_policy()
    policy["Statement"][0] |= {
        "Principal": {"Federated": f"arn:aws:iam::{simulator.account_id}:oidc-provider/{GITHUB[8:]}"},
        "Condition": {"StringEquals": keys},
    }
    role = simulator.create_role("by-claims", trust_policy=policy)
    token = issuer.sign(github_claims(datetime.now(UTC), environment="prod"))
    if is_admitted:
        exchanger.client.assume_role_with_web_identity(RoleArn=role, RoleSessionName="job", WebIdentityToken=token)
    else:
        assert exchanger.refusal(RoleArn=role, WebIdentityToken=token).code == "AccessDenied"
