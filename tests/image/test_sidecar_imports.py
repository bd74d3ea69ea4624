"""The sidecar's packages do not import operator tools when they are loaded, so that its image works without them."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from image.contents import OPERATOR_PACKAGES, SIDECAR_PACKAGES

BROKER = Path(__file__).parents[2] / "broker"


def imports_at_load(node: ast.AST) -> Iterator[str]:
    """Yield the modules imported below `node`, except inside functions and `if TYPE_CHECKING`."""
    match node:
        case ast.Import(names=names):
            yield from (name.name for name in names)
        case ast.ImportFrom(module=str(module), names=names):
            yield module
            yield from (f"{module}.{name.name}" for name in names)
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return
        case _:
            for child in ast.iter_child_nodes(node):
                yield from imports_at_load(child)


@pytest.mark.parametrize("package", sorted(SIDECAR_PACKAGES))
def test_package_of_the_sidecar_imports_no_operator_tool_at_load(package: str) -> None:
    modules = sorted((BROKER / package).rglob("*.py"))
    assert modules
    operator_tools = tuple(f"broker.{name}" for name in OPERATOR_PACKAGES)
    found = {
        f"{module.relative_to(BROKER)}: {imported}"
        for module in modules
        for imported in imports_at_load(ast.parse(module.read_text(encoding="utf-8")))
        if imported.startswith(operator_tools)
    }
    assert found == set()
