"""Runs the real terraform, with a provider that is already on the machine, in a copy of the tree.

Rules: the copy keeps `.terraform`, locks and states out of the checkout; nothing is downloaded; no AWS is asked.
Where terraform or the provider is not there, tests are skipped and say so.
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
"""Calls nobody, and collects less garbage, which takes a quarter of the provider's time."""

needs_terraform = pytest.mark.skipif(not PROGRAM, reason="SKIPPED: there is no terraform on this machine")
needs_provider = pytest.mark.skipif(
    not (PROGRAM and PLUGINS),
    reason="SKIPPED: no terraform, or no folder tf-plugins with hashicorp/aws, on this machine",
)
one_at_a_time = pytest.mark.xdist_group("terraform")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """A terraform command that has ended; `text` is all that it wrote, on one line: wrapping does not matter."""

    code: int
    out: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """A root module in the copy."""

    directory: Path

    def run(self, *arguments: str) -> Ran:
        """Run terraform to its end."""
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
        return Ran(code=done.returncode, out=done.stdout, text=" ".join(words))

    def must(self, *arguments: str) -> Ran:
        """Run terraform to its end, which must be a good one."""
        ran = self.run(*arguments)
        assert ran.code == 0, f"terraform {' '.join(arguments)}: {ran.text}"
        return ran

    def init(self) -> None:
        """Install the provider and the modules, from this machine."""
        self.must("init", "-input=false", "-no-color", f"-plugin-dir={PLUGINS}")

    def give(self, variables: dict[str, Any]) -> None:
        """Set variables, in place of what was set before."""
        (self.directory / "terraform.tfvars.json").write_text(json.dumps(variables))

    def outputs(self) -> dict[str, Any]:
        """Return the outputs of what was applied."""
        return {name: one["value"] for name, one in json.loads(self.must("output", "-json").out).items()}


def copy_tree(to: Path) -> Path:
    """Copy what terraform reads."""
    for name in _COPIED:
        shutil.copytree(ROOT / name, to / name, ignore=shutil.ignore_patterns(".terraform*", "*.tfstate*"))
    return to
