"""Each check has its place in docs/operations.md, where its link leads."""

from __future__ import annotations

import re
from pathlib import Path

from broker.doctor.checks import CHECKS, Line, Outcome

OPERATIONS = (Path(__file__).parents[2] / "docs/operations.md").read_text()
HEADINGS = re.findall(r"^#+ (.+)$", OPERATIONS, re.MULTILINE)


def anchor(heading: str) -> str:
    """Return what GitHub makes of a heading: small letters, no punctuation, hyphens for spaces."""
    return re.sub(r"[^a-z0-9 _-]", "", heading.lower()).replace(" ", "-")


def test_every_check_has_a_heading_in_the_order_in_which_they_are_told() -> None:
    assert [heading for heading in HEADINGS if heading.startswith("doctor: ")] == [f"doctor: {each}" for each in CHECKS]


def test_links_lead_to_headings() -> None:
    anchors = [anchor(heading) for heading in HEADINGS]
    for check in CHECKS:
        page, _, part = Line(check=check, outcome=Outcome.OK, found="").link.partition("#")
        assert (page, anchors.count(part)) == ("docs/operations.md", 1), check


def test_every_section_says_something() -> None:
    for check in CHECKS:
        text = OPERATIONS.split(f"### doctor: {check}\n")[1].split("\n#")[0]
        assert len(text.split()) > 8, check
