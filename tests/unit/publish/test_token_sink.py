"""The files of web identity tokens: whole, with mode and group, and removed when they are no longer configured."""

from __future__ import annotations

import json
import os
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from broker.core.errors import PublishError
from broker.core.model import WEB_IDENTITY_TOKEN_RECORD as RECORD
from broker.core.model import PublishSpec, Secret
from broker.core.web_identity_token import WebIdentityToken
from broker.publish.owned_files import NotRestorable
from broker.publish.token_sink import TokenSink, read_token_file
from tests.support.fakes import EPOCH

if TYPE_CHECKING:
    from pathlib import Path

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can change the owner of files")


def make_token(profile: str = "default", text: str = "eyJ.e30.c2ln") -> WebIdentityToken:
    lifetime = timedelta(minutes=5)
    return WebIdentityToken(
        profile=profile, raw=Secret(text), received_at=EPOCH, expires_at=EPOCH + lifetime, lifetime=lifetime
    )


def make_sink(directory: Path, *profiles: str, mode: int = 0o640) -> TokenSink:
    return TokenSink(PublishSpec(directory=str(directory), mode=mode, group=os.getegid()), profiles)


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_file_has_the_token_alone_and_the_mode_of_the_settings(tmp_path: Path) -> None:
    sink = make_sink(tmp_path / "aws", "default", mode=0o440)
    sink.prepare()
    sink.publish([make_token()])
    file = tmp_path / "aws" / "default.jwt"
    assert file.read_bytes() == b"eyJ.e30.c2ln"
    assert file.stat().st_mode & 0o777 == 0o440
    assert (tmp_path / "aws" / RECORD).stat().st_mode & 0o777 == 0o600
    assert names(tmp_path / "aws") == [RECORD, "default.jwt"]


def test_open_file_keeps_the_previous_token_and_links_are_replaced(tmp_path: Path) -> None:
    sink = make_sink(tmp_path, "default")
    target = tmp_path / "target"
    target.write_text("untouched")
    (tmp_path / "default.jwt").symlink_to(target)
    sink.publish([make_token()])
    with (tmp_path / "default.jwt").open() as reader:
        sink.publish([make_token(text="eyJ.e30.bmV3")])
        assert reader.read() == "eyJ.e30.c2ln"
    assert target.read_text() == "untouched"
    assert (tmp_path / "default.jwt").read_text() == "eyJ.e30.bmV3"


def test_missing_files_are_found(tmp_path: Path) -> None:
    sink = make_sink(tmp_path, "a", "b")
    sink.publish([make_token("a")])
    assert sink.missing() == {"b"}
    assert make_sink(tmp_path / "absent", "a").missing() == {"a"}


def test_tokens_of_old_settings_are_removed_and_nothing_else(tmp_path: Path) -> None:
    make_sink(tmp_path, "a", "b").publish([make_token("a"), make_token("b")])
    (tmp_path / "app.jwt").write_text("of the app")
    make_sink(tmp_path, "b").prepare()
    assert names(tmp_path) == [RECORD, "app.jwt", "b.jwt"]
    make_sink(tmp_path).prepare()
    assert names(tmp_path) == ["app.jwt"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b'{"files": 1}',
        json.dumps({"files": ["../outside.jwt", "default.json", ".jwt", 7, "sub/x.jwt"]}).encode(),
    ],
)
def test_record_that_is_not_the_brokers_removes_nothing(tmp_path: Path, content: bytes) -> None:
    directory = tmp_path / "aws"
    directory.mkdir()
    (tmp_path / "outside.jwt").write_text("outside")
    (directory / "default.json").write_text("{}")
    (directory / RECORD).write_bytes(content)
    (directory / RECORD).chmod(0o600)
    make_sink(directory, "a").prepare()
    assert names(directory) == [RECORD, "default.json"]
    assert (tmp_path / "outside.jwt").exists()


def test_record_with_another_mode_is_ignored(tmp_path: Path) -> None:
    make_sink(tmp_path, "a").publish([make_token("a")])
    (tmp_path / RECORD).chmod(0o644)
    make_sink(tmp_path, "b").prepare()
    assert (tmp_path / "a.jwt").exists()


@as_root
def test_file_of_another_user_is_not_removed(tmp_path: Path) -> None:
    make_sink(tmp_path, "a").publish([make_token("a")])
    os.chown(tmp_path / "a.jwt", 1, 1)
    make_sink(tmp_path).prepare()
    assert names(tmp_path) == ["a.jwt"]


def test_full_or_wrong_volume_is_a_publish_error_that_names_the_directory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    sink = make_sink(tmp_path / "file", "a")
    for act in (sink.prepare, lambda: sink.publish([make_token("a")])):
        with pytest.raises(PublishError, match=str(tmp_path / "file")):
            act()
    assert sink.missing() == {"a"}


def test_directory_that_cannot_be_listed_says_nothing_about_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: str) -> list[str]:
        raise PermissionError

    monkeypatch.setattr(os, "listdir", refuse)
    assert make_sink(tmp_path, "a").missing() == frozenset()


def test_published_token_is_read_back(tmp_path: Path) -> None:
    make_sink(tmp_path, "a").publish([make_token("a")])
    (tmp_path / "link.jwt").symlink_to(tmp_path / "a.jwt")
    directory = os.open(tmp_path, os.O_RDONLY)
    try:
        assert read_token_file(directory, "a") == "eyJ.e30.c2ln"
        assert read_token_file(directory, "b") is None
        with pytest.raises(NotRestorable):
            read_token_file(directory, "link")
    finally:
        os.close(directory)
