"""The log format that applies to configuration errors, whatever else is wrong with the settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from broker.settings.log_format import read_log_format

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("variable", "text", "expected"),
    [
        ("", None, "auto"),
        ("json", None, "json"),
        (" console ", None, "console"),
        ("xml", None, "auto"),
        ("", "log: {format: json}\nregoin: eu-west-1\n", "json"),
        ("console", "log: {format: json}\n", "console"),
        ("xml", "log: {format: json}\n", "json"),
        ("", "log: {format: xml}\n", "auto"),
        ("", "log: {format: [json]}\n", "auto"),
        ("", "log: json\n", "auto"),
        ("", "log:\n", "auto"),
        ("", "- json\n", "auto"),
        ("", "log: {format: json\n", "auto"),
    ],
)
def test_format_is_that_of_the_environment_then_of_the_file_then_auto(
    tmp_path: Path, variable: str, text: str | None, expected: str
) -> None:
    environ = {"BROKER_LOG_FORMAT": variable}
    if text is not None:
        (tmp_path / "broker.yaml").write_text(text)
        environ["BROKER_CONFIG"] = str(tmp_path / "broker.yaml")
    assert read_log_format(environ) == expected


def test_missing_file_counts_as_not_set() -> None:
    assert read_log_format({"BROKER_CONFIG": "/no/such/file"}) == "auto"
