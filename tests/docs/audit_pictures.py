"""The pictures of docs/audit.md: the tables as SVG, and the page as PNG.

`python -m tests.docs.audit_pictures` makes them. The PNG needs Chromium; without it, the old one stays.
"""

from __future__ import annotations

import io
import re
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from broker.trust.audit.html_report import render_page
from broker.trust.audit.tables import write_tables
from tests.support.audited_account import MANIFESTS, PROVIDERS, ROLES
from tests.support.chromium import Page, find_chromium
from tests.unit.trust.audit.auditing import run_audit

DOCS = Path(__file__).parents[2] / "docs"
TABLES, PAGE = DOCS / "audit-tables.svg", DOCS / "audit-page.png"
COLUMNS = 132
_SIZE = (1180, 860)
_NOW = datetime(2026, 11, 30, 9, 0, tzinfo=UTC)
_FONTS = re.compile(r"\s*@font-face \{.*?\}", re.DOTALL)
"""rich names web fonts. A picture in a repository loads nothing; the browser's own monospace font is enough."""


def draw_tables() -> str:
    """Return the tables of the example account as SVG."""
    console = Console(
        file=io.StringIO(), record=True, width=COLUMNS, force_terminal=True, color_system="truecolor", highlight=False
    )
    write_tables(run_audit(ROLES, MANIFESTS, providers=PROVIDERS), console)
    return _FONTS.sub("", console.export_svg(title="sts-broker trust audit", unique_id="audit"))


def draw_page() -> bytes:
    """Return the page of the example account as PNG."""
    result = run_audit(ROLES, MANIFESTS, providers=PROVIDERS)
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "audit.html"
        file.write_text(render_page(result, now=_NOW), encoding="utf-8")
        with Page(Path(name) / "profile", _SIZE) as page:
            page.open(file)
            return page.capture()


if __name__ == "__main__":
    TABLES.write_text(draw_tables(), encoding="utf-8")
    if find_chromium():
        PAGE.write_bytes(draw_page())
    else:
        sys.exit("Chromium is not installed, so the picture of the page stays as it is.")
