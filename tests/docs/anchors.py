"""The anchors that GitHub gives a page's headings."""

from __future__ import annotations

import re


def anchors(text: str) -> set[str]:
    """Return what links into a page of Markdown may name."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.*)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}
