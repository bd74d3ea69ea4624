"""Write an audit as one HTML page that needs no network, with jinja2.

Autoescaping is on, and the page's Content-Security-Policy allows only the style and the script of this package, by
their hashes. So no name in an account can add markup, load anything or run code.
"""

from __future__ import annotations

import base64
import hashlib
from importlib import resources
from typing import TYPE_CHECKING

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from broker import __version__
from broker.trust.audit import report

if TYPE_CHECKING:
    from datetime import datetime

    from broker.trust.audit.audit import Audit


def render_page(audit: Audit, *, now: datetime) -> str:
    """Return the page. `now` is the time of the audit."""
    style, script = _read("report.css"), _read("report.js")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(_read("report.html.j2")).render(
        audit=audit,
        report=report,
        now=now.strftime("%Y-%m-%d %H:%M UTC"),
        version=__version__,
        # Text of this package, not of the account. Escaped, it would not be what the hashes say.
        style=Markup(style),  # noqa: S704
        script=Markup(script),  # noqa: S704
        style_hash=_hash(style),
        script_hash=_hash(script),
    )


def _read(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """Return the source expression of a Content-Security-Policy for this text."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
