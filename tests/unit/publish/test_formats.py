"""The published formats, read back by the parsers that readers use: botocore's, configparser, json and sh."""

from __future__ import annotations

import configparser
import json
import subprocess
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING

import botocore.configloader
import botocore.session
import pytest

from broker.core.model import Secret
from broker.core.timestamps import timestamp
from broker.publish import formats
from tests.support.env_files import parse_env_file
from tests.support.fakes import EPOCH, make_credentials, make_profile

if TYPE_CHECKING:
    from pathlib import Path

CREDENTIALS = make_credentials()
LATER = EPOCH + timedelta(minutes=1)


def parse_ini(content: bytes) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser()
    parser.read_string(content.decode())
    return parser


@pytest.mark.parametrize(
    "instant",
    [
        datetime(2026, 11, 23, 12, 34, 56, tzinfo=UTC),
        datetime(2026, 11, 23, 12, 34, 56, 999999, tzinfo=UTC),
        datetime(2026, 11, 23, 14, 34, 56, tzinfo=timezone(timedelta(hours=2))),
    ],
)
def test_timestamp_is_utc_with_z_and_without_fraction(instant: datetime) -> None:
    """The SDK for JavaScript v3 parses no other form."""
    assert timestamp(instant) == "2026-11-23T12:34:56Z"


def test_process_output_has_six_fields_and_version_is_a_number() -> None:
    document = formats.credential_process_json(CREDENTIALS)
    assert json.loads(document) == {
        "Version": 1,
        "AccessKeyId": CREDENTIALS.access_key_id,
        "SecretAccessKey": CREDENTIALS.secret_access_key.reveal(),
        "SessionToken": CREDENTIALS.session_token.reveal(),
        "Expiration": "2026-11-23T13:00:00Z",
        "AccountId": "123456789012",
    }
    assert document.endswith(b"}\n")
    assert document.count(b"\n") == 1


def test_credentials_file_has_a_section_for_each_profile() -> None:
    parts = formats.credentials_ini(
        [formats.credentials_section("default", CREDENTIALS), formats.credentials_section("audit", CREDENTIALS)]
    )
    assert parse_ini(b"".join(parts)).sections() == ["default", "audit"]


def test_credentials_file_has_the_session_token_without_its_legacy_name() -> None:
    """Botocore prefers aws_security_token, and would use an old one after the session token has changed."""
    parsed = parse_ini(formats.credentials_section("default", CREDENTIALS))
    assert dict(parsed["default"]) == {
        "aws_access_key_id": CREDENTIALS.access_key_id,
        "aws_secret_access_key": CREDENTIALS.secret_access_key.reveal(),
        "aws_session_token": CREDENTIALS.session_token.reveal(),
    }


def test_credentials_file_of_no_profiles_is_empty() -> None:
    assert list(formats.credentials_ini([])) == []


def test_credentials_file_has_the_expiry_in_a_comment() -> None:
    assert b"# expires 2026-11-23T13:00:00Z\n" in formats.credentials_section("default", CREDENTIALS)


def test_config_file_is_read_by_botocore_with_its_region_and_process(tmp_path: Path) -> None:
    profiles = [make_profile(), make_profile("audit", region="us-east-1")]
    (tmp_path / "config").write_bytes(formats.config_ini(profiles, "/var/run/aws"))
    parsed = botocore.configloader.load_config(str(tmp_path / "config"))
    assert parsed["profiles"] == {
        "default": {"region": "eu-west-1", "credential_process": "cat /var/run/aws/default.json"},
        "audit": {"region": "us-east-1", "credential_process": "cat /var/run/aws/audit.json"},
    }


def test_config_file_has_the_configured_command(tmp_path: Path) -> None:
    command = "/bin/busybox cat {directory}/../{profile} {file}"
    (tmp_path / "config").write_bytes(formats.config_ini([make_profile("audit")], "/var/run/aws", command))
    parsed = botocore.configloader.load_config(str(tmp_path / "config"))
    expected = "/bin/busybox cat /var/run/aws/../audit /var/run/aws/audit.json"
    assert parsed["profiles"]["audit"]["credential_process"] == expected


def test_botocore_fetches_credentials_through_the_config_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole contract with an SDK: config file, cat, and JSON with an expiry, so that the SDK refreshes."""
    fresh = make_credentials(received_at=datetime.now(UTC))
    (tmp_path / "config").write_bytes(formats.config_ini([make_profile("audit")], str(tmp_path)))
    (tmp_path / "audit.json").write_bytes(formats.credential_process_json(fresh))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    found = botocore.session.Session(profile="audit").get_credentials()
    assert found.method == "custom-process"
    assert found.get_frozen_credentials().token == fresh.session_token.reveal()
    assert found.get_frozen_credentials().secret_key == fresh.secret_access_key.reveal()


def test_botocore_reads_the_credentials_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "credentials").write_bytes(formats.credentials_section("audit", CREDENTIALS))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    found = botocore.session.Session(profile="audit").get_credentials()
    assert (found.access_key, found.secret_key, found.token) == (
        CREDENTIALS.access_key_id,
        CREDENTIALS.secret_access_key.reveal(),
        CREDENTIALS.session_token.reveal(),
    )


def test_shell_sources_the_env_file_without_running_what_is_in_it(tmp_path: Path) -> None:
    """A session token may be any text. The shell must not run any of it."""
    hostile = make_credentials(session_token=Secret("a'b\"c$(touch owned)`touch owned`;\\ d"))
    (tmp_path / "app.env").write_bytes(formats.env_file(hostile, "eu-west-1"))
    script = "set -a; . ./app.env; set +a; exec env"
    printed = subprocess.run(
        ["sh", "-c", script], cwd=tmp_path, env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=True
    ).stdout
    assert f"AWS_SESSION_TOKEN={hostile.session_token.reveal()}\n" in printed
    assert "AWS_REGION=eu-west-1\n" in printed
    assert "AWS_DEFAULT_REGION=eu-west-1\n" in printed
    assert "AWS_CREDENTIAL_EXPIRATION=2026-11-23T13:00:00Z\n" in printed
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION"])
def test_kubelet_reads_the_env_file(name: str) -> None:
    """For valueFrom.fileKeyRef. The kubelet refuses a file in which any value before the wanted one has no quotes."""
    values = parse_env_file(formats.env_file(CREDENTIALS, "eu-west-1").decode())
    assert values[name] == {**formats.environment_variables(CREDENTIALS), "AWS_REGION": "eu-west-1"}[name]


def test_unexpired_document_gives_the_section_of_its_credentials() -> None:
    document = formats.credential_process_json(CREDENTIALS)
    section = formats.credentials_section_from_json("audit", document, LATER)
    assert section == formats.credentials_section("audit", CREDENTIALS)


def test_expired_document_gives_no_section() -> None:
    document = formats.credential_process_json(CREDENTIALS)
    assert formats.credentials_section_from_json("audit", document, EPOCH + timedelta(hours=1)) is None


GOOD = {
    "Version": 1,
    "AccessKeyId": "ASIA",
    "SecretAccessKey": "secret",
    "SessionToken": "token",
    "Expiration": "2026-11-23T13:00:00Z",
}


@pytest.mark.parametrize(
    "document",
    [
        pytest.param(b"", id="blank"),
        pytest.param(b"{", id="torn"),
        pytest.param(b"[]", id="a list"),
        pytest.param(b"\xff\xfe\x00", id="not text"),
        pytest.param(b"[" * 100_000, id="deep"),
        pytest.param(b'{"Expiration": ' + b"9" * 5000 + b"}", id="a long number"),
        *(
            pytest.param(json.dumps({**GOOD, **change}).encode(), id=str(change))
            for change in (
                {"AccessKeyId": ""},
                {"SessionToken": None},
                {"SecretAccessKey": 5},
                {"SessionToken": "a\n[default]\naws_access_key_id = other"},
                {"AccessKeyId": "\ud800"},
                {"Expiration": None},
                {"Expiration": 1795438800},
                {"Expiration": "tomorrow"},
                {"Expiration": "2026-11-23T13:00:00"},
                {"Expiration": "9999-12-31T23:59:59-14:00"},
            )
        ),
    ],
)
def test_malformed_document_gives_no_section(document: bytes) -> None:
    assert formats.credentials_section_from_json("audit", document, LATER) is None


def test_line_break_in_an_expiry_does_not_end_its_comment() -> None:
    """Python accepts any character between date and time, even a line break."""
    document = json.dumps({**GOOD, "Expiration": "2026-11-23\n13:00:00Z"}).encode()
    section = formats.credentials_section_from_json("audit", document, LATER)
    assert section is not None
    assert section.splitlines()[1] == b"# expires 2026-11-23T13:00:00Z"


def test_unknown_account_is_left_out() -> None:
    assert "AccountId" not in json.loads(formats.credential_process_json(make_credentials(account_id="")))
