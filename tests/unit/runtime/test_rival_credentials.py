"""Rival credential sources are found, and reported by name, never by value."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import botocore.session
import pytest

from broker.core.rival_variables import RELATIVE_URI, VARIABLES
from broker.runtime.rival_credentials import RivalFile, find_rival_files, find_rival_sources

if TYPE_CHECKING:
    from pathlib import Path

ENDPOINT = "http://127.0.0.1:9911"
SECRET = "wJalrXUtnFEMI-K7MDENG-bPxRfiCYEXAMPLEKEY"
KEYS = f"aws_access_key_id = AKIDEXAMPLE\naws_secret_access_key = {SECRET}\n"
VALUES = {
    "AWS_WEB_IDENTITY_TOKEN_FILE": "/var/run/secrets/eks.amazonaws.com/serviceaccount/token",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://169.254.170.23/v1/credentials",
}


def find_names(environ: dict[str, str], directory: str = "/var/run/aws") -> list[str]:
    """Return the names of the rival sources in an environment."""
    return [source.name for source in find_rival_sources(environ, endpoint=ENDPOINT, directory=directory)]


def write_in_home(home: Path, name: str, text: str) -> dict[str, str]:
    """Write a file in ~/.aws. Return an environment with that home."""
    (home / ".aws").mkdir(exist_ok=True)
    (home / ".aws" / name).write_text(text)
    return {"HOME": str(home)}


class TestPod:
    """Sources in the broker's own environment, about which `run` warns."""

    @pytest.mark.parametrize(
        "name",
        [
            "AWS_ACCESS_KEY_ID",
            "AWS_ACCESS_KEY",
            "AMAZON_ACCESS_KEY_ID",
            "AWS_WEB_IDENTITY_TOKEN_FILE",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
            "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN",
            "AWS_PROFILE",
            "AWS_DEFAULT_PROFILE",
        ],
    )
    def test_variable_is_reported_by_name_without_its_value(self, tmp_path: Path, name: str) -> None:
        environ = {"HOME": str(tmp_path), name: VALUES.get(name, SECRET)}
        (source,) = find_rival_sources(environ, endpoint=ENDPOINT, directory="/var/run/aws")
        assert source.name == name
        assert str(source).startswith(f"{name} ")
        assert str(source).endswith(".")
        assert SECRET not in str(source)

    def test_access_keys_are_one_source(self, tmp_path: Path) -> None:
        keys = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
        assert find_names({"HOME": str(tmp_path), **dict.fromkeys(keys, SECRET)}) == ["AWS_ACCESS_KEY_ID"]

    def test_token_of_the_broker_is_not_a_rival(self, tmp_path: Path) -> None:
        file = "/var/run/secrets/sts.amazonaws.com/token"
        assert find_names({"HOME": str(tmp_path), "AWS_WEB_IDENTITY_TOKEN_FILE": file, "AWS_ROLE_ARN": "arn"}) == []

    def test_endpoint_of_the_broker_is_not_a_rival(self, tmp_path: Path) -> None:
        uri = f"{ENDPOINT}/v1/credentials/default"
        assert find_names({"HOME": str(tmp_path), "AWS_CONTAINER_CREDENTIALS_FULL_URI": uri}) == []

    @pytest.mark.parametrize("name", VARIABLES)
    def test_empty_variable_is_not_a_rival(self, tmp_path: Path, name: str) -> None:
        assert find_names({"HOME": str(tmp_path), name: ""}) == []

    def test_file_in_the_home_directory_is_reported_by_its_path(self, tmp_path: Path) -> None:
        environ = write_in_home(tmp_path, "credentials", f"[default]\n{KEYS}")
        (source,) = find_rival_sources(environ, endpoint=ENDPOINT, directory="/var/run/aws")
        assert source.name == str(tmp_path / ".aws" / "credentials")
        assert "aws_access_key_id in section [default]" in source.effect
        assert SECRET not in str(source)

    def test_file_that_a_variable_names_is_reported_by_the_variable(self, tmp_path: Path) -> None:
        (tmp_path / "old").write_text(f"[default]\n{KEYS}")
        assert find_names({"HOME": "/none", "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "old")}) == [
            "AWS_SHARED_CREDENTIALS_FILE"
        ]

    def test_published_file_is_not_a_rival(self, tmp_path: Path) -> None:
        (tmp_path / "config").write_text("[default]\ncredential_process = cat /var/run/aws/default.json\n")
        environ = {"HOME": "/none", "AWS_CONFIG_FILE": str(tmp_path / "config")}
        assert find_names(environ, directory=str(tmp_path)) == []


class TestFiles:
    """Only a file whose default profile configures credentials is a rival."""

    @pytest.mark.parametrize(
        "text",
        [
            f"[default]\n{KEYS}",
            "[default]\nregion = eu-west-1\ncredential_process = cat /x\n",
            "[profile default]\nrole_arn = arn:aws:iam::123456789012:role/x\nsource_profile = y\n",
            "[ default ]\nSSO_SESSION=mine\n",
            "[other]\nregion = x\n\n# mine\n[default]  # the one\nweb_identity_token_file: /token\n",
        ],
    )
    def test_file_with_credentials_in_the_default_profile_is_found(self, tmp_path: Path, text: str) -> None:
        environ = write_in_home(tmp_path, "config", text)
        (file,) = find_rival_files(environ)
        assert (file.variable, file.path) == ("AWS_CONFIG_FILE", str(tmp_path / ".aws" / "config"))

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "[default]\nregion = eu-west-1\nretry_mode = standard\ns3 =\n  role_arn = nested\n",
            f"[other]\n{KEYS}",
            "[sso-session default]\nsso_start_url = https://x\n",
            "[default]\n# aws_access_key_id = old\n; role_arn = old\n",
            KEYS,
        ],
    )
    def test_file_without_credentials_in_the_default_profile_is_not_a_rival(self, tmp_path: Path, text: str) -> None:
        assert list(find_rival_files(write_in_home(tmp_path, "config", text))) == []

    def test_file_that_a_variable_names_replaces_the_one_in_the_home_directory(self, tmp_path: Path) -> None:
        environ = write_in_home(tmp_path, "credentials", f"[default]\n{KEYS}")
        (tmp_path / "harmless").write_text("[default]\nregion = eu-west-1\n")
        assert list(find_rival_files({**environ, "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "harmless")})) == []
        (file,) = find_rival_files({**environ, "AWS_SHARED_CREDENTIALS_FILE": "~/.aws/credentials"})
        assert file.path == str(tmp_path / ".aws" / "credentials")

    def test_legacy_boto_file_is_found(self, tmp_path: Path) -> None:
        (tmp_path / ".boto").write_text("[Credentials]\naws_access_key_id = AKID\naws_secret_access_key = x\n")
        assert list(find_rival_files({"HOME": str(tmp_path)})) == [
            RivalFile(
                variable="BOTO_CONFIG", path=str(tmp_path / ".boto"), section="Credentials", key="aws_access_key_id"
            )
        ]

    def test_path_that_is_not_a_readable_file_is_not_a_rival(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        for path in (tmp_path, tmp_path / "pipe", tmp_path / "none", "/dev/null"):
            assert list(find_rival_files({"HOME": "/none", "AWS_CONFIG_FILE": str(path)})) == []

    def test_home_directory_comes_from_the_user_database_if_home_is_not_set(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))
        write_in_home(tmp_path, "credentials", f"[default]\n{KEYS}")
        assert len(list(find_rival_files({}))) == 1


def test_every_credentials_variable_of_botocore_is_in_the_list() -> None:
    """This test fails if a later botocore reads another variable. Add it to the list, or here."""
    of_botocore = {
        name
        for kind in vars(botocore.credentials).values()
        if isinstance(kind, type)
        for attribute in vars(kind).values()
        for name in _collect_strings(attribute)
        if name.startswith("AWS_")
    }
    of_botocore |= set(botocore.session.Session.SESSION_VARIABLES["profile"][1])
    assert of_botocore - set(VARIABLES) == {"AWS_ACCOUNT_ID"}, (
        "AWS_ACCOUNT_ID names an account and holds no credentials"
    )
    assert RELATIVE_URI in of_botocore


def _collect_strings(attribute: object) -> list[str]:
    values = attribute.values() if isinstance(attribute, dict) else attribute
    return [each for each in ([values] if isinstance(values, str) else _list_items(values)) if isinstance(each, str)]


def _list_items(values: object) -> list[object]:
    return list(values) if isinstance(values, (list, tuple, type({}.values()))) else []
