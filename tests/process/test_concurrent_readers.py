"""Readers in other processes never see a partial, empty or missing file while credentials change."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.process.pod import sessions_of
from tests.process.reading import from_ini, from_json, hash_of
from tests.support.program import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.process.pod import Pod

pytestmark = pytest.mark.process

READER = Path(__file__).with_name("reading.py")
GENERATIONS = 200


@pytest.fixture
def readers(pod: Pod) -> Iterator[list[subprocess.Popen[str]]]:
    """Return a list to which the test adds its readers. They are killed at the end."""
    del pod
    started: list[subprocess.Popen[str]] = []
    yield started
    for reader in started:
        reader.kill()
        reader.communicate()


@contextmanager
def wait_for_replacement(file: Path) -> Iterator[None]:
    """Wait at the end of the block until the file has been replaced."""
    before = file.stat()
    yield
    eventually(lambda: (file.stat().st_ino, file.stat().st_mtime_ns) != (before.st_ino, before.st_mtime_ns))


def start_reader(directory: Path) -> subprocess.Popen[str]:
    reader = subprocess.Popen(
        [sys.executable, str(READER), str(directory)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert reader.stdout is not None
    assert reader.stdout.readline() == "reading\n"
    return reader


def test_readers_see_only_complete_generations_while_200_are_published(
    pod: Pod, readers: list[subprocess.Popen[str]]
) -> None:
    program = pod.start_and_publish()
    readers += [start_reader(pod.published) for _ in range(2)]
    file = pod.published / "credentials"  # the last that is renamed
    for _ in range(GENERATIONS - 1):
        with wait_for_replacement(file):
            program.refresh()
    reports = [json.loads(reader.communicate()[0]) for reader in readers]
    issued = {
        hash_of(session.access_key_id, session.secret_access_key, session.session_token)
        for session in sessions_of(pod.sts).values()
    }
    assert len(pod.sts.calls) >= GENERATIONS
    for report in reports:
        assert report["faults"] == []
        assert set(report["seen"]) <= issued, "key, secret and token come from one response"
        assert report["reads"] > GENERATIONS
        assert len(report["seen"]) > GENERATIONS / 10, "the reader ran while the credentials changed"


@pytest.mark.parametrize("content", ["", "{", '{"Version": 1}', '{"Version": 1, "AccessKeyId": ""}'])
def test_reader_detects_incomplete_json(content: str) -> None:
    with pytest.raises((ValueError, KeyError)):
        from_json(content)


@pytest.mark.parametrize("content", ["", "[default]\n", "[default]\n# expires x\naws_access_key_id = a\n"])
def test_reader_detects_an_incomplete_credentials_file(content: str) -> None:
    with pytest.raises(ValueError, match="torn"):
        from_ini(content)
