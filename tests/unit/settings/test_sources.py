"""The sources of settings: their precedence, and that there are no others."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from broker.settings.loader import load
from broker.settings.schema import Settings
from broker.settings.sources import EnvironmentSource, YamlSource
from tests.support.fakes import ROLE_ARN

if TYPE_CHECKING:
    from pathlib import Path

MINIMUM = {"AWS_ROLE_ARN": ROLE_ARN, "AWS_REGION": "eu-west-1"}


def read_settings(environ: dict[str, str], document: dict[str, object]) -> Settings:
    return Settings(environment=EnvironmentSource(Settings, environ), file=YamlSource(Settings, document))


def test_environment_takes_precedence_over_file_and_file_over_defaults() -> None:
    document: dict[str, object] = {"audience": "of-file", "publish": {"mode": "0440", "group": 7}}
    settings = read_settings({"BROKER_AUDIENCE": "of-environment", "BROKER_PUBLISH_GROUP": "8"}, document)
    assert settings.audience == "of-environment"
    assert (settings.publish.group, settings.publish.mode, settings.publish.env) == (8, 0o440, False)


def test_aws_variable_is_the_origin_of_a_setting_that_two_variables_set() -> None:
    source = EnvironmentSource(Settings, {"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "us-east-1"})
    assert source() == {"region": "eu-west-1"}
    assert source.names == {("region",): "AWS_REGION"}


def test_field_value_is_the_value_of_the_source_and_needs_no_decoding() -> None:
    source = EnvironmentSource(Settings, {"BROKER_PUBLISH_MODE": "0440"})
    fields = Settings.model_fields
    assert source.get_field_value(fields["publish"], "publish") == ({"mode": "0440"}, "publish", False)
    assert source.get_field_value(fields["region"], "region") == (None, "region", False)


@pytest.mark.parametrize(
    ("place", "removed", "rest"),
    [
        (("publish", "mode"), True, {"profiles": [{"name": "a"}], "publish": {}}),
        (("profiles", 0, "name"), True, {"profiles": [{}], "publish": {"mode": "0440"}}),
        (("profiles", 1, "name"), False, {"profiles": [{"name": "a"}], "publish": {"mode": "0440"}}),
        (("publish", "mode", "x"), False, {"profiles": [{"name": "a"}], "publish": {"mode": "0440"}}),
        (("region",), False, {"profiles": [{"name": "a"}], "publish": {"mode": "0440"}}),
    ],
)
def test_left_out_value_is_removed_where_there_is_one(
    place: tuple[int | str, ...], *, removed: bool, rest: dict[str, object]
) -> None:
    source = YamlSource(Settings, {"profiles": [{"name": "a"}], "publish": {"mode": "0440"}})
    assert source.leave_out(place) is removed
    assert source() == rest


def test_neither_the_process_environment_nor_a_dotenv_file_is_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """pydantic-settings would read both by default."""
    (tmp_path / ".env").write_text("AUDIENCE=hush\nBROKER_AUDIENCE=hush\n")
    monkeypatch.chdir(tmp_path)
    for name in ("AUDIENCE", "audience", "BROKER_AUDIENCE", "DURATION_SECONDS"):
        monkeypatch.setenv(name, "7200")
    assert load(MINIMUM).profiles[0].audience == "sts.amazonaws.com"


@pytest.mark.usefixtures("unmeasured")
def test_parent_process_imports_no_settings_library() -> None:
    """They are imported in the worker that checks the settings, and in no other process."""
    code = (
        "import sys, broker.runtime.daemon\n"
        "from broker.worker.adapters import load_configuration\n"
        f"load_configuration({MINIMUM!r})\n"
        "print(*sorted(name for name in sys.modules if name.split('.')[0] in "
        "{'pydantic', 'pydantic_core', 'pydantic_settings', 'dotenv', 'asyncio', 'annotated_types'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"
