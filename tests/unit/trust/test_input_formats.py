"""An input that is neither a policy nor a plan gets a message that names what to pass instead."""

from __future__ import annotations

import io
import json
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from broker.trust.commands import LintOptions, lint_files
from broker.trust.sources import find_sources

if TYPE_CHECKING:
    from pathlib import Path

RESOURCE = 'resource "aws_iam_role" "app" {\n  name = "app"\n}\n'
LOG = '{"@level":"info","type":"version"}\n{"@level":"info","type":"planned_change"}\n'


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("main.tf", RESOURCE, "`terraform show -json plan.out`"),
        ("main.tf", "# nothing yet\n", "Terraform configuration"),
        ("main.tf.json", json.dumps({"resource": {"aws_iam_role": {}}}), "`terraform show -json plan.out`"),
        ("roles.txt", f"# roles\n{RESOURCE}", "Terraform configuration"),
        ("plan.out", "PK\x03\x04binary", "a saved Terraform plan"),
        ("plan.log", LOG, "the log of `terraform plan -json`"),
        ("plan.txt", "Terraform will perform the following actions:\n", "a text, not JSON"),
        ("note.md", "The role trusts the cluster.\n", "a text, not JSON"),
        ("page.html", "<!doctype html><html></html>", "a web page"),
        ("stack.json", json.dumps({"Resources": {}}), "AssumeRolePolicyDocument in a file of its own"),
        ("empty.json", " \n", "the file is empty"),
        ("broken.json", '{"Statement": [}', "invalid JSON at line 1, column 16"),
        ("number.json", "12", "neither a policy with a Statement"),
    ],
)
def test_message_names_what_was_found(tmp_path: Path, name: str, content: str, fault: str) -> None:
    path = tmp_path / name
    path.write_text(content)
    (found,) = find_sources([str(path)]).faults
    assert found.startswith(f"{path}: ")
    assert fault in found
    assert lint_files([str(path)], LintOptions(allows_unjudged=True)) == 2


def test_empty_standard_input_names_the_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"\n")))
    (found,) = find_sources(["-"]).faults
    assert found == "standard input: nothing to read; the command before the pipe may have failed"
