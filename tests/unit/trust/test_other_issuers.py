"""Trust policies for CI systems, SPIRE, GKE and AKS: rendered, linted and explained with their tokens."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from broker.cli.main import main
from broker.core.errors import ConfigurationError
from broker.trust.linter.lint import Expected, lint
from broker.trust.render_request import RenderOptions, resolve_identities
from broker.trust.render_subjects import WorkloadOptions
from tests.support.fakes import make_jwt
from tests.support.issuer_tokens import TOKENS, IssuedToken

if TYPE_CHECKING:
    from pathlib import Path

ACCOUNT = "123456789012"
by_name = pytest.mark.parametrize("issued", TOKENS, ids=lambda one: one.name)


def write_token(directory: Path, issued: IssuedToken, **changes: object) -> str:
    claims: dict[str, Any] = {"kubernetes.io": None, **issued.claims(datetime.now(UTC)), **changes}
    file = directory / "token.jwt"
    file.write_text(make_jwt(**claims))
    return str(file)


def render(capsys: pytest.CaptureFixture[str], *options: str) -> str:
    assert main(["trust", "render", "--account", ACCOUNT, *options]) == 0
    return capsys.readouterr().out


@by_name
def test_rendered_policy_has_no_findings_and_admits_the_token_alone(
    issued: IssuedToken, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = render(capsys, *issued.options)
    assert lint(text, Expected(issuer=issued.path, account=ACCOUNT)) == ()
    policy = tmp_path / "trust.json"
    policy.write_text(text)
    explain = ["trust", "explain", "--policy", str(policy), "--token", write_token(tmp_path, issued)]
    assert main(["trust", "lint", str(policy)]) == 0
    assert main(explain) == 0
    write_token(tmp_path, issued, sub=issued.neighbor)
    capsys.readouterr()
    assert main(explain) == 1
    assert issued.neighbor in capsys.readouterr().out


@by_name
def test_policy_from_the_token_is_the_policy_from_the_options(
    issued: IssuedToken, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from_token = render(capsys, "--token", write_token(tmp_path, issued))
    assert from_token == render(capsys, *issued.options)


@pytest.mark.parametrize(
    ("sid", "options"),
    [
        ("TrustGitHub", ("--issuer-kind", "github", "--repository", "o/r", "--environment", "prod:eu")),
        ("TrustGitLab", ("--issuer-kind", "gitlab", "--project-path", "g/s/p", "--ref-type", "tag", "--ref", "v1")),
        ("TrustSpiffe", ("--issuer-kind", "spiffe", "--spiffe-id", "spiffe://td/a", "--issuer", "https://td.example")),
        ("TrustCluster", ("--namespace", "n", "--service-account", "a", "--issuer", "https://o.example")),
    ],
)
def test_statement_is_named_after_the_kind(
    sid: str, options: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    (statement,) = json.loads(render(capsys, *options))["Statement"]
    assert statement["Sid"] == sid


def test_colon_in_the_name_of_an_environment_is_escaped_as_github_does(capsys: pytest.CaptureFixture[str]) -> None:
    text = render(capsys, "--issuer-kind", "github", "--repository", "o/r", "--environment", "prod:eu")
    assert '"repo:o/r:environment:prod%3Aeu"' in text


def test_github_enterprise_server_has_an_issuer_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    issuer = "https://github.acme.example/_services/token"
    text = render(capsys, "--issuer-kind", "github", "--issuer", issuer, "--repository", "o/r", "--ref", "refs/heads/m")
    assert lint(text, Expected(issuer=issuer.removeprefix("https://"))) == ()


def test_customized_subject_is_given_in_full(capsys: pytest.CaptureFixture[str]) -> None:
    subject = "repo:o/r:environment:prod:job_workflow_ref:o/shared/.github/workflows/w.yml@refs/heads/main"
    assert subject in render(capsys, "--issuer-kind", "github", "--subject", subject)


@pytest.mark.parametrize(
    ("options", "faults"),
    [
        ({"kind": "github", "repositories": ("o",)}, ["--repository is o;", "--ref or --environment is missing"]),
        ({"kind": "github", "repositories": ("o/r",), "ref": "refs/heads/m", "environment": "e"}, ["pass one of them"]),
        ({"kind": "github", "ref": "main"}, ["--repository is missing", "refs/heads/main, or refs/tags/"]),
        ({"kind": "github", "repositories": ("o@1/r",), "environment": "e"}, ["OWNER@ID/NAME@ID"]),
        (
            {"kind": "github", "namespaces": ("n",), "service_accounts": ("s",), "spiffe_ids": ("spiffe://a/b",)},
            [
                "--namespace is for --issuer-kind kubernetes; found --issuer-kind github.",
                "--service-account is for",
                "--spiffe-id is for --issuer-kind spiffe;",
            ],
        ),
        (
            {"kind": "gitlab", "project_paths": ("p",), "ref_type": "commit"},
            ["--project-path is p;", "--ref-type is commit; expected branch or tag.", "--ref is missing"],
        ),
        ({"kind": "gitlab", "ref": "refs/heads/main"}, ["--project-path is missing", "the short name: main."]),
        (
            {"kind": "spiffe", "spiffe_ids": ("cart",), "ref": "m"},
            ["--ref is for --issuer-kind github or gitlab", "cart", "--issuer is missing"],
        ),
        ({"repositories": ("o/r",), "namespaces": ("n",)}, ["--repository is for --issuer-kind github", "Found 1"]),
    ],
)
def test_bad_combinations_are_all_listed_at_once(options: dict[str, Any], faults: list[str]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        resolve_identities(
            RenderOptions(workloads=WorkloadOptions(**options)), role=None, read_claims=lambda _: pytest.fail("read")
        )
    assert len(caught.value.faults) == len(faults)
    for found, expected in zip(caught.value.faults, faults, strict=True):
        assert expected in found


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        (("--issuer-kind", "github", "--repository", "o/r", "--ref", "refs/heads/*"), "compares literally"),
        (("--issuer-kind", "spiffe", "--issuer", "https://td.example", "--spiffe-id", "spiffe://td"), "can't have"),
        (("--issuer-kind", "github", "--subject", "repo:o/r:pull_request"), "The subject of pull requests"),
        (("--issuer-kind", "github", "--subject", "environment:prod"), "names no owner"),
    ],
)
def test_policy_with_a_finding_is_not_rendered(
    options: tuple[str, ...], fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["trust", "render", "--account", ACCOUNT, *options]) == 2
    assert fault in capsys.readouterr().err


def test_unknown_kind_gets_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["trust", "render", "--issuer-kind", "gitlub"])
    assert "expected kubernetes, github, gitlab, spiffe" in capsys.readouterr().err
