"""docs/trust.md: its table lists the rules, its commands run unchanged, and its output is what they print."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from broker.policy.provider_claims import AS_OF, KNOWN_PROVIDERS
from broker.trust.linter.rules import RULES
from tests.docs import tables
from tests.support.fakes import make_jwt

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs/trust.md").read_text()
COMMANDS = re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL)
OUTPUTS = re.findall(r"```text\n(.*?)```", GUIDE, re.DOTALL)
HOOKS, WORKFLOW = (yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL))
PROVIDER = "arn:aws:iam::123456789012:oidc-provider/oidc.example/cluster"
APP = "system:serviceaccount:demo:app"


def policy(subject: str = APP, operator: str = "StringEquals") -> dict[str, Any]:
    named = {"oidc.example/cluster:sub": subject, "oidc.example/cluster:aud": "sts.amazonaws.com"}
    statement = {
        "Sid": "TrustCluster",
        "Effect": "Allow",
        "Principal": {"Federated": PROVIDER},
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": {operator: named},
    }
    return {"Version": "2012-10-17", "Statement": [statement]}


CHAINED = {
    "Version": "2012-10-17",
    "Statement": {
        "Effect": "Allow",
        "Principal": {"AWS": "arn:aws:iam::123456789012:role/base"},
        "Action": "sts:AssumeRole",
    },
}
WEAK = policy("system:serviceaccount:*:app", "StringLike")
OTHER = policy("system:serviceaccount:demo:other")
RUNS = {
    "sts-broker trust lint trust.json": (1, {"trust.json": WEAK}),
    "terraform show -json plan.out": (0, {}),
    "terraform show -json |": (0, {}),
    "sts-broker trust lint --account": (
        0,
        {"chained.json": CHAINED, "namespace.json": policy("system:serviceaccount:demo:*", "StringLike")},
    ),
    "sts-broker trust lint --format json": (0, {"trust.json": WEAK}),
    "sts-broker trust explain --policy trust.json": (1, {"trust.json": OTHER}),
    "aws iam get-role": (0, {}),
    "sts-broker trust render --token": (0, {}),
    "sts-broker trust render --account": (0, {}),
}
"""The start of each block, its exit code, and the policy files that it needs."""


def run(script: str, directory: Path, policies: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    """Run a script in a directory with these policies, a token, a Terraform plan with a role, and a role in AWS."""
    for name, content in policies.items():
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).write_text(json.dumps(content, indent=2))
    role = {
        "address": "aws_iam_role.app",
        "type": "aws_iam_role",
        "values": {"assume_role_policy": json.dumps(policy())},
    }
    (directory / "plan").write_text(
        json.dumps({"terraform_version": "1", "planned_values": {"root_module": {"resources": [role]}}})
    )
    (directory / "role").write_text(json.dumps(policy()))
    (directory / "token.jwt").write_text(make_jwt(issued_at=datetime.now(UTC)))
    replacements = [
        f'sts-broker() {{ "{sys.executable}" -m broker "$@"; }}',
        "terraform() { cat plan; }",
        "aws() { cat role; }",
    ]
    return subprocess.run(
        ["bash", "-c", "\n".join(["set -e", *replacements, script])],
        cwd=directory,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_table_lists_the_rules() -> None:
    assert tables.trust_rules_table() in GUIDE


def test_providers_and_their_claims_are_listed_with_the_date() -> None:
    rows = dict(re.findall(r"^\| ([^|]+) \| [^|]+ \| ([^|]+) \|$", GUIDE, re.MULTILINE))
    for provider in KNOWN_PROVIDERS:
        assert re.findall(r"`([^`]+)`", rows[provider.name]) == sorted(provider.keys)
    assert f"as of {AS_OF}" in GUIDE


def test_every_block_has_a_run() -> None:
    assert len(COMMANDS) == len(RUNS)
    for block, beginning in zip(COMMANDS, RUNS, strict=True):
        assert block.startswith(beginning)


@pytest.mark.parametrize("block", COMMANDS, ids=list(RUNS))
def test_commands_run_unchanged(tmp_path: Path, block: str) -> None:
    code, policies = next(outcome for beginning, outcome in RUNS.items() if block.startswith(beginning))
    done = run(block, tmp_path, policies)
    assert (done.returncode, done.stderr) == (code, "")


def test_output_equals_what_the_commands_print(tmp_path: Path) -> None:
    linted = run("sts-broker trust lint trust.json", tmp_path, {"trust.json": WEAK}).stdout
    explained = run(
        "sts-broker trust explain --policy trust.json --token token.jwt", tmp_path, {"trust.json": OTHER}
    ).stdout
    assert OUTPUTS[0] == linted
    assert mask_fingerprint(OUTPUTS[1]) == mask_fingerprint(explained)


def mask_fingerprint(text: str) -> str:
    return re.sub(r"\b[0-9a-f]{12}\b from", "from", text, count=1)


@pytest.mark.parametrize(("content", "code"), [(policy(), 0), (WEAK, 1)])
def test_pre_commit_hook_lints_policies(tmp_path: Path, content: dict[str, Any], code: int) -> None:
    (hook,) = HOOKS["repos"][0]["hooks"]
    assert re.search(hook["files"], "policies/app/trust.json")
    done = run(f"{hook['entry']} policies/trust.json", tmp_path, {"policies/trust.json": content})
    assert (done.returncode, done.stderr) == (code, "")


def test_workflow_uploads_findings_of_a_failed_lint(tmp_path: Path) -> None:
    _, lint, upload = WORKFLOW["jobs"]["trust"]["steps"]
    done = run(lint["run"], tmp_path, {"policies/trust.json": WEAK})
    assert (done.returncode, done.stderr) == (1, "")
    log = json.loads((tmp_path / upload["with"]["sarif_file"]).read_text())
    assert [result["ruleId"] for result in log["runs"][0]["results"]] == ["wildcard-subject"]
    assert upload["if"] == "always()"


def test_named_rules_exist() -> None:
    for name in re.findall(r"--ignore ([a-z-]+)", GUIDE):
        assert name in RULES
