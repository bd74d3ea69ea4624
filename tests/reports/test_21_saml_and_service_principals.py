"""Statements for SAML providers and AWS services are not read as statements for tokens; lint says what it skips."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from broker.trust.commands import LintOptions, lint_files

if TYPE_CHECKING:
    from pathlib import Path

SAML_PROVIDER = "arn:aws:iam::123456789012:saml-provider/Corp"
CLUSTER = "oidc.example/cluster"


def allow(principal: dict[str, Any], action: object, condition: dict[str, Any] | None = None) -> dict[str, Any]:
    statement = {"Effect": "Allow", "Principal": principal, "Action": action}
    return {**statement, "Condition": condition} if condition else statement


SAML = allow(
    {"Federated": SAML_PROVIDER},
    "sts:AssumeRoleWithSAML",
    {"StringEquals": {"SAML:aud": "https://signin.aws.amazon.com/saml"}},
)
SERVICE = allow({"Service": ["lambda.amazonaws.com", "ec2.amazonaws.com"]}, "sts:AssumeRole")
APP = allow(
    {"Federated": f"arn:aws:iam::123456789012:oidc-provider/{CLUSTER}"},
    "sts:AssumeRoleWithWebIdentity",
    {"StringEquals": {f"{CLUSTER}:sub": "system:serviceaccount:a:b", f"{CLUSTER}:aud": "sts.amazonaws.com"}},
)
RIGHT = {
    "saml": SAML,
    "several providers": allow({"Federated": [SAML_PROVIDER, f"{SAML_PROVIDER}2"]}, ["sts:AssumeRoleWithSAML"]),
    "with session tags": {**SAML, "Action": ["sts:AssumeRoleWithSAML", "sts:TagSession", "sts:SetSourceIdentity"]},
    "China": allow({"Federated": SAML_PROVIDER.replace("aws", "aws-cn", 1)}, "sts:AssumeRoleWithSAML"),
    "attributes": {
        **SAML,
        "Condition": {
            "StringLike": {"SAML:sub": "a b*"},
            "ForAnyValue:StringEquals": {"SAML:edupersonaffiliation": "x"},
        },
    },
    "service": SERVICE,
    "EKS Pod Identity": allow({"Service": "pods.eks.amazonaws.com"}, ["sts:AssumeRole", "sts:TagSession"]),
}


def save(path: Path, *statements: dict[str, Any]) -> str:
    path.write_text(json.dumps({"Version": "2012-10-17", "Statement": list(statements)}))
    return str(path)


@pytest.mark.parametrize("name", RIGHT)
def test_right_statement_has_no_findings_and_is_named(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = save(tmp_path / "trust.json", RIGHT[name])
    assert lint_files([policy], LintOptions(account="123456789012")) == 0
    shown = capsys.readouterr()
    assert shown.out == "0 findings in 1 trust policy\n"
    assert "statement 1: it is for" in shown.err
    assert "only its form was checked" in shown.err


def test_plan_with_all_kinds_of_roles_has_no_findings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    resources = [
        {
            "address": f"aws_iam_role.{name}",
            "type": "aws_iam_role",
            "mode": "managed",
            "values": {"assume_role_policy": json.dumps({"Version": "2012-10-17", "Statement": [one]})},
        }
        for name, one in {"sso": SAML, "app": APP, "job": SERVICE}.items()
    ]
    plan = {"format_version": "1.2", "planned_values": {"root_module": {"resources": resources}}}
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    assert lint_files([str(tmp_path / "plan.json")], LintOptions()) == 0
    shown = capsys.readouterr()
    assert shown.out == "0 findings in 3 trust policies\n"
    assert [line.partition("(")[2].partition(")")[0] for line in shown.err.splitlines()] == [
        "aws_iam_role.sso",
        "aws_iam_role.job",
    ]


def test_deny_of_a_saml_subject_is_not_read_as_a_service_account(tmp_path: Path) -> None:
    deny = {**SAML, "Effect": "Deny", "Condition": {"StringEquals": {"SAML:sub": "Jane Doe"}}}
    assert lint_files([save(tmp_path / "trust.json", SAML, deny)], LintOptions()) == 0


def test_action_for_tokens_with_a_saml_provider_is_a_finding(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = {**SAML, "Action": "sts:AssumeRoleWithWebIdentity"}
    assert lint_files([save(tmp_path / "trust.json", wrong)], LintOptions()) == 1
    assert "[other-principal]" in capsys.readouterr().out
