"""docs/outbound.md: its settings are valid, its claims are those of a token, and its commands exist in AWS's API."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import botocore.session
import jwt
import pytest
import yaml

from broker.core.web_identity_spec import WebIdentityTokenSpec
from broker.settings.loader import load
from sandbox.aws.outbound import OutboundFederation
from sandbox.aws.permissions import Permissions
from sandbox.aws.principals import Principal
from tests.deploy.rendering import example, needs_kubectl
from tests.support.fakes import EPOCH, ROLE_ARN

if TYPE_CHECKING:
    from broker.core.model import Configuration

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/outbound.md").read_text()
EVERYTHING = '{"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}'
SPEC = WebIdentityTokenSpec(audiences=("https://vault.example",))


def blocks(language: str) -> list[str]:
    """Return the code blocks of a language, without their indentation."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```", PAGE, re.MULTILINE | re.DOTALL)
    return [re.sub(rf"^{indent}", "", text, flags=re.MULTILINE) for indent, text in found]


def test_variables_of_the_page_give_the_profile_a_token() -> None:
    variables = dict(line.split("=", 1) for line in blocks("sh")[1].splitlines())
    (profile,) = load(variables).profiles
    assert profile.web_identity_token == SPEC


def test_file_of_the_page_gives_one_profile_a_token(tmp_path: Path) -> None:
    (text,) = blocks("yaml")
    (tmp_path / "broker.yaml").write_text(text)
    configuration: Configuration = load({"BROKER_CONFIG": str(tmp_path / "broker.yaml")})
    assert {each.name: each.web_identity_token for each in configuration.profiles} == {"default": None, "vault": SPEC}
    assert "`/var/run/aws/vault.jwt`" in PAGE
    assert yaml.safe_load(text)["profiles"][1]["web_identity_token"]["signing_algorithm"] == "RS256"


def test_commands_of_the_page_are_operations_of_iam() -> None:
    operations = botocore.session.Session().get_service_model("iam").operation_names
    commands = [line.removeprefix("aws iam ") for line in blocks("sh")[0].splitlines()]
    assert len(commands) == 2
    for command in commands:
        assert command.title().replace("-", "") in operations


def test_claims_of_the_page_are_those_of_a_token() -> None:
    federation = OutboundFederation()
    issuer = federation.enable("123456789012")
    principal = Principal(
        arn="arn:aws:sts::123456789012:assumed-role/app/x",
        entity_arn=ROLE_ARN,
        permissions=Permissions(identity=(EVERYTHING,)),
    )
    form = {"Audience.member.1": "https://vault.example", "SigningAlgorithm": "RS256"}
    token = federation.issue(form, principal, None, "eu-west-1", EPOCH)
    claims = jwt.decode(token.text, options={"verify_signature": False})
    rows = re.findall(r"^\| (`.*?) \|", PAGE.split("\n| claim |")[1].split("\n\n")[0], re.MULTILINE)
    assert sorted(name.strip("`") for row in rows for name in row.split(", ")) == sorted(claims)
    assert claims["sub"] == "arn:aws:iam::123456789012:role/app"
    assert re.fullmatch(r"https://[0-9a-f-]+\.tokens\.sts\.global\.api\.aws", issuer)
    document = federation.find_document("/.well-known/openid-configuration")
    assert document is not None
    assert json.loads(document)["jwks_uri"] == f"{issuer}/.well-known/jwks.json"


@needs_kubectl
def test_manifest_of_the_example_publishes_the_file_that_the_app_reads() -> None:
    pod = example("outbound").pod
    (broker,) = pod.brokers
    (profile,) = load(pod.environment(broker)).profiles
    assert profile.web_identity_token == SPEC
    file = next(each["value"] for each in pod.app["env"] if each["name"] == "VAULT_JWT_FILE")
    directory = file.rpartition("/")[0]
    assert file == f"/var/run/aws/{profile.name}.jwt"
    assert directory in {each["mountPath"] for each in pod.app["volumeMounts"]}


@pytest.mark.parametrize("service", ["Google Cloud", "Azure", "Snowflake", "Vault"])
def test_each_service_has_a_source(service: str) -> None:
    (row,) = re.findall(rf"^\| {service} \|.*$", PAGE, re.MULTILINE)
    assert "](https://" in row
