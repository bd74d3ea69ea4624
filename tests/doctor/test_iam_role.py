"""Calls to IAM go where the settings and the standard AWS variables say, once, and end in bounded time."""

from __future__ import annotations

import socket
import time
from datetime import UTC, datetime, timedelta

import pytest

from broker.core.model import Secret, StsSpec, TemporaryCredentials
from broker.trust.iam_role import AwsReader, open_as_role, open_as_shell

ROLE = "arn:aws:iam::123456789012:role/app"
NOBODY = "http://127.0.0.1:9"
NOW = datetime.now(UTC)
CREDENTIALS = TemporaryCredentials(
    access_key_id="AKIDOFNOBODY",
    secret_access_key=Secret("invented"),
    session_token=Secret("invented too"),
    received_at=NOW,
    expires_at=NOW + timedelta(hours=1),
    lifetime=timedelta(hours=1),
    assumed_role_arn="arn:aws:sts::123456789012:assumed-role/app/demo.app",
    account_id="123456789012",
)


@pytest.fixture(autouse=True)
def isolated(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    """Use no AWS configuration of this machine, and a proxy that refuses connections."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HTTPS_PROXY", NOBODY)
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_IAM", "AWS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)


def find_called_address(reader: AwsReader, region: str) -> str:
    """Return the address that a call to IAM fails to reach."""
    with pytest.raises(ConnectionError) as failed:
        reader.get_role(ROLE, region)
    return str(failed.value).removeprefix("calling ").partition(" failed (")[0]


@pytest.mark.parametrize(
    ("region", "fips", "dualstack", "host"),
    [
        ("eu-west-1", False, False, "iam.amazonaws.com"),
        ("eu-west-1", True, False, "iam-fips.amazonaws.com"),
        ("eu-west-1", False, True, "iam.global.api.aws"),
        ("cn-northwest-1", False, False, "iam.cn-north-1.amazonaws.com.cn"),
        ("us-gov-east-1", False, False, "iam.us-gov.amazonaws.com"),
        ("us-iso-east-1", False, False, "iam.us-iso-east-1.c2s.ic.gov"),
    ],
)
def test_endpoint_follows_region_and_settings(region: str, fips: bool, dualstack: bool, host: str) -> None:
    reader = open_as_role(CREDENTIALS, StsSpec(use_fips=fips, use_dualstack=dualstack))
    assert find_called_address(reader, region) == f"https://{host}"


@pytest.mark.parametrize(
    ("variables", "address"),
    [
        ({"AWS_ENDPOINT_URL_IAM": NOBODY, "AWS_ENDPOINT_URL": "http://127.0.0.1:10"}, NOBODY),
        ({"AWS_ENDPOINT_URL": NOBODY}, NOBODY),
        (
            {"AWS_ENDPOINT_URL_IAM": NOBODY, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"},
            "https://iam.amazonaws.com",
        ),
    ],
)
def test_endpoint_variables_are_honored(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], address: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert find_called_address(open_as_role(CREDENTIALS, StsSpec()), "eu-west-1") == address


def test_profile_of_the_shell_selects_credentials_and_endpoint(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    config = f"{tmp_path}/config"
    with open(config, "w") as file:  # noqa: PTH123 - a name is needed
        file.write(
            "[profile ops]\naws_access_key_id = AKIDOFOPS\naws_secret_access_key = invented\nservices = local\n"
            f"[services local]\niam =\n  endpoint_url = {NOBODY}\n"
        )
    monkeypatch.setenv("AWS_CONFIG_FILE", config)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", f"{tmp_path}/none")
    assert open_as_shell(StsSpec()) is None
    monkeypatch.setenv("AWS_PROFILE", "ops")
    reader = open_as_shell(StsSpec())
    assert reader is not None
    assert find_called_address(reader, "eu-west-1") == NOBODY


def test_role_credentials_do_not_depend_on_the_profile_of_the_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "missing")
    assert find_called_address(open_as_role(CREDENTIALS, StsSpec()), "eu-west-1") == "https://iam.amazonaws.com"
    with pytest.raises(ConnectionError, match=r"reading this shell's credentials failed \(ProfileNotFound\)"):
        open_as_shell(StsSpec())


def test_silent_server_ends_the_call_after_one_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broker.trust.iam_role._TIMEOUT_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setenv("AWS_ENDPOINT_URL_IAM", address)
        started = time.monotonic()
        assert find_called_address(open_as_role(CREDENTIALS, StsSpec()), "eu-west-1") == address
        assert time.monotonic() - started < 2
        silent.settimeout(0.2)
        silent.accept()[0].close()
        with pytest.raises(TimeoutError):
            silent.accept()
