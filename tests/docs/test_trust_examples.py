"""The README's trust examples run unchanged, and use existing modules and variables."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import hcl2

from tests.support.fakes import make_jwt

ROOT = Path(__file__).parents[2]
SECTION = (ROOT / "README.md").read_text().split("## IAM trust")[1].split("\n## ")[0]
(MODULES,) = re.findall(r"```hcl\n(.*?)```", SECTION, re.DOTALL)
(COMMANDS,) = re.findall(r"```sh\n(.*?)```", SECTION, re.DOTALL)


def blocks_of(text: str, kind: str) -> dict[str, dict[str, Any]]:
    """Return the blocks of one kind by name, each with its arguments."""
    found: dict[str, dict[str, Any]] = {}
    for block in hcl2.loads(text).get(kind, []):
        for name, arguments in block.items():
            found[name.strip('"')] = arguments
    return found


def test_readme_passes_existing_variables_to_the_modules() -> None:
    modules = blocks_of(MODULES, "module")
    assert set(modules) == {"cluster", "role"}
    for arguments in modules.values():
        directory = ROOT / str(arguments["source"]).strip('"')
        variables = blocks_of((directory / "variables.tf").read_text(), "variable")
        given = {name for name in arguments if not name.startswith("__") and name != "source"}
        must_be_set = {name for name, variable in variables.items() if "default" not in variable}
        assert must_be_set <= given <= set(variables)


def test_commands_run_unchanged(tmp_path: Path) -> None:
    """The last command calls an issuer on the internet, so only its arguments are checked."""
    *here, outside = COMMANDS.replace("\\\n", "").strip().splitlines()
    assert outside.split("#")[0].split() == ["sts-broker", "issuer", "check", "https://oidc.example/cluster"]
    token = make_jwt(issued_at=datetime.now(UTC), sub="system:serviceaccount:payments:api")
    (tmp_path / "token.jwt").write_text(token)  # its issuer is that of the example
    script = "\n".join(["set -e", f'sts-broker() {{ "{sys.executable}" -m broker "$@"; }}', *here])
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
