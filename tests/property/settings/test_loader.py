"""Arbitrary environments and YAML files: loading raises ConfigurationError and nothing else."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from broker.core.errors import ConfigurationError
from broker.settings.loader import load
from broker.settings.schema import NamedProfile, Settings
from broker.settings.variables import CONFIG_VARIABLE, ENVIRONMENT
from tests.support.fakes import ROLE_ARN

if TYPE_CHECKING:
    from pathlib import Path

MINIMUM = {"AWS_ROLE_ARN": ROLE_ARN, "AWS_REGION": "eu-west-1"}
on_disk = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)

words = st.sampled_from(
    [
        "",
        "true",
        "1",
        "-1",
        "0640",
        "3600",
        "a:b",
        "*:80",
        "https://x",
        "{}",
        '{"Statement":[]}',
        "x,y",
        ROLE_ARN,
        "\ud800",
    ]
)
plain = st.none() | st.booleans() | st.integers() | st.floats() | words | st.text(max_size=10)
nested = st.recursive(
    plain,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
known_keys = st.sampled_from(
    [*Settings.model_fields, *NamedProfile.model_fields, "directory", "mode", "use_fips_endpoint"]
)
documents = st.dictionaries(
    known_keys,
    nested | st.dictionaries(known_keys, plain, max_size=4) | st.lists(st.dictionaries(known_keys, plain), max_size=3),
)
YAML_PIECES = [
    "a",
    "region",
    ":",
    " ",
    "\n",
    "  ",
    "- ",
    "[",
    "]",
    "{",
    "}",
    "&a",
    "*a",
    "<<",
    "!!int",
    "!!binary",
    "? ",
    "|",
    ">",
    "'",
    '"',
    "\\",
    "#",
    "---",
    "...",
    "%",
    "@",
    "`",
    "0b",
    "0o7",
    "1:2",
    "2026-13-01",
    "~",
    ".nan",
    "\t",
    "\0",
]
yaml_noise = st.lists(st.sampled_from(YAML_PIECES) | st.text(max_size=2), max_size=12).map("".join)


@given(
    environ=st.dictionaries(st.sampled_from([variable.name for variable in ENVIRONMENT]), words | st.text(max_size=30)),
    unknown=st.dictionaries(st.text(max_size=10).map("BROKER_{}".format), st.text(max_size=10), max_size=2),
)
@example(environ={"BROKER_SESSION_POLICY": "[" * 2000}, unknown={})
@example(environ={"AWS_ENDPOINT_URL_STS": "https://[::1"}, unknown={})
def test_arbitrary_environment_raises_only_configuration_errors(
    environ: dict[str, str], unknown: dict[str, str]
) -> None:
    with suppress(ConfigurationError):
        load({**MINIMUM, **environ, **unknown})


@on_disk
@given(document=documents)
@example(document={"profiles": [{"name": "a"}, {"name": "DEFAULT"}], "sts": {"endpoint_url": "https://a@b"}})
def test_arbitrary_values_of_known_keys_raise_only_configuration_errors(
    tmp_path: Path, document: dict[str, object]
) -> None:
    (tmp_path / "broker.yaml").write_text(json.dumps(document))
    with suppress(ConfigurationError):
        load({**MINIMUM, CONFIG_VARIABLE: str(tmp_path / "broker.yaml")})


@on_disk
@given(text=yaml_noise)
def test_arbitrary_yaml_raises_only_configuration_errors(tmp_path: Path, text: str) -> None:
    (tmp_path / "broker.yaml").write_bytes(text.encode(errors="surrogatepass"))
    with suppress(ConfigurationError):
        load({**MINIMUM, CONFIG_VARIABLE: str(tmp_path / "broker.yaml")})


@on_disk
@given(content=st.binary(max_size=100))
def test_arbitrary_bytes_raise_only_configuration_errors(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "broker.yaml").write_bytes(content)
    with suppress(ConfigurationError):
        load({**MINIMUM, CONFIG_VARIABLE: str(tmp_path / "broker.yaml")})


@on_disk
@given(key=st.from_regex(r"[a-z]{3,8}_x", fullmatch=True), section=st.sampled_from(["", "publish", "sts", "log"]))
def test_value_of_an_unknown_key_is_never_quoted(tmp_path: Path, key: str, section: str) -> None:
    unknown = {key: ["hush-hush", {"hush-hush": "hush-hush"}]}
    (tmp_path / "broker.yaml").write_text(json.dumps({section: unknown} if section else unknown))
    with pytest.raises(ConfigurationError) as caught:
        load({**MINIMUM, CONFIG_VARIABLE: str(tmp_path / "broker.yaml")})
    assert "hush" not in str(caught.value)
    assert key in str(caught.value)
