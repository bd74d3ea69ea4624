"""docs/architecture.md agrees with the tree: packages, layers, imports, the path of a token, secrets."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
ARCHITECTURE = (ROOT / "docs/architecture.md").read_text()


def test_package_table_is_the_package() -> None:
    packages = {path.parent.name for path in (ROOT / "broker").glob("*/__init__.py")}
    section = ARCHITECTURE.split("## The packages")[1].split("\n## ")[0]
    assert set(re.findall(r"^\| `broker/(\w+)/` \|", section, re.MULTILINE)) == packages


def test_layers_of_the_diagram_are_those_that_are_enforced() -> None:
    diagram = ARCHITECTURE.split("## The packages")[1].split("```")[1]
    drawn = [set(re.findall(r"[a-z]+", line)) - {"imports", "go", "down"} for line in diagram.strip().splitlines()]
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = (each["layers"] for each in contracts if each.get("containers") == ["broker"])
    assert drawn == [set(layer.split(" | ")) for layer in layers if layer != "__main__"]


def test_package_table_lists_what_each_package_imports() -> None:
    section = ARCHITECTURE.split("## The packages")[1].split("\n## ")[0]
    allowed = dict(re.findall(r"^\| `broker/(\w+)/` \|.*\| ([^|]+) \|$", section, re.MULTILINE))
    for package, names in allowed.items():
        if package != "cli":
            assert find_imported_packages(package) <= set(names.split(", ")), package


def find_imported_packages(package: str) -> set[str]:
    """Return the other packages of the broker that this one imports, type checking included."""
    found = set()
    for path in (ROOT / "broker" / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module == "broker":
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("broker."):
                found.add(str(node.module).split(".")[1])
    return {name for name in found if (ROOT / "broker" / name).is_dir()} - {package}


def test_path_of_a_token_names_modules_and_what_they_define() -> None:
    section = ARCHITECTURE.split("## The path of a token")[1].split("```")[0]
    steps = re.findall(r"^\d+\. (.*?)(?=^\d+\. |\Z)", section, re.DOTALL | re.MULTILINE)
    assert len(steps) >= 10
    for step in steps:
        modules = re.findall(r"`(broker/[\w/]+\.py)`", step)
        assert modules, step
        defined = set().union(*(find_definitions(ROOT / module) for module in modules))
        for name in re.findall(r"`(\w+)` in\s+`broker/", step):
            assert name in defined, f"{name}: {', '.join(modules)}"


def find_definitions(module: Path) -> set[str]:
    """Return the names of the classes and functions that a module defines."""
    kinds = (ast.ClassDef, ast.FunctionDef)
    return {node.name for node in ast.walk(ast.parse(module.read_text())) if isinstance(node, kinds)}


def test_modules_in_the_architecture_exist() -> None:
    for module in re.findall(r"`((?:broker|sandbox)/[\w/]+(?:\.py|/))`", ARCHITECTURE):
        assert (ROOT / module).exists(), module


def test_modules_that_reveal_secrets_are_documented() -> None:
    section = ARCHITECTURE.split("## Secrets")[1]
    revealing = {
        str(path.relative_to(ROOT)) for path in (ROOT / "broker").rglob("*.py") if ".reveal()" in path.read_text()
    }
    assert set(re.findall(r"^\| `(broker/[\w/]+\.py)` \|", section, re.MULTILINE)) == revealing


def test_rules_in_the_architecture_are_nine() -> None:
    section = ARCHITECTURE.split("## When to refresh")[1].split("The **lead**")[0]
    assert re.findall(r"^(\d)\. ", section, re.MULTILINE) == list("123456789")
