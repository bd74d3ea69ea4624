"""What hides the endpoint from SDKs is found, told by name, and never by value."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import botocore.session
import pytest

from broker.core.rival_variables import RELATIVE_URI, VARIABLES
from broker.runtime.rival_credentials import RivalFile, rival_files, rivals_in_pod

if TYPE_CHECKING:
    from pathlib import Path

ENDPOINT = "http://127.0.0.1:9911"
SECRET = "wJalrXUtnFEMI-K7MDENG-bPxRfiCYEXAMPLEKEY"
KEYS = f"aws_access_key_id = AKIDEXAMPLE\naws_secret_access_key = {SECRET}\n"
VALUES = {
    "AWS_WEB_IDENTITY_TOKEN_FILE": "/var/run/secrets/eks.amazonaws.com/serviceaccount/token",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://169.254.170.23/v1/credentials",
}


def told(environ: dict[str, str], directory: str = "/var/run/aws") -> list[str]:
    """Return the names of what is found in a pod."""
    return [rival.name for rival in rivals_in_pod(environ, endpoint=ENDPOINT, directory=directory)]


def in_home(home: Path, name: str, text: str) -> dict[str, str]:
    """Write a file below ~/.aws. Return the environment with that home."""
    (home / ".aws").mkdir(exist_ok=True)
    (home / ".aws" / name).write_text(text)
    return {"HOME": str(home)}


class TestPod:
    """`run` warns of what it sees in its own environment."""

    @pytest.mark.parametrize(
        "name",
        [
            "AWS_ACCESS_KEY_ID",
            "AWS_ACCESS_KEY",
            "AMAZON_ACCESS_KEY_ID",
            "AWS_WEB_IDENTITY_TOKEN_FILE",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
            "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
            "AWS_PROFILE",
            "AWS_DEFAULT_PROFILE",
        ],
    )
    def test_variable_is_told_by_its_name_and_not_its_value(self, tmp_path: Path, name: str) -> None:
        environ = {"HOME": str(tmp_path), name: VALUES.get(name, SECRET)}
        (rival,) = rivals_in_pod(environ, endpoint=ENDPOINT, directory="/var/run/aws")
        assert rival.name == name
        assert str(rival).startswith(f"{name} ")
        assert str(rival).endswith(".")
        assert SECRET not in str(rival)

    def test_keys_are_one_line_and_not_three(self, tmp_path: Path) -> None:
        keys = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
        assert told({"HOME": str(tmp_path), **dict.fromkeys(keys, SECRET)}) == ["AWS_ACCESS_KEY_ID"]

    def test_token_of_the_brokers_own_is_no_rival(self, tmp_path: Path) -> None:
        file = "/var/run/secrets/sts.amazonaws.com/token"
        assert told({"HOME": str(tmp_path), "AWS_WEB_IDENTITY_TOKEN_FILE": file, "AWS_ROLE_ARN": "arn"}) == []

    def test_own_endpoint_is_no_rival(self, tmp_path: Path) -> None:
        uri = f"{ENDPOINT}/v1/credentials/default"
        assert told({"HOME": str(tmp_path), "AWS_CONTAINER_CREDENTIALS_FULL_URI": uri}) == []

    @pytest.mark.parametrize("name", VARIABLES)
    def test_variable_set_to_nothing_is_not_set(self, tmp_path: Path, name: str) -> None:
        assert told({"HOME": str(tmp_path), name: ""}) == []

    def test_file_in_the_home_is_told_by_its_path(self, tmp_path: Path) -> None:
        environ = in_home(tmp_path, "credentials", f"[default]\n{KEYS}")
        (rival,) = rivals_in_pod(environ, endpoint=ENDPOINT, directory="/var/run/aws")
        assert rival.name == str(tmp_path / ".aws" / "credentials")
        assert "[default] has aws_access_key_id" in rival.why
        assert SECRET not in str(rival)

    def test_file_that_the_environment_names_is_told_by_its_variable(self, tmp_path: Path) -> None:
        (tmp_path / "old").write_text(f"[default]\n{KEYS}")
        assert told({"HOME": "/none", "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "old")}) == [
            "AWS_SHARED_CREDENTIALS_FILE"
        ]

    def test_file_that_the_broker_publishes_is_no_rival(self, tmp_path: Path) -> None:
        (tmp_path / "config").write_text("[default]\ncredential_process = cat /var/run/aws/default.json\n")
        environ = {"HOME": "/none", "AWS_CONFIG_FILE": str(tmp_path / "config")}
        assert told(environ, directory=str(tmp_path)) == []


class TestFiles:
    """Only a default profile that gives credentials hides the endpoint."""

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
    def test_giving_file_is_found(self, tmp_path: Path, text: str) -> None:
        environ = in_home(tmp_path, "config", text)
        (file,) = rival_files(environ)
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
    def test_harmless_file_is_left_alone(self, tmp_path: Path, text: str) -> None:
        assert list(rival_files(in_home(tmp_path, "config", text))) == []

    def test_named_file_stands_for_the_one_in_the_home(self, tmp_path: Path) -> None:
        environ = in_home(tmp_path, "credentials", f"[default]\n{KEYS}")
        (tmp_path / "harmless").write_text("[default]\nregion = eu-west-1\n")
        assert list(rival_files({**environ, "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "harmless")})) == []
        (file,) = rival_files({**environ, "AWS_SHARED_CREDENTIALS_FILE": "~/.aws/credentials"})
        assert file.path == str(tmp_path / ".aws" / "credentials")

    def test_boto_file_of_old_is_found(self, tmp_path: Path) -> None:
        (tmp_path / ".boto").write_text("[Credentials]\naws_access_key_id = AKID\naws_secret_access_key = x\n")
        assert list(rival_files({"HOME": str(tmp_path)})) == [
            RivalFile(
                variable="BOTO_CONFIG", path=str(tmp_path / ".boto"), section="Credentials", key="aws_access_key_id"
            )
        ]

    def test_file_that_cannot_be_read_as_text_hides_nothing(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        for path in (tmp_path, tmp_path / "pipe", tmp_path / "none", "/dev/null"):
            assert list(rival_files({"HOME": "/none", "AWS_CONFIG_FILE": str(path)})) == []

    def test_home_comes_from_the_users_entry_where_it_is_not_set(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))
        in_home(tmp_path, "credentials", f"[default]\n{KEYS}")
        assert len(list(rival_files({}))) == 1


def test_every_variable_that_botocore_reads_credentials_from_is_taken_from_the_command() -> None:
    """A new one in a later botocore is to be weighed here."""
    of_botocore = {
        name
        for kind in vars(botocore.credentials).values()
        if isinstance(kind, type)
        for attribute in vars(kind).values()
        for name in _texts(attribute)
        if name.startswith("AWS_")
    }
    of_botocore |= set(botocore.session.Session.SESSION_VARIABLES["profile"][1])
    assert of_botocore - set(VARIABLES) == {"AWS_ACCOUNT_ID"}, "that one says whose keys they are, and gives none"
    assert RELATIVE_URI in of_botocore


def _texts(attribute: object) -> list[str]:
    values = attribute.values() if isinstance(attribute, dict) else attribute
    return [each for each in ([values] if isinstance(values, str) else _listed(values)) if isinstance(each, str)]


def _listed(values: object) -> list[object]:
    return list(values) if isinstance(values, (list, tuple, type({}.values()))) else []
