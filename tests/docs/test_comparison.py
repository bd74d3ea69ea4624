"""The comparison with other programs: each cell has a source, and what is said of the broker is proven by a test."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/comparison.md").read_text()
HEAD, _, *ROWS = (
    [cell.strip() for cell in line.strip("|").split("|")] for line in re.findall(r"^\|.*\|$", PAGE, re.MULTILINE)
)
TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
LINK = re.compile(r"\[[^\]]+\]\((https://[^)\s]+)\)")
PINNED = re.compile(r"https://github\.com/[\w.-]+/[\w.-]+/(blob/([0-9a-f]{40}|\d+(\.\d+)+)/\S+|(issues|pull)/\d+)")


def find_tests(path: str) -> set[str]:
    """Return the names of the tests in a file, those in classes included."""
    tree = ast.parse((ROOT / path).read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


def test_every_row_has_a_cell_for_each_program() -> None:
    assert len(ROWS) > 10
    assert {len(row) for row in ROWS} == {len(HEAD)} == {7}
    assert len({row[0] for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_what_is_said_of_the_broker_names_tests_that_exist(row: list[str]) -> None:
    named = TEST.findall(row[1])
    assert named
    for path, name in named:
        assert name in find_tests(path), f"{path} has no {name}"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_what_is_said_of_others_links_to_a_source(row: list[str]) -> None:
    for program, cell in zip(HEAD[2:], row[2:], strict=True):
        assert LINK.search(cell), f"{program}: {cell}"


@pytest.mark.parametrize("address", sorted({address for row in ROWS for cell in row for address in LINK.findall(cell)}))
def test_source_on_github_is_of_one_version(address: str) -> None:
    """A branch would change under the page."""
    if address.startswith("https://github.com/"):
        assert PINNED.fullmatch(address)
