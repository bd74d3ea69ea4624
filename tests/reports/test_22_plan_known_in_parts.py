"""Lint judges what a plan knows of a trust policy, and never exits with 0 on what it did not judge."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from broker.trust.commands import ExplainOptions, LintOptions, explain_token, lint_files
from tests.support.fakes import make_jwt

if TYPE_CHECKING:
    from pathlib import Path

ISSUER = "oidc.example/cluster"
GOOD = [
    {"test": "StringEquals", "variable": f"{ISSUER}:sub", "values": ["system:serviceaccount:shop:cart"]},
    {"test": "StringEquals", "variable": f"{ISSUER}:aud", "values": ["sts.amazonaws.com"]},
]


def document(conditions: object, unknown_conditions: object, **changes: object) -> dict[str, Any]:
    """Return a trust policy document that is read during the apply, because its provider is created by it."""
    statement = {
        "sid": None,
        "effect": "Allow",
        "actions": ["sts:AssumeRoleWithWebIdentity"],
        "not_actions": None,
        "condition": conditions,
        "principals": [{"type": "Federated"}],
    }
    unknown = {"actions": [False], "condition": unknown_conditions, "principals": [{"identifiers": True}]}
    change = {
        "actions": ["read"],
        "after": {"statement": [statement]},
        "after_unknown": {"id": True, "json": True, "statement": [unknown]},
    }
    return {
        "address": "data.aws_iam_policy_document.trust",
        "mode": "data",
        "type": "aws_iam_policy_document",
        "change": {**change, **changes},
    }


ROLE = {
    "address": "aws_iam_role.cart",
    "mode": "managed",
    "type": "aws_iam_role",
    "change": {"actions": ["create"], "after": {"name": "cart"}, "after_unknown": {"assume_role_policy": True}},
}


def lint(tmp_path: Path, *changes: dict[str, Any], **options: Any) -> int:  # noqa: ANN401 - of LintOptions
    plan = {"format_version": "1.2", "terraform_version": "1.9.8", "resource_changes": list(changes)}
    (tmp_path / "plan.json").write_text(json.dumps(plan, indent=1))
    return lint_files([str(tmp_path / "plan.json")], LintOptions(**options))


def test_known_parts_are_judged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wide = [{"test": "StringLike", "variable": f"{ISSUER}:sub", "values": ["system:serviceaccount:*:*"]}]
    assert lint(tmp_path, document(wide, [{"values": [False]}]), ROLE) == 1
    shown = capsys.readouterr()
    assert {line.rpartition("[")[2] for line in shown.out.splitlines() if line.endswith("]")} == {
        "wildcard-subject]",
        "missing-audience]",
    }
    assert "plan.json:" in shown.out
    assert "data.aws_iam_policy_document.trust statement 1:" in shown.out
    assert "not judged" in shown.err
    assert "aws_iam_role.cart is unknown until the plan is applied" in shown.err


def test_good_parts_without_the_provider_are_not_judged_as_good(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert lint(tmp_path, document(GOOD, [{"values": [False]}, {"values": [False]}])) == 3
    shown = capsys.readouterr()
    assert shown.out == "0 findings in 1 trust policy, 1 part not judged\n"
    assert "statement 1: Principal unknown until the plan is applied" in shown.err
    assert "pass --allow-unjudged" in shown.err


def test_option_accepts_what_cannot_be_judged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert lint(tmp_path, ROLE) == 3
    assert lint(tmp_path, ROLE, allows_unjudged=True) == 0
    assert "not judged" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("conditions", "unknown"),
    [
        ([{"test": "StringEquals", "variable": f"{ISSUER}:sub"}, GOOD[1]], [{"values": True}, {"values": [False]}]),
        ([{**GOOD[0], "values": [None]}, GOOD[1]], [{"values": [True]}, {"values": [False]}]),
        ([{"test": "StringEquals", "values": ["x"]}, GOOD[1]], [{"variable": True, "values": [False]}, {}]),
        ([{"variable": f"{ISSUER}:sub", "values": ["x"]}, GOOD[1]], [{"test": True}, {}]),
        (None, True),
        ([None], [True]),
    ],
)
def test_unknown_condition_has_no_findings_and_is_not_judged(
    conditions: object, unknown: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert lint(tmp_path, document(conditions, unknown)) == 3
    assert "Principal and Condition unknown until the plan is applied" in capsys.readouterr().err


def test_document_that_others_are_merged_into_is_not_judged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = document(GOOD, [{}, {}])
    one["change"]["after"]["statement"][0]["principals"][0]["identifiers"] = [
        f"arn:aws:iam::123456789012:oidc-provider/{ISSUER}"
    ]
    one["change"]["after_unknown"]["statement"][0]["principals"] = [{"identifiers": [False]}]
    assert lint(tmp_path, one) == 0
    one["change"]["after_unknown"]["override_policy_documents"] = True
    assert lint(tmp_path, one) == 3
    assert "override_policy_documents of data.aws_iam_policy_document.trust is merged" in capsys.readouterr().err


def test_document_for_a_bucket_is_skipped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = document(None, None)
    one["change"]["after"]["statement"][0]["actions"] = ["s3:GetObject"]
    assert lint(tmp_path, one) == 0
    assert "the plan has no trust policy" in capsys.readouterr().err


def test_role_without_text_or_unknown_is_not_judged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    role = {"address": "aws_iam_role.cart", "type": "aws_iam_role", "values": {"name": "cart"}}
    (tmp_path / "plan.json").write_text(json.dumps({"planned_values": {"root_module": {"resources": [role]}}}))
    assert lint_files([str(tmp_path / "plan.json")], LintOptions()) == 3
    assert "aws_iam_role.cart has no trust policy here" in capsys.readouterr().err


def test_deferred_changes_are_not_judged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "plan.json").write_text(json.dumps({"format_version": "1.2", "complete": False}))
    assert lint_files([str(tmp_path / "plan.json")], LintOptions()) == 3
    assert "leaves changes for later plans" in capsys.readouterr().err


def test_explain_refuses_a_policy_known_in_parts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lint(tmp_path, document(GOOD, [{}, {}]))
    (tmp_path / "token").write_text(make_jwt())
    capsys.readouterr()
    options = ExplainOptions(policy=str(tmp_path / "plan.json"), token=str(tmp_path / "token"))
    assert explain_token(options, {}) == 2
    assert "knows its trust policy only in parts" in capsys.readouterr().err
