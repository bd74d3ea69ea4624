"""The settings of web identity tokens: from the environment, the top of the file and profiles."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from broker.core.errors import ConfigurationError
from broker.core.web_identity_spec import WebIdentityTokenSpec
from broker.settings.loader import load
from tests.support.fakes import ROLE_ARN

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from broker.core.model import Configuration

BASE = {"AWS_ROLE_ARN": ROLE_ARN, "AWS_REGION": "eu-west-1"}


@pytest.fixture
def configured(tmp_path: Path) -> Callable[..., Configuration]:
    """Return a function that loads the settings from the text of a YAML file and from variables."""

    def configured(text: str = "", **variables: str) -> Configuration:
        (tmp_path / "broker.yaml").write_text(text)
        return load({**BASE, "BROKER_CONFIG": str(tmp_path / "broker.yaml"), **variables})

    return configured


def find_faults(configured: Callable[..., Configuration], text: str = "", **variables: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        configured(text, **variables)
    return [fault.rpartition("broker.yaml: ")[2] for fault in caught.value.faults]


def test_there_is_no_token_by_default(configured: Callable[..., Configuration]) -> None:
    assert configured().profiles[0].web_identity_token is None


def test_variables_set_every_field(configured: Callable[..., Configuration]) -> None:
    configuration = configured(
        BROKER_WEB_IDENTITY_TOKEN_AUDIENCE="vault, api://AzureADTokenExchange",
        BROKER_WEB_IDENTITY_TOKEN_DURATION_SECONDS="900",
        BROKER_WEB_IDENTITY_TOKEN_SIGNING_ALGORITHM="ES384",
    )
    assert configuration.profiles[0].web_identity_token == WebIdentityTokenSpec(
        audiences=("vault", "api://AzureADTokenExchange"), duration=timedelta(minutes=15), signing_algorithm="ES384"
    )


@pytest.mark.parametrize("audience", ["vault", "[vault]"])
def test_audience_is_text_or_a_list_and_the_rest_has_defaults(
    configured: Callable[..., Configuration], audience: str
) -> None:
    (profile,) = configured(f"web_identity_token: {{audience: {audience}}}").profiles
    assert profile.web_identity_token == WebIdentityTokenSpec(
        audiences=("vault",), duration=timedelta(minutes=5), signing_algorithm="RS256"
    )


def test_profile_takes_single_keys_from_the_top_and_may_have_no_token(
    configured: Callable[..., Configuration],
) -> None:
    text = f"""
web_identity_token: {{audience: vault, duration_seconds: 600}}
profiles:
  - name: default
  - {{name: own, web_identity_token: {{audience: other}}}}
  - {{name: none, web_identity_token: {{audience: []}}}}
  - {{name: chained, source_profile: default, role_arn: "{ROLE_ARN}"}}
"""
    specs = {each.name: each.web_identity_token for each in configured(text).profiles}
    ten_minutes = timedelta(minutes=10)
    assert specs == {
        "default": WebIdentityTokenSpec(audiences=("vault",), duration=ten_minutes),
        "own": WebIdentityTokenSpec(audiences=("other",), duration=ten_minutes),
        "none": None,
        "chained": WebIdentityTokenSpec(audiences=("vault",), duration=ten_minutes),
    }


def test_all_faults_are_reported_at_once(configured: Callable[..., Configuration]) -> None:
    text = """
web_identity_token: {audiance: x, duration_seconds: 59, signing_algorithm: HS256}
profiles:
  - {name: a, web_identity_token: {audience: [""]}}
  - {name: b, web_identity_token: {audience: [x, x]}}
  - {name: c, web_identity_token: {audience: [a, b, c, d, e, f, g, h, i, j, k]}}
  - {name: d, web_identity_token: yes}
"""
    found = "\n".join(find_faults(configured, text))
    for part in (
        "web_identity_token.audiance: unknown setting (did you mean audience?)",
        "web_identity_token.duration_seconds: expected 60 or more; found '59'",
        "web_identity_token.signing_algorithm: expected 'RS256' or 'ES384'; found 'HS256'",
        "profiles.0.web_identity_token.audience: expected audiences of 1 to 1,000 printable characters",
        "profiles.1.web_identity_token.audience: an audience is listed twice; remove one of them",
        "profiles.2.web_identity_token.audience: expected at most 10 entries",
        "profiles.3.web_identity_token: expected keys with values",
    ):
        assert part in found


def test_token_without_an_audience_is_a_fault(configured: Callable[..., Configuration]) -> None:
    (fault,) = find_faults(configured, "web_identity_token: {duration_seconds: 60}")
    assert fault.startswith("web_identity_token.audience (BROKER_WEB_IDENTITY_TOKEN_AUDIENCE): not set; set it to")


def test_rejected_audience_is_not_reported_as_missing_too(configured: Callable[..., Configuration]) -> None:
    assert len(find_faults(configured, "web_identity_token: {audience: [' '], duration_seconds: 60}")) == 1


def test_token_that_outlives_the_session_is_a_fault(configured: Callable[..., Configuration]) -> None:
    (fault,) = find_faults(
        configured, "{duration_seconds: 1700, web_identity_token: {audience: x, duration_seconds: 1701}}"
    )
    assert fault.startswith("web_identity_token.duration_seconds: 1701 is longer than the session, which lasts 1700")


def test_global_endpoint_is_a_fault(configured: Callable[..., Configuration]) -> None:
    text = "web_identity_token: {audience: x}"
    (fault,) = find_faults(configured, text, AWS_ENDPOINT_URL_STS="https://sts.amazonaws.com")
    assert fault.startswith("web_identity_token: the endpoint sts.amazonaws.com issues no such tokens")
    regional = configured(text, AWS_ENDPOINT_URL_STS="https://sts.eu-west-1.amazonaws.com")
    assert regional.profiles[0].web_identity_token is not None
