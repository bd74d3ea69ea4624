"""The page of `sts-broker trust audit --html` in a real browser: sorted, filtered, and silent on the network."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from broker.trust.audit.html_report import render_page
from tests.support.audited_account import ISSUER, MANIFESTS, PROVIDERS, ROLES, for_tokens, trust
from tests.support.chromium import Page, find_chromium
from tests.unit.trust.audit.auditing import run_audit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(not find_chromium(), reason="chromium is not installed: the page was not opened in a browser"),
]
HOSTILE = '<img src="https://hostile.example/x" onerror="window.hostile = 1"><script>window.hostile = 2</script>'
LIST_CELLS = """
[...document.querySelectorAll("#TABLE tbody tr")].filter((row) => !row.hidden).map((row) => row.cells[CELL].textContent)
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    directory: Path = tmp_path_factory.mktemp("browser")
    policies: dict[str, Any] = {**ROLES, HOSTILE: trust(for_tokens(f"{HOSTILE}*", Sid="Hostile"))}
    result = run_audit(policies, MANIFESTS, providers={**PROVIDERS, HOSTILE: [HOSTILE]})
    file = directory / "audit.html"
    file.write_text(render_page(result, now=datetime(2026, 11, 30, tzinfo=UTC)), encoding="utf-8")
    with Page(directory / "profile") as opened:
        opened.open(file)
        yield opened


def list_cells(page: Page, table: str, cell: int) -> list[str]:
    found: list[str] = page.run(LIST_CELLS.replace("TABLE", table).replace("CELL", str(cell)))
    return found


def click_head(page: Page, table: str, cell: int) -> str | None:
    """Click the head of a column. Return its aria-sort."""
    head = f"document.querySelectorAll('#{table} th')[{cell}]"
    page.run(f"{head}.querySelector('button').click()")
    order: str | None = page.run(f"{head}.getAttribute('aria-sort')")
    return order


def test_column_is_sorted_up_and_down(page: Page) -> None:
    before = list_cells(page, "matrix", 3)
    assert click_head(page, "matrix", 0) == "ascending"
    subjects = list_cells(page, "matrix", 0)
    assert subjects == sorted(subjects, key=str.lower)
    assert click_head(page, "matrix", 0) == "descending"
    assert list_cells(page, "matrix", 0)[0] == subjects[-1]
    assert sorted(list_cells(page, "matrix", 3)) == sorted(before)


def test_durations_are_sorted_by_their_length(page: Page) -> None:
    click_head(page, "roles", 2)
    numbers = [int(one) for one in list_cells(page, "roles", 2)]
    assert numbers == sorted(numbers)


def test_filter_keeps_matching_rows(page: Page) -> None:
    field = "document.querySelector('#findings').previousElementSibling.querySelector('input')"
    page.run(f"{field}.value = 'POD-refused'; {field}.dispatchEvent(new Event('input'))")
    assert list_cells(page, "findings", 1) == ["Deployment shop/web"]
    page.run(f"{field}.value = ''; {field}.dispatchEvent(new Event('input'))")
    assert len(list_cells(page, "findings", 1)) > 5


def test_hostile_name_is_text_and_runs_nothing(page: Page) -> None:
    assert page.run("window.hostile ?? 0") == 0
    assert any(HOSTILE in cell for cell in list_cells(page, "roles", 0))
    assert page.run("document.querySelectorAll('img').length") == 0


def test_page_requests_nothing_and_reports_nothing(page: Page) -> None:
    """Runs after the tests above, so that it judges what they did as well."""
    requested = [event["request"]["url"] for method, event in page.events if method == "Network.requestWillBeSent"]
    assert [url for url in requested if not url.startswith(("file://", "data:"))] == []
    assert any(url.endswith("/audit.html") for url in requested)
    complaints = ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown")
    assert [json.dumps(event) for method, event in page.events if method in complaints] == []


def test_browser_reports_what_the_policy_of_the_page_blocks(tmp_path: Path) -> None:
    """Proves that the test above would notice a request: without the template's escaping, there is one."""
    text = render_page(run_audit(ROLES, providers=PROVIDERS), now=datetime(2026, 11, 30, tzinfo=UTC))
    file = tmp_path / "broken.html"
    file.write_text(text.replace("<h1>", f"{HOSTILE}<h1>"), encoding="utf-8")
    with Page(tmp_path / "profile") as opened:
        opened.open(file)
        blocked = [event["entry"]["text"] for method, event in opened.events if method == "Log.entryAdded"]
        assert any("Content Security Policy" in one for one in blocked)
        assert opened.run("window.hostile ?? 0") == 0


def test_page_names_the_cluster(page: Page) -> None:
    assert f"https://{ISSUER}" in page.run("document.body.textContent")
