"""Every check has a section in docs/operations.md, and its link leads there."""

from __future__ import annotations

import re
from pathlib import Path

from broker.doctor.checks import CHECKS, CheckResult, Outcome

OPERATIONS = (Path(__file__).parents[2] / "docs/operations.md").read_text()
HEADINGS = re.findall(r"^#+ (.+)$", OPERATIONS, re.MULTILINE)


def anchor(heading: str) -> str:
    """Return the anchor that GitHub gives a heading: lower case, no punctuation, hyphens for spaces."""
    return re.sub(r"[^a-z0-9 _-]", "", heading.lower()).replace(" ", "-")


def test_every_check_has_a_heading_in_the_order_of_the_report() -> None:
    assert [heading for heading in HEADINGS if heading.startswith("doctor: ")] == [f"doctor: {each}" for each in CHECKS]


def test_links_lead_to_headings() -> None:
    anchors = [anchor(heading) for heading in HEADINGS]
    for check in CHECKS:
        page, _, part = CheckResult(check=check, outcome=Outcome.OK, found="").link.partition("#")
        assert (page, anchors.count(part)) == ("docs/operations.md", 1), check


def test_every_section_has_text() -> None:
    for check in CHECKS:
        text = OPERATIONS.split(f"### doctor: {check}\n")[1].split("\n#")[0]
        assert len(text.split()) > 8, check
