"""Generate the tables in the modules' READMEs: `python -m tests.terraform.tables` writes them; a test compares."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tests.terraform import sources
from tests.terraform.workspace import EXAMPLES, MODULES

if TYPE_CHECKING:
    from pathlib import Path

_MARKED = re.compile(r"(<!-- (\w+) -->\n).*?(<!-- /\2 -->)", re.DOTALL)
_REGISTRY = "https://registry.terraform.io/providers"


def with_tables(module: Path) -> str:
    """Return a module's README with up-to-date tables. Raises KeyError for a marker that names no table."""
    text = (module / "README.md").read_text()
    return _MARKED.sub(lambda found: f"{found[1]}{_TABLES[found[2]](module)}\n{found[3]}", text)


def _write_requirements(module: Path) -> str:
    rows = [f"| {one.name} | `{one.version}` |" for one in sources.requirements(module)]
    return "\n".join(["| requirement | version |", "| --- | --- |", *rows])


def _write_providers(module: Path) -> str:
    rows = [
        f"| {one.name} | [{one.source}]({_REGISTRY}/{one.source}/latest) | `{one.version}` |"
        for one in sources.requirements(module)
        if one.source
    ]
    return "\n".join(["| provider | source | version |", "| --- | --- | --- |", *rows])


def _write_resources(module: Path) -> str:
    addresses = {one.name: one.source for one in sources.requirements(module)}
    rows = []
    for one in sources.resources(module):
        provider, _, page = one.type.partition("_")
        kind = "data-sources" if one.is_data else "resources"
        link = f"{_REGISTRY}/{addresses[provider]}/latest/docs/{kind}/{page}"
        rows.append(
            f"| [{one.type}.{one.name}]({link}) | {'data source' if one.is_data else 'resource'} | `{one.number}` |"
        )
    return "\n".join(["| name | kind | how many |", "| --- | --- | --- |", *rows])


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


_TABLES = {
    "requirements": _write_requirements,
    "providers": _write_providers,
    "resources": _write_resources,
    "inputs": _write_inputs,
    "outputs": _write_outputs,
}


if __name__ == "__main__":
    for one in [*MODULES, *EXAMPLES]:
        (one / "README.md").write_text(with_tables(one))
