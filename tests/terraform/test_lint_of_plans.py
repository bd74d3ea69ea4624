"""`sts-broker trust lint` on plans and states of the real terraform."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from sandbox.aws.account import MotoAccount, act_in
from tests.terraform import on_moto
from tests.terraform.workspace import Workspace, needs_provider, one_at_a_time

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [one_at_a_time, needs_provider]
COMMON = """
terraform {
  required_providers {
    aws = { source = "hashicorp/aws" }
  }
}

provider "aws" { region = "eu-west-1" }

data "aws_caller_identity" "current" {}

locals { provider_arn = "arn:aws:iam::123456789012:oidc-provider/oidc.example/blue" }
"""
BEFORE = """
resource "aws_iam_role" "goes" {
  name               = "goes"
  assume_role_policy = jsonencode({ Statement = [{ Effect = "Allow", Principal = "*", Action = "*" }] })
}

resource "aws_iam_role" "changes" {
  name               = "changes"
  assume_role_policy = jsonencode({ Statement = [{ Effect = "Allow", Principal = "*", Action = "*" }] })
}
"""
AFTER = """
resource "aws_iam_openid_connect_provider" "new" {
  url            = "https://oidc.example/new"
  client_id_list = ["sts.amazonaws.com"]
}

data "aws_iam_policy_document" "unpinned" {
  statement {
    sid     = "Unpinned"
    actions = ["sts:AssumeRoleWithWebIdentity"]
    principals {
      type        = "Federated"
      identifiers = [local.provider_arn]
    }
    condition {
      test     = "StringEquals"
      variable = "oidc.example/blue:aud"
      values   = ["sts.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "from_data" {
  name               = "from-data"
  assume_role_policy = data.aws_iam_policy_document.unpinned.json
}

resource "aws_iam_role" "changes" {
  name = "changes"
  assume_role_policy = jsonencode({ Version = "2012-10-17", Statement = [{
    Effect    = "Allow"
    Principal = { Federated = aws_iam_openid_connect_provider.new.arn }
    Action    = "sts:AssumeRoleWithWebIdentity"
  }] })
}

data "aws_iam_policy_document" "late" {
  statement {
    sid     = "Late"
    actions = ["sts:AssumeRoleWithWebIdentity"]
    principals {
      type        = "Federated"
      identifiers = [aws_iam_openid_connect_provider.new.arn]
    }
    condition {
      test     = "StringLike"
      variable = "oidc.example/new:sub"
      values   = ["system:serviceaccount:*:*"]
    }
  }
}

resource "aws_iam_role" "late" {
  name               = "late"
  assume_role_policy = data.aws_iam_policy_document.late.json
}

resource "aws_iam_role" "sibling" {
  name = "sibling"
  assume_role_policy = jsonencode({ Version = "2012-10-17", Statement = {
    Effect = "Allow", Principal = { AWS = "arn:aws:iam::123456789012:role/goes" }, Action = "sts:AssumeRole"
  } })
}

module "many" {
  source       = "./many"
  provider_arn = local.provider_arn
}
"""
BROKEN = """
data "aws_iam_policy_document" "none" {
  lifecycle {
    postcondition {
      condition     = self.json == ""
      error_message = "Never."
    }
  }
}

resource "aws_iam_role" "broken" {
  name               = "broken"
  assume_role_policy = data.aws_iam_policy_document.none.json
}
"""
MODULE = """
variable "provider_arn" { type = string }

resource "aws_iam_role" "this" {
  for_each = { exact = "system:serviceaccount:payments:api", "all of them" = "*" }

  name = replace("many-${each.key}", " ", "-")
  assume_role_policy = jsonencode({ Version = "2012-10-17", Statement = {
    Sid       = "Trust"
    Effect    = "Allow"
    Principal = { Federated = var.provider_arn }
    Action    = "sts:AssumeRoleWithWebIdentity"
    Condition = {
      (each.value == "*" ? "StringLike" : "StringEquals") = {
        "oidc.example/blue:sub" = each.value, "oidc.example/blue:aud" = "sts.amazonaws.com"
      }
    }
  } })
}
"""
WEAK = [
    ("aws_iam_role.from_data", "Unpinned", "missing-subject"),
    ('module.many.aws_iam_role.this["all of them"]', "Trust", "wildcard-subject"),
]
LATE = ("wildcard-subject", "missing-audience")
UNKNOWN = """\
sts-broker: not judged: plan.json: the trust policy of aws_iam_role.changes is unknown until the plan is applied
sts-broker: not judged: plan.json: the trust policy of aws_iam_role.late is unknown until the plan is applied
sts-broker: not judged: plan.json (data.aws_iam_policy_document.late): Late: Principal unknown until the plan is applied
"""


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """Apply two roles, of which later plans destroy one and change the other."""
    directory = tmp_path_factory.mktemp("plans")
    (directory / "many").mkdir()
    (directory / "many/main.tf").write_text(MODULE)
    (directory / "main.tf").write_text(COMMON + BEFORE)
    workspace = Workspace(directory=directory)
    account = MotoAccount()
    try:
        on_moto.point(workspace, account.url, act_in("123456789012"))
        workspace.init()
        workspace.must("apply", "-auto-approve", "-input=false", "-no-color")
        yield workspace
    finally:
        account.stop()


def lint(file: Path, text: str) -> tuple[int, list[tuple[str, str, str]], str]:
    """Return the exit code, the findings and the messages on standard error."""
    file.write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "broker", "trust", "lint", "--format", "json", file.name],
        cwd=file.parent,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    found: list[dict[str, Any]] = json.loads(done.stdout)["findings"]
    return done.returncode, [(one["address"], one["statement"], one["rule"]) for one in found], done.stderr


def test_plan_is_checked_by_its_future_values(workspace: Workspace) -> None:
    (workspace.directory / "main.tf").write_text(COMMON + AFTER)
    workspace.init()
    workspace.must("plan", "-input=false", "-no-color", "-out=plan.out")
    plan = workspace.must("show", "-json", "plan.out").out
    assert {"aws_iam_role.goes", "aws_iam_role.changes"} <= {
        one["address"] for one in json.loads(plan)["prior_state"]["values"]["root_module"]["resources"]
    }
    code, found, messages = lint(workspace.directory / "plan.json", plan)
    assert (code, found) == (1, [*WEAK, *(("data.aws_iam_policy_document.late", "Late", rule) for rule in LATE)])
    assert messages == UNKNOWN

    workspace.must("apply", "-input=false", "-no-color", "plan.out")
    late = [("aws_iam_role.late", "Late", rule) for rule in LATE]
    for form in (("show", "-json"), ("state", "pull")):
        code, found, messages = lint(workspace.directory / "state.json", workspace.must(*form).out)
        expected = [("aws_iam_role.changes", "statement 1", "no-condition"), *WEAK, *late]
        assert (code, sorted(found), messages) == (1, sorted(expected), ""), form


def test_failed_plan_exits_2(workspace: Workspace) -> None:
    (workspace.directory / "main.tf").write_text(COMMON + BROKEN)
    failed = workspace.run("plan", "-input=false", "-no-color", "-out=failed.out")
    assert (failed.code, "Never." in failed.text) == (1, True), failed.text
    plan = workspace.must("show", "-json", "failed.out").out
    assert lint(workspace.directory / "failed.json", plan) == (
        2,
        [],
        "sts-broker: failed.json: the Terraform plan failed, so it is incomplete; plan again without errors\n",
    )
