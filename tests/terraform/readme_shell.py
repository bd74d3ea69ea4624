"""Run a README's commands unchanged, in a copy of its folder.

`terraform` is a wrapper of the real program: it uses the provider on this machine, and does not ask for approval. Tests
supply `aws` and `oc`.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.terraform.workspace import PLUGINS, PROGRAM, ROOT, SETTINGS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.terraform.workspace import Workspace

_TERRAFORM = f"""#!/bin/sh
verb=$1; shift
case $verb in
  init) exec {PROGRAM} init -input=false -no-color -plugin-dir={shlex.quote(PLUGINS)} "$@" ;;
  apply) for each in "$@"; do echo "$each"; done > applied.arguments
    exec {PROGRAM} apply -auto-approve -input=false -no-color "$@" ;;
  *) exec {PROGRAM} "$verb" "$@" ;;
esac
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shell:
    """The commands of one example's README."""

    workspace: Workspace

    def files(self) -> None:
        """Write the files whose content the README shows."""
        text = (self._source / "README.md").read_text()
        for name, content in re.findall(r"`([\w.]+)`:\n\n```hcl\n(.*?)```", text, re.DOTALL):
            (self.workspace.directory / name).write_text(content)

    def run(self, programs: Mapping[str, str] | None = None, **environment: str) -> str:
        """Run the only block of commands and return its output. `programs` are shell scripts by name."""
        (block,) = re.findall(r"```sh\n(.*?)```", (self._source / "README.md").read_text(), re.DOTALL)
        folder = self.workspace.directory / "bin"
        folder.mkdir(exist_ok=True)
        for name, script in {"terraform": _TERRAFORM, **(programs or {})}.items():
            (folder / name).write_text(script)
            (folder / name).chmod(0o755)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("TF_", "AWS_"))}
        done = subprocess.run(
            ["bash", "-euc", block],
            cwd=self.workspace.directory,
            env={**kept, **SETTINGS, "PATH": f"{folder}:{os.environ['PATH']}", **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @property
    def _source(self) -> Path:
        return ROOT / "terraform/examples" / self.workspace.directory.name
