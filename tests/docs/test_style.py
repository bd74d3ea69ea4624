"""Docs, messages, docstrings and comments are written in plain English."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.docs.style_rules import (
    MAXIMUM_WORDS,
    find_banned_words,
    find_banned_words_in_python,
    find_long_sentences,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXTS = {".md", ".py", ".tf", ".tftpl", ".hcl", ".toml", ".yaml", ".yml"}
NAMES = {"Dockerfile", "Makefile"}
HIDDEN_BUT_TRACKED = {".ci", ".github"}
LISTS_THE_WORDS = {"tests/docs/style_rules.py", "tests/docs/test_style.py"}


def sources() -> Iterator[Path]:
    """Yield the texts of the checkout. Hidden directories, which hold environments and caches, are left out."""
    for directory, below, names in os.walk(ROOT):
        below[:] = [name for name in below if name in HIDDEN_BUT_TRACKED or not name.startswith((".", "__", "node_"))]
        for name in names:
            path = Path(directory, name)
            if (path.suffix in TEXTS or name in NAMES) and str(path.relative_to(ROOT)) not in LISTS_THE_WORDS:
                yield path


def test_texts_use_no_banned_words() -> None:
    offences = []
    for path in sorted(sources()):
        find = find_banned_words_in_python if path.suffix == ".py" else find_banned_words
        offences += [f"{path.relative_to(ROOT)}:{line}: {words}" for line, words in find(path.read_text())]
    assert not offences, f"{len(offences)} banned expressions:\n" + "\n".join(offences)


def test_sentences_of_the_docs_are_short() -> None:
    offences = [
        f"{page.relative_to(ROOT)}:{line}: {words} words, {MAXIMUM_WORDS} at most"
        for page in PAGES
        for line, words in find_long_sentences(page.read_text())
    ]
    assert not offences, "\n".join(offences)


def test_every_kind_of_source_is_read() -> None:
    found = {str(path.relative_to(ROOT)) for path in sources()}
    assert found >= {
        ".github/PULL_REQUEST_TEMPLATE.md",
        "Makefile",
        "README.md",
        "broker/cli/main.py",
        "deploy/component/app.yaml",
        "docs/adr/0001-one-actor.md",
        "pyproject.toml",
        "terraform/modules/workload-role/main.tf",
        "tests/docs/test_docs.py",
    }
    assert not [name for name in found if ".venv" in name or "site-packages" in name]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It mends itself.", [(1, "mends")]),
        ("Nothing.\nWhoever asks is\ntold so.", [(2, "Whoever"), (2, "is told")]),
        ("This is no token, that is no longer one, and there is no other.", [(1, "is no token")]),
        ("an account in a\n box", [(1, "in a box")]),
        ("TILL then", [(1, "TILL")]),
        ("amend, recommend, tillage, `test_app_is_told`, stand-in, no-mend", []),
    ],
)
def test_banned_words_are_found_as_whole_words(text: str, expected: list[tuple[int, str]]) -> None:
    assert list(find_banned_words(text)) == expected


def test_python_is_searched_in_strings_and_comments_only() -> None:
    source = 'def mend(till):\n    """Mend it.\n\n    For ever.\n    """\n    return f"whoever {till}"  # hither\n'
    found = list(find_banned_words_in_python(source))
    assert [each for each in found if each[1] != "till"] == [
        (2, "Mend"),
        (4, "For ever"),
        (6, "whoever"),
        (6, "hither"),
    ]


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ("word " * 36, [(1, 36)]),
        ("word " * 35 + ".\n" + "word " * 35 + ".", []),
        ("# Title\n\nShort.\n" + "word\n" * 36, [(4, 36)]),
        ("```sh\n" + "word " * 50 + "\n```\n", []),
        ("| " + "word " * 50 + "|\n", []),
        ("- " + "word " * 20 + "\n- " + "word " * 20, []),
        ("`" + "word " * 50 + "` and [link](" + "w" * 50 + ")", []),
    ],
)
def test_long_sentences_are_found_in_prose_only(page: str, expected: list[tuple[int, int]]) -> None:
    assert list(find_long_sentences(page)) == expected
