"""Only regular files are opened; nothing blocks, and no more than the limit is read."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from broker.files.regular_file import NotRegularFileError, open_for_update, read_regular_file, require_regular_file

if TYPE_CHECKING:
    from collections.abc import Iterator

OPEN_FILES = Path("/proc/self/fd")


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[int]:
    opened = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield opened
    os.close(opened)


def test_regular_file_is_read_up_to_the_limit(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 100_000)
    assert read_regular_file(str(tmp_path / "file"), 1_000_000) == b"x" * 100_000
    assert read_regular_file(str(tmp_path / "file"), 10) == b"x" * 10


def test_link_of_the_kubelet_is_followed(tmp_path: Path) -> None:
    (tmp_path / "..data").mkdir()
    (tmp_path / "..data" / "token").write_text("abc")
    (tmp_path / "token").symlink_to("..data/token")
    assert read_regular_file(str(tmp_path / "token"), 10) == b"abc"


def test_file_of_proc_is_regular() -> None:
    assert read_regular_file("/proc/self/comm", 100)


@pytest.mark.parametrize("kind", ["a FIFO", "a character device", "a directory", "a socket"])
def test_other_kind_is_named_and_not_opened(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make(tmp_path, kind)
    monkeypatch.setattr(os, "open", lambda *_: pytest.fail("it was opened"))
    for read in (lambda: read_regular_file(path, 10), lambda: require_regular_file(path)):
        with pytest.raises(NotRegularFileError) as caught:
            read()
        assert caught.value.strerror == f"it is {kind}; expected a regular file"
        assert caught.value.filename == path


def make(directory: Path, kind: str) -> str:
    """Return the path of something that is not a regular file."""
    path = directory / "it"
    if kind == "a FIFO":
        os.mkfifo(path)
    elif kind == "a directory":
        path.mkdir()
    elif kind == "a socket":
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(path))
    else:
        return "/dev/zero"
    return str(path)


def test_fifo_that_replaces_the_file_before_it_is_opened_does_not_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "token"
    path.write_text("abc")
    opens = os.open

    def replace_and_open(*arguments: object, **options: object) -> int:
        path.unlink()
        os.mkfifo(path)
        return opens(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", replace_and_open)
    before = len(list(OPEN_FILES.iterdir()))
    with pytest.raises(NotRegularFileError, match="a FIFO"):
        read_regular_file(str(path), 10)
    assert len(list(OPEN_FILES.iterdir())) == before


def test_link_in_a_directory_of_others_is_not_followed(tmp_path: Path, directory: int) -> None:
    (tmp_path / "file").write_text("abc")
    (tmp_path / "link").symlink_to("file")
    assert read_regular_file("file", 10, directory=directory) == b"abc"
    with pytest.raises(NotRegularFileError, match="a symbolic link"):
        read_regular_file("link", 10, directory=directory)


@pytest.mark.parametrize("path", ["/nowhere/file", "a\0b", "\ud800"])
def test_path_without_a_file_is_an_error(path: str) -> None:
    with pytest.raises((FileNotFoundError, ValueError)):
        read_regular_file(path, 10)


def test_file_to_update_is_neither_created_nor_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with pytest.raises(FileNotFoundError):
        open_for_update(str(path))
    assert not path.exists()
    path.write_text("content")
    opened = open_for_update(str(path))
    os.pwrite(opened, b"C", 0)
    os.close(opened)
    assert path.read_text() == "Content"


@pytest.mark.parametrize("kind", ["a FIFO", "a character device", "a directory", "a socket"])
def test_other_kind_is_not_opened_for_update(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make(tmp_path, kind)
    monkeypatch.setattr(os, "open", lambda *_: pytest.fail("it was opened"))
    with pytest.raises(NotRegularFileError) as caught:
        open_for_update(path)
    assert caught.value.strerror == f"it is {kind}; expected a regular file"


def test_link_to_a_file_is_not_followed_for_update(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither if it is there, nor if it replaces the file between the check and the opening."""
    (tmp_path / "target").write_text("content")
    (tmp_path / "link").symlink_to("target")
    with pytest.raises(NotRegularFileError, match="a symbolic link"):
        open_for_update(str(tmp_path / "link"))
    regular = (tmp_path / "target").lstat()
    with monkeypatch.context() as patch:
        patch.setattr(os, "lstat", lambda _: regular)
        with pytest.raises(OSError, match="Too many levels of symbolic links"):
            open_for_update(str(tmp_path / "link"))


def test_file_replaced_by_a_fifo_before_an_update_is_closed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "target").write_text("content")
    os.mkfifo(tmp_path / "fifo")
    regular = (tmp_path / "target").lstat()
    before = len(list(OPEN_FILES.iterdir()))
    with monkeypatch.context() as patch:
        patch.setattr(os, "lstat", lambda _: regular)
        with pytest.raises(NotRegularFileError, match="a FIFO"):
            open_for_update(str(tmp_path / "fifo"))
    assert len(list(OPEN_FILES.iterdir())) == before
