"""Run the real terraform, with a provider that is already on the machine, in a copy of the tree.

The copy keeps `.terraform`, lock files and states out of the checkout. Nothing is downloaded, and AWS is not called.
Tests are skipped with a message where terraform or the provider is missing.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted(path for path in (ROOT / "terraform/modules").iterdir() if path.is_dir())
EXAMPLES = sorted(path for path in (ROOT / "terraform/examples").iterdir() if path.is_dir())
_COPIED = ("terraform", "iam-policies")
_SECONDS = 120
PROGRAM = shutil.which("terraform") or ""
PLUGINS = next((str(path) for level in ("", "*/", "*/*/") for path in Path("/").glob(f"{level}tf-plugins")), "")
SETTINGS = {"CHECKPOINT_DISABLE": "1", "AWS_EC2_METADATA_DISABLED": "true", "GOGC": "400"}
"""Makes no network calls, and collects less garbage, which takes a quarter of the provider's time."""

needs_terraform = pytest.mark.skipif(not PROGRAM, reason="SKIPPED: terraform is not installed")
needs_provider = pytest.mark.skipif(
    not (PROGRAM and PLUGINS),
    reason="SKIPPED: terraform, or a folder tf-plugins with hashicorp/aws, is missing",
)
one_at_a_time = pytest.mark.xdist_group("terraform")


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A finished terraform command. `text` is all of its output on one line, so that line wrapping does not matter."""

    code: int
    out: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """A root module in the copied tree."""

    directory: Path

    def run(self, *arguments: str) -> Result:
        """Run a terraform command and return its result."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("TF_", "AWS_"))}
        done = subprocess.run(
            [PROGRAM, *arguments],
            cwd=self.directory,
            env={
                **environment,
                "CHECKPOINT_DISABLE": "1",
                "TF_IN_AUTOMATION": "1",
                "AWS_EC2_METADATA_DISABLED": "true",
            },
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
        words = f"{done.stdout}\n{done.stderr}".replace("│", " ").split()
        return Result(code=done.returncode, out=done.stdout, text=" ".join(words))

    def must(self, *arguments: str) -> Result:
        """Run a terraform command and assert that it succeeds."""
        ran = self.run(*arguments)
        assert ran.code == 0, f"terraform {' '.join(arguments)}: {ran.text}"
        return ran

    def init(self) -> None:
        """Install the provider and the modules from this machine."""
        self.must("init", "-input=false", "-no-color", f"-plugin-dir={PLUGINS}")

    def set_variables(self, variables: dict[str, Any]) -> None:
        """Replace the values of the variables."""
        (self.directory / "terraform.tfvars.json").write_text(json.dumps(variables))

    def outputs(self) -> dict[str, Any]:
        """Return the outputs of the last apply."""
        return {name: one["value"] for name, one in json.loads(self.must("output", "-json").out).items()}


def copy_tree(to: Path) -> Path:
    """Copy the folders that terraform reads."""
    for name in _COPIED:
        shutil.copytree(ROOT / name, to / name, ignore=shutil.ignore_patterns(".terraform*", "*.tfstate*"))
    return to
