"""`sts-broker trust`: the program's lint, explain and render, with their output and exit codes."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from sandbox.aws.account import provider_arn
from tests.support.fakes import make_jwt

if TYPE_CHECKING:
    from pathlib import Path

    from tests.process.pod import Pod
    from tests.support.program import Ended

pytestmark = pytest.mark.process

ISSUER = "oidc.process.example/cluster"
APP = "system:serviceaccount:demo:app"
ACCOUNT = "123456789012"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/app"
PROVIDER = provider_arn(f"https://{ISSUER}", ACCOUNT, "aws")


def policy(subject: str = APP, operator: str = "StringEquals", **changes: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    statement = {
        "Sid": "Trust",
        "Effect": "Allow",
        "Principal": {"Federated": PROVIDER},
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": {operator: {f"{ISSUER}:sub": subject, f"{ISSUER}:aud": "sts.amazonaws.com"}},
    }
    return {"Version": "2012-10-17", "Statement": [{**statement, **changes}]}


def save(pod: Pod, name: str, content: object) -> str:
    path = pod.root / name
    path.write_text(content if isinstance(content, str) else json.dumps(content, indent=2))
    return str(path)


@pytest.fixture
def good(pod: Pod) -> str:
    return save(pod, "good.json", policy())


@pytest.fixture
def weak(pod: Pod) -> str:
    return save(pod, "weak.json", policy("system:serviceaccount:*:app", "StringLike"))


def explain(pod: Pod, path: str, *arguments: str, **changes: str) -> Ended:
    return pod.run("trust", "explain", "--policy", path, *arguments, **changes)


def test_lint_without_findings_exits_0(pod: Pod, good: str) -> None:
    ended = pod.run("trust", "lint", "--issuer", f"https://{ISSUER}", good)
    assert (ended.code, ended.out, ended.err) == (0, "0 findings in 1 trust policy\n", "")


def test_lint_with_a_finding_exits_1_with_place_reason_and_fix(pod: Pod, good: str, weak: str) -> None:
    ended = pod.run("trust", "lint", good, weak)
    assert (ended.code, ended.err) == (1, "")
    assert f"{weak}:4: error: Trust: A subject with a wildcard before its last part: " in ended.out
    assert "[wildcard-subject]\n    why: " in ended.out
    assert ended.out.endswith("1 finding in 2 trust policies\n")


def test_unreadable_inputs_are_all_reported_and_exit_2(pod: Pod, weak: str) -> None:
    broken = save(pod, "broken.json", "{,")
    twisted = save(pod, "twisted.json", '{"Statement": 7}')
    ended = pod.run("trust", "lint", broken, weak, str(pod.root / "none.json"), twisted)
    assert ended.code == 2
    assert "[wildcard-subject]" in ended.out
    assert [line.partition(": ")[2].rpartition(": ")[0] for line in ended.err.splitlines()] == [
        f"{broken}: invalid JSON at line 1, column 2",
        str(pod.root / "none.json"),
        twisted,
    ]


def test_lint_reads_standard_input_and_prints_json(pod: Pod) -> None:
    ended = pod.run("trust", "lint", "--format", "json", "-", stdin=json.dumps(policy(Condition={})))
    document = json.loads(ended.out)
    assert ended.code == 1
    (finding,) = document["findings"]
    assert (finding["rule"], finding["file"], finding["statement"]) == ("no-condition", "standard input", "Trust")


def test_sarif_of_a_plan_names_the_resource(pod: Pod) -> None:
    plan = {
        "terraform_version": "1.11.4",
        "planned_values": {
            "root_module": {
                "child_modules": [
                    {
                        "resources": [
                            {
                                "address": "module.app.aws_iam_role.this",
                                "type": "aws_iam_role",
                                "values": {"assume_role_policy": json.dumps(policy("*", "StringLike"))},
                            }
                        ]
                    }
                ]
            }
        },
    }
    ended = pod.run("trust", "lint", "--format", "sarif", save(pod, "plan.json", plan))
    log = json.loads(ended.out)
    assert (ended.code, log["version"]) == (1, "2.1.0")
    (result,) = log["runs"][0]["results"]
    (location,) = result["locations"]
    assert result["ruleId"] == "wildcard-subject"
    assert location["logicalLocations"][0]["fullyQualifiedName"] == "module.app.aws_iam_role.this.Trust"
    assert location["physicalLocation"]["region"]["startLine"] > 1


def test_ignored_rule_is_skipped_and_misspelled_rule_gets_a_suggestion(pod: Pod, weak: str) -> None:
    assert pod.run("trust", "lint", "--ignore", "wildcard-subject", weak).code == 0
    ended = pod.run("trust", "lint", "--ignore", "wildcard-subjekt", weak)
    assert (ended.code, ended.out) == (2, "")
    assert "--ignore wildcard-subjekt: unknown rule (did you mean wildcard-subject?)." in ended.err


def test_misspelled_format_exits_2_with_a_suggestion(pod: Pod, good: str) -> None:
    ended = pod.run("trust", "lint", "--format", "sarfi", good)
    assert (ended.code, ended.out) == (2, "")
    assert "argument --format: sarfi: expected text, json, sarif (did you mean sarif?)" in ended.err


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["--account", "1234"], "--account is 1234; expected 12 digits."),
        (["--issuer", f"https://{ISSUER}/"], "--issuer: The issuer ends with a slash"),
        (["--issuer", f"http://{ISSUER}"], "--issuer: The issuer begins with http://"),
        (["--issuer", ISSUER], f"--issuer: '{ISSUER}' is not a valid URL."),
    ],
)
def test_option_that_matches_nothing_exits_2(pod: Pod, good: str, arguments: list[str], fault: str) -> None:
    ended = pod.run("trust", "lint", *arguments, good)
    assert (ended.code, ended.out) == (2, "")
    assert fault in ended.err


@pytest.mark.parametrize(
    ("arguments", "changes", "fault"),
    [
        (
            ["--session-name", "a b"],
            {},
            "(--session-name, AWS_ROLE_SESSION_NAME) is a b; expected 2 to 64 letters, digits and any of +=,.@_-.",
        ),
        ([], {"AWS_ROLE_SESSION_NAME": "x"}, "AWS_ROLE_SESSION_NAME) is x; expected 2 to 64 letters"),
        (["--role-arn", "app"], {}, "(--role-arn, AWS_ROLE_ARN) is app; expected arn:aws:iam::ACCOUNT:role/NAME."),
        ([], {"AWS_ROLE_ARN": "app"}, "(--role-arn, AWS_ROLE_ARN) is app; expected"),
    ],
)
def test_invalid_role_or_session_name_exits_2(
    pod: Pod, good: str, arguments: list[str], changes: dict[str, str], fault: str
) -> None:
    ended = explain(pod, good, *arguments, **changes)
    assert (ended.code, ended.out) == (2, "")
    assert fault in ended.err


def test_account_option_is_used(pod: Pod) -> None:
    bare: dict[str, Any] = {"Principal": {"AWS": ROLE}, "Action": "sts:AssumeRole", "Condition": {}}
    path = save(pod, "chained.json", policy(**bare))
    assert pod.run("trust", "lint", path).code == 1
    assert pod.run("trust", "lint", "--account", ACCOUNT, path).code == 0


def test_allowed_token_exits_0(pod: Pod, good: str) -> None:
    ended = explain(pod, good)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith("allowed: Trust allows this token\n")
    assert f"provider  {PROVIDER}\n" in ended.out
    assert "session   demo.app-7d9c5b6f8-x2x7k\n" in ended.out


def test_token_that_is_not_allowed_exits_1_with_the_change(pod: Pod) -> None:
    path = save(pod, "other.json", policy("system:serviceaccount:demo:other"))
    ended = explain(pod, path, "--token", str(pod.volume.path), AWS_WEB_IDENTITY_TOKEN_FILE="")
    assert ended.code == 1
    assert ended.out.startswith("not allowed: no statement allows this token\n")
    assert (
        f"  StringEquals {ISSUER}:sub\n"
        "    expected  system:serviceaccount:demo:other\n"
        f"    found     {APP}\n"
        f'    change    add "{APP}" to its values\n'
    ) in ended.out


def test_verdict_agrees_with_the_sandbox_sts(pod: Pod, good: str, weak: str) -> None:
    for number, (path, code) in enumerate([(good, 0), (weak, 0), (save(pod, "no.json", policy("x")), 4)]):
        with open(path) as file:  # noqa: PTH123 - a path is at hand
            role = pod.box.create_role(f"explained-{number}", trust_policy=json.load(file))
        assert pod.run("once", "--timeout", "2", AWS_ROLE_ARN=role).code == code
        assert explain(pod, path, "--role-arn", role).code == (1 if code else 0)


def test_explanation_as_json(pod: Pod) -> None:
    path = save(pod, "named.json", policy(Condition={"StringEquals": {"sts:RoleSessionName": "x"}}))
    ended = explain(pod, path, "--json", "--session-name", "demo.other", "--role-arn", ROLE)
    document = json.loads(ended.out)
    assert (ended.code, document["allowed"], document["session_name"]) == (1, False, "demo.other")
    (obstacle,) = document["statements"][0]["obstacles"]
    assert (obstacle["expected"], obstacle["found"]) == (["x"], ["demo.other"])
    assert obstacle["change"]["action"] == "add-value"
    assert document["token"]["subject"] == APP


def test_token_is_read_from_standard_input(pod: Pod, good: str) -> None:
    ended = explain(pod, good, "--token", "-", stdin=pod.tokens[0])
    assert ended.code == 0
    ended = explain(pod, "-", "--token", "-")
    assert (ended.code, ended.out) == (2, "")


def test_missing_token_exits_3(pod: Pod, good: str, tmp_path: Path) -> None:
    ended = explain(pod, good, "--token", str(tmp_path / "none"))
    assert (ended.code, ended.out) == (3, "")
    assert ended.err.endswith("[token_unavailable]\n")


def test_expired_token_is_explained_and_exits_3(pod: Pod, good: str) -> None:
    expired = pod.box.issuer.mint(issued_at=datetime.now(UTC) - timedelta(hours=2))
    pod.tokens.append(expired)
    ended = explain(pod, good, "--token", save(pod, "expired", expired))
    assert ended.code == 3
    assert ended.out.startswith("allowed: Trust allows this token\nbut STS would reject the token: ")
    assert "[token_expired]" in ended.out


def test_token_without_an_audience_exits_3(pod: Pod, good: str) -> None:
    ended = explain(pod, good, "--token", save(pod, "token", make_jwt(audience=[])))
    assert (ended.code, ended.out) == (3, "")
    assert "has no audience" in ended.err


def test_key_that_only_sts_knows_is_reported_in_the_text(pod: Pod) -> None:
    named = {f"{ISSUER}:pod": "x", "aws:RequestedRegion": "eu-west-1"}
    principal = {"Federated": PROVIDER.replace("cluster", "other")}
    ended = explain(pod, save(pod, "known.json", policy(Condition={"StringEquals": named}, Principal=principal)))
    assert ended.code == 1
    assert "    found     nothing: only STS knows this key, so it counts as absent here\n" in ended.out
    assert "    found     nothing\n" in ended.out
    assert f"  principal: Principal does not name Federated {PROVIDER}\n" in ended.out


def test_unreadable_policy_exits_2(pod: Pod) -> None:
    for content, message in (
        ("{", "invalid JSON"),
        ('{"Statement": [], "Statement": []}', "twice"),
        ('{"values": {}}', "found none"),
    ):
        ended = explain(pod, save(pod, "bad.json", content))
        assert (ended.code, ended.out) == (2, "")
        assert message in ended.err


def test_rendered_policy_has_no_findings_and_allows_the_token(pod: Pod) -> None:
    rendered = pod.run("trust", "render", AWS_ROLE_ARN=ROLE)
    assert (rendered.code, rendered.err) == (0, "")
    assert json.loads(rendered.out)["Statement"][0]["Principal"] == {"Federated": PROVIDER}
    assert pod.run("trust", "lint", "-", stdin=rendered.out).code == 0
    assert explain(pod, save(pod, "rendered.json", rendered.out), AWS_ROLE_ARN=ROLE).code == 0


def test_policy_is_rendered_from_options_without_a_token(pod: Pod) -> None:
    options = ["--issuer", "https://a.b", "--account", ACCOUNT, "--namespace", "shop", "--audience", "x"]
    ended = pod.run(
        "trust", "render", *options, "--service-account", "cart", "--service-account", "checkout",
        "--subject", APP, "--partition", "aws-cn", AWS_ROLE_ARN="", AWS_WEB_IDENTITY_TOKEN_FILE="/nowhere",
    )  # fmt: skip
    statement = json.loads(ended.out)["Statement"][0]
    assert statement["Principal"] == {"Federated": f"arn:aws-cn:iam::{ACCOUNT}:oidc-provider/a.b"}
    assert statement["Condition"]["StringEquals"] == {
        "a.b:aud": ["x"],
        "a.b:sub": [APP, "system:serviceaccount:shop:cart", "system:serviceaccount:shop:checkout"],
    }


def test_weak_policy_is_not_rendered(pod: Pod) -> None:
    ended = pod.run("trust", "render", "--account", ACCOUNT, "--subject", "system:serviceaccount:*:app")
    assert (ended.code, ended.out) == (2, "")
    assert "compares literally" in ended.err
