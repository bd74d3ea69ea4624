"""Log lines and `/status` use the field names of ReportFields and no others."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import broker
from broker.core.report_fields import ReportFields

OF_THE_FORMAT = {"time", "level", "event", "fields", "traceback"}
"""Keys that the log formatters add themselves."""
MODULES_WITH_DOCUMENTS = ("runtime/logs.py", "runtime/notifier.py", "serving/health.py")


def keywords_of_log_calls(tree: ast.Module) -> set[str]:
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
    log_calls = [call for call in calls if ast.unparse(call.func) in {"log_message", "logs.log_message"}]
    return {keyword.arg for call in log_calls for keyword in call.keywords if keyword.arg is not None}


def keys_of_documents(tree: ast.Module) -> set[str]:
    """Return the keys of dictionary literals, and those assigned to a variable named `document`."""
    keys = {key for node in ast.walk(tree) if isinstance(node, ast.Dict) for key in node.keys}
    keys |= {
        node.slice
        for node in ast.walk(tree)
        if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "document"
    }
    return {key.value for key in keys if isinstance(key, ast.Constant) and isinstance(key.value, str)}


def test_list_of_fields_matches_the_fields_in_the_code() -> None:
    package = Path(broker.__file__).parent
    used = set()
    for path in package.rglob("*.py"):
        used |= keywords_of_log_calls(ast.parse(path.read_text()))
    for name in MODULES_WITH_DOCUMENTS:
        used |= keys_of_documents(ast.parse((package / name).read_text()))
    assert sorted(used - OF_THE_FORMAT) == sorted(ReportFields.__annotations__)


def test_documentation_explains_every_field_and_no_other() -> None:
    page = (Path(__file__).parents[3] / "docs" / "metrics.md").read_text()
    section = page.split("## Field names in logs and `/status`")[1].split("\n## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == sorted(ReportFields.__annotations__)


def test_every_duration_and_instant_is_named_by_its_unit() -> None:
    durations = [name for name in ReportFields.__annotations__ if name.endswith(("_seconds", "_duration", "_skew"))]
    assert [name for name in durations if not name.endswith("_seconds")] == []
    assert [name for name in ReportFields.__annotations__ if name.endswith(("expiry", "_time", "refresh"))] == []
