"""Generate the tables in the modules' READMEs: `python -m tests.terraform.tables` writes them; a test compares."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tests.terraform import sources
from tests.terraform.workspace import EXAMPLES, MODULES

if TYPE_CHECKING:
    from pathlib import Path

_MARKED = re.compile(r"(<!-- (inputs|outputs) -->\n).*?(<!-- /\2 -->)", re.DOTALL)


def with_tables(module: Path) -> str:
    """Return a module's README with up-to-date tables."""
    tables = {"inputs": _write_inputs(module), "outputs": _write_outputs(module)}
    text = (module / "README.md").read_text()
    return _MARKED.sub(lambda found: f"{found[1]}{tables[found[2]]}\n{found[3]}", text)


def _write_inputs(module: Path) -> str:
    rows = [
        f"| `{one.name}` | `{one.type}` | {'must be set' if one.default is None else f'`{one.default}`'} "
        f"| {one.description} |"
        for one in sources.variables(module)
    ]
    return "\n".join(["| input | type | default | meaning |", "| --- | --- | --- | --- |", *rows])


def _write_outputs(module: Path) -> str:
    rows = [f"| `{one.name}` | {one.description} |" for one in sources.outputs(module)]
    return "\n".join(["| output | meaning |", "| --- | --- |", *rows])


if __name__ == "__main__":
    for one in [*MODULES, *EXAMPLES]:
        (one / "README.md").write_text(with_tables(one))
