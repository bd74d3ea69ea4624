"""Anchors of Markdown headings, as GitHub generates them."""

from __future__ import annotations

import re


def anchors(text: str) -> set[str]:
    """Return the anchors of all headings of a Markdown page."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.*)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}
