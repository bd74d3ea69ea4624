"""docs/audit.md: its table lists the rules, its commands run, its output and pictures are what the program makes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from broker.trust.audit.cluster import GET_MANIFESTS
from broker.trust.audit.rules import AUDIT_RULES
from tests.docs import audit_pictures, tables
from tests.policies.templates import ROOT
from tests.support.audited_account import (
    AUTHORIZATION_DETAILS,
    ISSUER,
    MANIFESTS,
    ROLE_LIST,
    describe_provider,
    provider_arn,
    role_arn,
)

if TYPE_CHECKING:
    from pathlib import Path

GUIDE = (ROOT / "docs/audit.md").read_text()
COMMANDS = [re.sub(r"^ +", "", one, flags=re.MULTILINE) for one in re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL)]
(OUTPUT,) = re.findall(r"```text\n(.*?)```", GUIDE, re.DOTALL)
SHOWN = ("cart", "reports")
"""The roles in the files of the examples."""


def choose(document: dict[str, Any], key: str) -> dict[str, Any]:
    """Return what the CLI prints for an account with two roles."""
    return {key: [one for one in document[key] if one["Arn"] in map(role_arn, SHOWN)]}


FILES = {
    "details.json": choose(AUTHORIZATION_DETAILS, "RoleDetailList"),
    "roles.json": choose(ROLE_LIST, "Roles"),
    "providers.json": {"OpenIDConnectProviderList": [{"Arn": provider_arn()}]},
    "cluster-provider.json": describe_provider(ISSUER),
    "cluster.json": MANIFESTS,
}


def run_example(command: str, directory: Path) -> subprocess.CompletedProcess[str]:
    """Run a command of the page in a directory with its files, and with a kubectl that prints the manifests."""
    for name, document in FILES.items():
        (directory / name).write_text(json.dumps(document, indent=2))
    script = f'sts-broker() {{ "{sys.executable}" -m broker "$@"; }}\nkubectl() {{ cat cluster.json; }}\n{command}'
    return subprocess.run(
        ["bash", "-c", script],
        cwd=directory,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "HOME": str(directory)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_rules_table_is_generated_from_the_rules() -> None:
    assert tables.audit_rules_table() in GUIDE
    assert all(f"`{rule}`" in GUIDE for rule in AUDIT_RULES)


def test_example_with_files_prints_the_output_of_the_page(tmp_path: Path) -> None:
    (command,) = (one for one in COMMANDS if "cluster-provider.json" in one)
    done = run_example(command, tmp_path)
    assert (done.returncode, done.stderr) == (1, "")
    assert [line.rstrip() for line in done.stdout.splitlines()] == OUTPUT.splitlines()


def test_pipeline_example_writes_sarif_and_names_what_was_not_read(tmp_path: Path) -> None:
    (command,) = (one for one in COMMANDS if "--format sarif" in one)
    done = run_example(command, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "aws iam list-open-id-connect-providers" in done.stderr
    assert json.loads((tmp_path / "audit.sarif").read_text())["version"] == "2.1.0"


@pytest.mark.parametrize("part", ["--profile security", "kubectl"])
def test_examples_that_read_iam_have_valid_options(part: str, tmp_path: Path) -> None:
    """They end where the credentials are missing; tests/moto_backed runs the same options to the end."""
    (command,) = (one for one in COMMANDS if part in one)
    done = run_example(f"export AWS_EC2_METADATA_DISABLED=true AWS_REGION=eu-west-1\n{command}", tmp_path)
    assert done.returncode == 2
    assert "--profile" in done.stderr
    assert "usage:" not in done.stderr


def test_command_for_manifests_is_that_of_the_messages() -> None:
    assert any(one.startswith(f"{GET_MANIFESTS} |") for one in COMMANDS)


def test_picture_of_the_tables_is_what_the_program_prints() -> None:
    """Made by `python -m tests.docs.audit_pictures`."""
    assert audit_pictures.TABLES.read_text(encoding="utf-8") == audit_pictures.draw_tables()


def test_picture_of_the_page_is_a_small_png() -> None:
    picture = audit_pictures.PAGE.read_bytes()
    assert picture.startswith(b"\x89PNG\r\n")
    assert len(picture) < 150_000
