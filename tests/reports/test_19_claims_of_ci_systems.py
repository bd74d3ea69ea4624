"""Condition keys of GitHub Actions, GitLab.com, Buildkite, CircleCI, OCI and Google are known, with their date.

AWS's list: docs.aws.amazon.com/service-authorization/latest/reference/list_sts.html. GitHub's
subjects with IDs: aws-actions/configure-aws-credentials#1888.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from broker.policy.provider_claims import AS_OF
from broker.trust.commands import ExplainOptions, LintOptions, explain_token, lint_files
from tests.support.fakes import make_jwt

if TYPE_CHECKING:
    from pathlib import Path

GITHUB = "token.actions.githubusercontent.com"
CIRCLE = "oidc.circleci.com/org/11111111-2222-3333-4444-555555555555"
GITHUB_SUBJECT = "repo:acme@101/shop@202:ref:refs/heads/main"
CIRCLE_SUBJECT = "org/11111111-2222-3333-4444-555555555555/project/p1/user/u1"
OCI = "idcs-0a1b2c3d.identity.oraclecloud.com"

CASES: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = [
    (GITHUB, GITHUB_SUBJECT, {"repository_owner_id": "101", "repository_id": "202"}, {"repository_owner_id": "101"}),
    (GITHUB, GITHUB_SUBJECT, {"environment": "prod", "ref": "refs/heads/main"}, {"environment": "prod"}),
    (f"{GITHUB}/acme", GITHUB_SUBJECT, {"enterprise_id": 7}, {"enterprise_id": "7"}),
    ("token.actions.acme.ghe.com", GITHUB_SUBJECT, {"actor": "octocat"}, {"actor": "octocat"}),
    (CIRCLE, CIRCLE_SUBJECT, {"oidc.circleci.com/project-id": "p1"}, {"oidc.circleci.com/project-id": "p1"}),
    (OCI, "ocid1.instance.x", {"rpst_id": "ocid1.tenancy.x"}, {"rpst_id": "ocid1.tenancy.x"}),
    ("gitlab.com", "project_path:acme/shop:ref_type:branch:ref:main", {"project_id": "4"}, {"project_id": "4"}),
    ("gitlab.com", "project_path:acme/shop:ref_type:tag:ref:v1", {"ref_protected": True}, {"ref_protected": "true"}),
    ("agent.buildkite.com", "organization:acme:pipeline:shop", {"organization_id": "o"}, {"organization_id": "o"}),
    (
        "accounts.google.com",
        "103837",
        {"google": {"organization_number": 515}},
        {"google/organization_number": "515"},
    ),
    ("accounts.google.com", "103837", {"google:organization_number": 515}, {"google/organization_number": "515"}),
]


def write_policy(
    path: Path, issuer: str, keys: dict[str, Any], operator: str = "StringEquals", principal: str = ""
) -> str:
    condition = {operator: {f"{issuer}:{key}": value for key, value in keys.items()}}
    statement = {
        "Effect": "Allow",
        "Principal": {"Federated": principal or f"arn:aws:iam::123456789012:oidc-provider/{issuer}"},
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": condition,
    }
    path.write_text(json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    return str(path)


def write_token(path: Path, issuer: str, subject: str, claims: dict[str, Any]) -> str:
    now = datetime.now(UTC) - timedelta(minutes=1)
    kubernetes: dict[str, Any] = {"kubernetes.io": None}
    path.write_text(make_jwt(issued_at=now, iss=f"https://{issuer}", sub=subject, **kubernetes, **claims))
    return str(path)


def explain(policy: str, token: str) -> int:
    return explain_token(ExplainOptions(policy=policy, token=token), {})


@pytest.mark.parametrize(("issuer", "subject", "claims", "keys"), CASES)
def test_documented_key_is_accepted_and_compared_with_the_claim(
    issuer: str, subject: str, claims: dict[str, Any], keys: dict[str, Any], tmp_path: Path
) -> None:
    common = {"sub": subject, "aud": "sts.amazonaws.com"}
    policy = write_policy(tmp_path / "policy.json", issuer, {**common, **keys})
    token = write_token(tmp_path / "token", issuer, subject, claims)
    assert lint_files([policy], LintOptions()) == 0
    assert explain(policy, token) == 0
    other = write_policy(tmp_path / "other.json", issuer, {**common, **dict.fromkeys(keys, "else")})
    assert explain(other, token) == 1


def test_google_is_a_principal_of_its_own_and_its_number_is_compared_as_one(tmp_path: Path) -> None:
    keys = {"sub": "103837", "aud": "client", "google/organization_number": "515"}
    issuer = "accounts.google.com"
    token = write_token(tmp_path / "token", issuer, "103837", {"google": {"organization_number": 515}, "azp": "client"})
    policy = write_policy(tmp_path / "policy.json", issuer, keys, principal=issuer)
    assert lint_files([policy], LintOptions()) == 0
    assert explain(policy, token) == 0
    document = json.loads((tmp_path / "policy.json").read_text())
    condition = document["Statement"][0]["Condition"]
    condition["NumericEquals"] = {f"{issuer}:google/organization_number": 515}
    del condition["StringEquals"][f"{issuer}:google/organization_number"]
    (tmp_path / "policy.json").write_text(json.dumps(document))
    assert lint_files([policy], LintOptions()) == 0
    assert explain(policy, token) == 0


def test_key_that_the_list_lacks_is_a_finding_that_names_the_date(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = {"sub": GITHUB_SUBJECT, "aud": "sts.amazonaws.com", "repository_owner": "acme"}
    policy = write_policy(tmp_path / "policy.json", GITHUB, keys)
    assert lint_files([policy], LintOptions()) == 1
    shown = capsys.readouterr().out
    assert f"AWS's list of {AS_OF} has no repository_owner for GitHub Actions [unknown-key]" in shown
    assert "never" not in shown


@pytest.mark.parametrize("issuer", ["ci.example.com", "app.terraform.io"])
def test_claim_of_an_unknown_issuer_is_not_judged(
    issuer: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = {"sub": "organization:acme:run", "aud": "sts.amazonaws.com", "workspace_id": "ws-1"}
    policy = write_policy(tmp_path / "policy.json", issuer, keys)
    token = write_token(tmp_path / "token", issuer, "organization:acme:run", {"workspace_id": "ws-1"})
    options = LintOptions(ignored=["subject-form"])
    assert lint_files([policy], options) == 3
    assert f"{issuer}:workspace_id: AWS's list of {AS_OF} has no claims of this issuer" in capsys.readouterr().err
    assert lint_files([policy], LintOptions(ignored=["subject-form"], allows_unjudged=True)) == 0
    capsys.readouterr()
    assert explain(policy, token) == 1
    shown = capsys.readouterr().out
    assert "not judged" in shown
    assert "remove" not in shown
    assert "change" not in shown


def test_absent_claim_of_a_known_provider_gets_no_advice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keys = {"sub": GITHUB_SUBJECT, "aud": "sts.amazonaws.com", "environment": "prod"}
    policy = write_policy(tmp_path / "policy.json", GITHUB, keys)
    assert explain(policy, write_token(tmp_path / "token", GITHUB, GITHUB_SUBJECT, {})) == 1
    shown = capsys.readouterr().out
    assert "found     nothing: the token has no claim environment" in shown
    assert "change" not in shown


@pytest.mark.parametrize(
    ("subject", "rule"),
    [
        ("repo:acme/shop:*", "broad-subject"),
        ("repo:acme@101/*", "broad-subject"),
        ("repo:*", "wildcard-subject"),
        ("repo:acme*", "wildcard-subject"),
        ("*", "wildcard-subject"),
    ],
)
def test_wildcard_in_a_shared_issuer_needs_an_owner_before_it(
    subject: str, rule: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = write_policy(tmp_path / "policy.json", GITHUB, {"sub": subject}, "StringLike")
    assert lint_files([policy], LintOptions(ignored=["missing-audience"])) == 1
    assert f"[{rule}]" in capsys.readouterr().out


def test_exact_id_restricts_like_a_subject(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keys = {"repository_id": "202", "aud": "sts.amazonaws.com"}
    assert lint_files([write_policy(tmp_path / "policy.json", GITHUB, keys)], LintOptions()) == 0
    wide = write_policy(tmp_path / "wide.json", GITHUB, {**keys, "repository_id": "*"}, "StringLike")
    capsys.readouterr()
    assert lint_files([wide], LintOptions()) == 1
    assert "[missing-subject]" in capsys.readouterr().out
