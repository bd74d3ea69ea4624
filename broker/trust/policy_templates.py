"""The policy templates of `iam-policies/`, the only place where policies are written: find the folder, fill a template.

A placeholder `${name}` is replaced by JSON text only, as Terraform's templatefile() does with jsonencode()d values. An
installed package contains the folder as `iam_policies`; in a checkout it is next to the package.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

TRUST_STATEMENT = "trust/statement.json.tftpl"
"""The template of a trust policy statement for service accounts of one cluster."""
_PLACEHOLDER = re.compile(r"\$\{(\w+)\}")


def find_templates() -> Path:
    """Return the folder of the templates."""
    package = Path(__file__).parents[1]
    installed = package / "iam_policies"
    return installed if installed.is_dir() else package.parent / "iam-policies"


def fill_template(name: str, values: Mapping[str, object]) -> Any:  # noqa: ANN401 - a JSON value
    """Return a template, as a JSON value, with these values in its placeholders."""
    template = (find_templates() / name).read_text(encoding="utf-8")
    return json.loads(_PLACEHOLDER.sub(lambda found: json.dumps(values[found[1]]), template))
