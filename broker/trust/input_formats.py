"""Describe an input of `sts-broker trust` that is neither a policy nor a plan, and what to pass instead.

The code is pure. It never quotes the input, which may have secrets.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from broker.policy.document import Node

SHOW_PLAN = "terraform show -json plan.out"
_PLAN_STEPS = f"run `terraform plan -out plan.out`, and pass the output of `{SHOW_PLAN}`"
_CONFIGURATION_NAME = re.compile(r"\.(?:tf|tofu|hcl|tfvars)(?:\.json)?$")
_CONFIGURATION_BLOCK = re.compile(
    r"^\s*(?:resource|data|module|variable|output|provider|terraform|locals)\b[^\n{=]*\{", re.MULTILINE
)
_CONFIGURATION_KEYS = ("resource", "module", "variable", "provider", "terraform", "locals")
_NEITHER = "neither a policy with a Statement, nor the output of `terraform show -json`"


def describe(path: str, text: str) -> str:
    """Return what a text that isn't JSON is, and what to pass instead; "" where it looks like JSON with a mistake."""
    if _CONFIGURATION_NAME.search(path) or _CONFIGURATION_BLOCK.search(text):
        return f"Terraform configuration, whose values are unknown here; {_PLAN_STEPS}"
    start = text.lstrip()
    if start.startswith('{"@level"'):
        return f"the log of `terraform plan -json`, which has no values; {_PLAN_STEPS}"
    if start.startswith(("{", "[", '"')):
        return ""
    if start.startswith("<"):
        return "a web page or another XML document, not JSON; expected a policy or the output of `terraform show -json`"
    return "a text, not JSON; expected a policy, or the output of `terraform show -json` with its option -json"


def describe_json(root: Node) -> str:
    """Return what a JSON document is that has no policy, and what to pass instead."""
    if "Role" in root.members:
        return f"{_NEITHER}; for a role, pass the output of --query Role.AssumeRolePolicyDocument"
    if "Resources" in root.members:
        return f"{_NEITHER}; of a CloudFormation template, pass each AssumeRolePolicyDocument in a file of its own"
    if any(key in root.members for key in _CONFIGURATION_KEYS):
        return f"Terraform configuration, whose values are unknown here; {_PLAN_STEPS}"
    return _NEITHER
