"""The settings that apply to configuration errors, whatever else is wrong with the settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from broker.settings.early_settings import read_log_format, read_termination_message_path

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


@pytest.mark.parametrize(
    ("variable", "text", "expected"),
    [
        ("", None, "/dev/termination-log"),
        ("/a", None, "/a"),
        ("relative", None, "/dev/termination-log"),
        ("", "termination_message_path: /b\nregoin: eu-west-1\n", "/b"),
        ("/a", "termination_message_path: /b\n", "/a"),
        ("relative", "termination_message_path: /b\n", "/b"),
        ("", "termination_message_path: [/b]\n", "/dev/termination-log"),
        ("", "termination_message_path: b\n", "/dev/termination-log"),
        ("", "termination_message_path: {\n", "/dev/termination-log"),
    ],
)
def test_path_is_that_of_the_environment_then_of_the_file_then_the_default(
    tmp_path: Path, variable: str, text: str | None, expected: str
) -> None:
    environ = {"BROKER_TERMINATION_MESSAGE_PATH": variable}
    if text is not None:
        (tmp_path / "broker.yaml").write_text(text)
        environ["BROKER_CONFIG"] = str(tmp_path / "broker.yaml")
    assert read_termination_message_path(environ) == expected
