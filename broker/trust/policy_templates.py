"""The texts of `iam-policies/`, the only place where policies are written: finds the folder, fills its templates.

Rules: a placeholder `${name}` is replaced by JSON text and by nothing else, as Terraform's templatefile() does with
jsonencode()d values. In an installed package the folder is `iam_policies` in it; in a checkout it is beside it.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

TRUST_STATEMENT = "trust/statement.json.tftpl"
"""One statement of a trust policy, for service accounts of one cluster."""
_PLACEHOLDER = re.compile(r"\$\{(\w+)\}")


def folder() -> Path:
    """Return the directory of the policy texts."""
    package = Path(__file__).parents[1]
    installed = package / "iam_policies"
    return installed if installed.is_dir() else package.parent / "iam-policies"


def fill(name: str, values: Mapping[str, object]) -> Any:  # noqa: ANN401 - a JSON value
    """Return what a template says with these values in its placeholders."""
    template = (folder() / name).read_text(encoding="utf-8")
    return json.loads(_PLACEHOLDER.sub(lambda found: json.dumps(values[found[1]]), template))
