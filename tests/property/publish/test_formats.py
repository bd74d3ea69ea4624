"""Every parser reads back exactly the credentials that STS issued, for any text that STS may use."""

from __future__ import annotations

import configparser
import json
import subprocess
from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given, settings
from hypothesis import strategies as st

from broker.core.model import Secret
from broker.core.timestamps import timestamp
from broker.publish import formats
from tests.support.fakes import EPOCH, make_credentials

# All characters that the model of STS allows in keys: printable, without spaces. Real keys use fewer.
keys = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=200)
names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", fullmatch=True).filter(lambda name: name != "DEFAULT")
instants = st.datetimes(min_value=datetime(2001, 1, 1), max_value=datetime(2999, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis adds the zone


@given(secret=keys, token=keys, name=names)
def test_credentials_file_round_trips(secret: str, token: str, name: str) -> None:
    credentials = make_credentials(secret_access_key=Secret(secret), session_token=Secret(token))
    parser = configparser.RawConfigParser()
    parser.read_string(formats.credentials_section(name, credentials).decode())
    assert parser.sections() == [name]
    assert parser[name]["aws_secret_access_key"] == secret
    assert parser[name]["aws_session_token"] == token


@given(secret=keys, token=keys, expires_at=instants)
def test_process_output_round_trips(secret: str, token: str, expires_at: datetime) -> None:
    credentials = make_credentials(secret_access_key=Secret(secret), session_token=Secret(token), expires_at=expires_at)
    document = json.loads(formats.credential_process_json(credentials))
    assert (document["SecretAccessKey"], document["SessionToken"]) == (secret, token)
    assert datetime.fromisoformat(document["Expiration"]) == expires_at.replace(microsecond=0)


@given(secret=keys, token=keys, expires_at=instants)
def test_endpoint_response_and_process_output_have_the_same_credentials(
    secret: str, token: str, expires_at: datetime
) -> None:
    credentials = make_credentials(secret_access_key=Secret(secret), session_token=Secret(token), expires_at=expires_at)
    process = json.loads(formats.credential_process_json(credentials))
    endpoint = json.loads(formats.container_credentials_json(credentials))
    assert endpoint.pop("Token") == process.pop("SessionToken") == token
    assert process.pop("Version") == 1
    assert endpoint == process


@given(secret=keys, token=keys, name=names)
def test_published_json_gives_the_published_section(secret: str, token: str, name: str) -> None:
    credentials = make_credentials(secret_access_key=Secret(secret), session_token=Secret(token))
    section = formats.credentials_section_from_json(name, formats.credential_process_json(credentials), EPOCH)
    assert section == formats.credentials_section(name, credentials)


@given(
    document=st.one_of(
        st.binary(max_size=200),
        st.recursive(st.none() | st.text() | st.integers(), st.lists).map(lambda value: json.dumps(value).encode()),
    )
)
def test_arbitrary_document_raises_nothing(document: bytes) -> None:
    assert formats.credentials_section_from_json("audit", document, EPOCH) is None


@settings(max_examples=5)
@given(
    tokens=st.lists(
        st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1), min_size=20, max_size=20
    )
)
def test_shell_reads_back_every_printable_text(tokens: list[str]) -> None:
    files = [formats.env_file(make_credentials(session_token=Secret(token)), "eu-west-1").decode() for token in tokens]
    script = "".join(f'{file}printf "%s\\n" "$AWS_SESSION_TOKEN"\n' for file in files)
    printed = subprocess.run(["sh", "-eu"], input=script, env={}, capture_output=True, text=True, check=True).stdout
    assert printed.splitlines() == tokens


@given(instant=instants, offset=st.integers(-14, 14))
def test_timestamp_of_an_instant_is_the_same_in_every_time_zone(instant: datetime, offset: int) -> None:
    shifted = instant.astimezone(timezone(timedelta(hours=offset)))
    assert timestamp(shifted) == timestamp(instant)
