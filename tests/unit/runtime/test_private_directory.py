"""The private directory of `sts-broker exec`: its mode, where it is made, and its removal, also after a kill."""

from __future__ import annotations

import os
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import pytest

from broker.core.errors import PublishError
from broker.runtime.private_directory import private_directory

HOUR_SECONDS = 3600.0


def make_abandoned(parent: Path, *, age_seconds: float = HOUR_SECONDS) -> Path:
    """Make a directory like one that a killed process left behind."""
    path = Path(tempfile.mkdtemp(prefix="broker-exec-", dir=parent))
    (path / "default.json").write_text("{}")
    set_age(path, age_seconds)
    return path


def set_age(path: Path, seconds: float = HOUR_SECONDS) -> None:
    """Set the modification time of a directory to `seconds` ago."""
    os.utime(path, (time.time() - seconds,) * 2)


def test_directory_is_made_in_the_first_writable_parent(tmp_path: Path) -> None:
    (tmp_path / "second").mkdir()
    parents = (str(tmp_path / "absent"), str(tmp_path / "second"), str(tmp_path))
    with private_directory(parents) as path:
        assert Path(path).parent == tmp_path / "second"
        assert Path(path).stat().st_mode & 0o777 == 0o700


def test_without_a_writable_parent_the_systems_temporary_directory_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with private_directory(("/none", "/none/either")) as path:
        assert Path(path).parent == tmp_path


def test_without_any_writable_place_the_error_says_what_to_change(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/none/too")
    with pytest.raises(PublishError, match=r"in /none, /none/either or .* Mount an emptyDir") as caught:
        private_directory(("/none", "/none/either")).__enter__()
    assert caught.value.exit_code == 5


def test_directory_is_removed_at_the_end_with_its_content(tmp_path: Path) -> None:
    with private_directory((str(tmp_path),)) as path:
        (Path(path) / "of-the-command").mkdir()
        (Path(path) / "of-the-command" / "file").write_text("x")
    assert list(tmp_path.iterdir()) == []


def test_directory_is_removed_after_an_exception(tmp_path: Path) -> None:
    with suppress(ZeroDivisionError), private_directory((str(tmp_path),)):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_directory_that_was_already_removed_raises_nothing(tmp_path: Path) -> None:
    with private_directory((str(tmp_path),)) as path:
        Path(path).rmdir()


def test_abandoned_directory_is_removed_by_the_next_run(tmp_path: Path) -> None:
    left = make_abandoned(tmp_path)
    with private_directory((str(tmp_path),)):
        assert not left.exists()


def test_directory_in_use_is_kept_at_any_age(tmp_path: Path) -> None:
    with private_directory((str(tmp_path),)) as first:
        set_age(Path(first))
        with private_directory((str(tmp_path),)) as second:
            assert Path(first).exists()
            assert first != second


def test_young_directory_is_kept_because_it_may_not_be_locked_yet(tmp_path: Path) -> None:
    left = make_abandoned(tmp_path, age_seconds=1)
    with private_directory((str(tmp_path),)):
        assert left.exists()


def test_entries_that_are_not_private_directories_are_kept(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "file").write_text("x")
    parent = tmp_path / "parent"
    parent.mkdir()
    (parent / "broker-exec-link").symlink_to(elsewhere)
    (parent / "broker-exec-file").write_text("x")
    (parent / "other").mkdir()
    set_age(parent / "other")
    set_age(elsewhere)
    with private_directory((str(parent),)):
        pass
    assert sorted(path.name for path in parent.iterdir()) == ["broker-exec-file", "broker-exec-link", "other"]
    assert (elsewhere / "file").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory to another user")
def test_directory_of_another_user_is_kept(tmp_path: Path) -> None:
    left = make_abandoned(tmp_path)
    os.chown(left, 12345, -1)
    with private_directory((str(tmp_path),)):
        assert left.exists()
