"""lint, explain and render agree on issuers and accounts, and refuse what IAM refuses."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from broker.core.errors import ConfigurationError
from broker.trust.commands import ExplainOptions, LintOptions, explain_token, lint_files
from broker.trust.linter.lint import Expected, lint
from broker.trust.render import TrustedIdentities, render
from tests.support.fakes import make_jwt
from tests.unit.trust.trust_statements import ACCOUNT, APP, ISSUER, PROVIDER, web

if TYPE_CHECKING:
    from pathlib import Path

OTHER = "210987654321"


def save(tmp_path: Path, *statements: dict[str, Any]) -> str:
    path = tmp_path / "trust.json"
    path.write_text(json.dumps({"Version": "2012-10-17", "Statement": list(statements)}))
    return str(path)


def save_token(tmp_path: Path, issuer: str) -> str:
    path = tmp_path / "token"
    path.write_text(make_jwt(issued_at=datetime.now(UTC) - timedelta(minutes=1), iss=f"https://{issuer}"))
    return str(path)


def for_issuer(issuer: str) -> dict[str, Any]:
    statement: dict[str, Any] = json.loads(json.dumps(web()).replace(ISSUER, issuer))
    return statement


@pytest.mark.parametrize("issuer", ["oidc.example/c/", "oidc.example/", "oidc.example:6443/c", "oidc.example//c"])
def test_issuer_that_iam_does_not_accept_is_refused_by_every_verb(
    issuer: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = save(tmp_path, for_issuer(issuer))
    assert lint_files([policy], LintOptions()) == 1
    assert "[provider-spelling]" in capsys.readouterr().out
    options = ExplainOptions(policy=policy, token=save_token(tmp_path, issuer))
    assert explain_token(options, {}) == 3
    shown = capsys.readouterr().out
    assert shown.startswith(
        "not allowed: IAM accepts no provider for this token's issuer\nSTS would reject the token: "
    )
    with pytest.raises(ConfigurationError):
        render(TrustedIdentities(issuer=f"https://{issuer}", audiences=("a",), subjects=(APP,), account=ACCOUNT))


@pytest.mark.parametrize("issuer", ["oidc.example/c", "kubernetes.default.svc", "minio.internal/x"])
def test_private_issuer_is_not_refused_because_aws_cannot_reach_it(
    issuer: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = save(tmp_path, for_issuer(issuer))
    assert lint_files([policy], LintOptions()) == 0
    capsys.readouterr()
    explain_token(ExplainOptions(policy=policy, token=save_token(tmp_path, issuer)), {})
    assert "IAM accepts no provider" not in capsys.readouterr().out


def test_provider_of_another_account_is_a_finding() -> None:
    text = json.dumps({"Version": "2012-10-17", "Statement": web()})
    assert lint(text, Expected(account=ACCOUNT)) == ()
    (finding,) = lint(text, Expected(account=OTHER))
    assert finding.rule.id == "other-account"
    assert finding.detail == f"{PROVIDER} is in account {ACCOUNT}; the role is in {OTHER}"


def test_providers_of_two_accounts_are_a_finding_with_and_without_an_account() -> None:
    second = web(Sid="B", Principal={"Federated": PROVIDER.replace(ACCOUNT, OTHER)})
    text = json.dumps({"Version": "2012-10-17", "Statement": [web(Sid="A"), second]})
    (finding,) = lint(text, Expected())
    assert (finding.rule.id, finding.statement) == ("other-account", "")
    (finding,) = lint(text, Expected(account=ACCOUNT))
    assert (finding.rule.id, finding.statement) == ("other-account", "B")


@pytest.mark.parametrize(("length", "is_accepted"), [(255, True), (256, False)])
def test_audience_has_at_most_255_characters(length: int, *, is_accepted: bool) -> None:
    identities = TrustedIdentities(
        issuer=f"https://{ISSUER}", audiences=("a" * length,), subjects=(APP,), account=ACCOUNT
    )
    if is_accepted:
        assert "a" * length in render(identities)
    else:
        with pytest.raises(ConfigurationError, match="256 characters; IAM accepts 255"):
            render(identities)


@pytest.mark.parametrize("pattern", ["*", "system:serviceaccount:demo:app", "system:*:*:*", "arn:*:*:*:*:*"])
def test_arn_operator_on_a_subject_never_allows(
    pattern: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    statement = web(
        Condition={"ArnLike": {f"{ISSUER}:sub": pattern}, "StringEquals": {f"{ISSUER}:aud": "sts.amazonaws.com"}}
    )
    policy = save(tmp_path, statement)
    assert explain_token(ExplainOptions(policy=policy, token=save_token(tmp_path, ISSUER)), {}) == 1
    assert "change" not in capsys.readouterr().out
    assert lint_files([policy], LintOptions()) == 1
