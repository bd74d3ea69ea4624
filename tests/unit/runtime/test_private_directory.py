"""The directory of `sts-broker exec` is its user's alone, and gone at the end, also of one that was killed."""

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


def abandoned(parent: Path, *, age_seconds: float = HOUR_SECONDS) -> Path:
    """Make what a killed predecessor leaves behind."""
    path = Path(tempfile.mkdtemp(prefix="broker-exec-", dir=parent))
    (path / "default.json").write_text("{}")
    age(path, age_seconds)
    return path


def age(path: Path, seconds: float = HOUR_SECONDS) -> None:
    """Let a directory look as if nothing had happened in it for so long."""
    os.utime(path, (time.time() - seconds,) * 2)


def test_it_is_made_in_the_first_parent_that_lets_us(tmp_path: Path) -> None:
    (tmp_path / "second").mkdir()
    parents = (str(tmp_path / "absent"), str(tmp_path / "second"), str(tmp_path))
    with private_directory(parents) as path:
        assert Path(path).parent == tmp_path / "second"
        assert Path(path).stat().st_mode & 0o777 == 0o700


def test_systems_temporary_directory_is_the_last_resort(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with private_directory(("/none", "/none/either")) as path:
        assert Path(path).parent == tmp_path


def test_no_place_at_all_is_told_with_what_to_change(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/none/too")
    with pytest.raises(PublishError, match=r"in /none, /none/either and .* Mount an emptyDir") as caught:
        private_directory(("/none", "/none/either")).__enter__()
    assert caught.value.exit_code == 5


def test_it_is_gone_afterwards_with_all_that_is_in_it(tmp_path: Path) -> None:
    with private_directory((str(tmp_path),)) as path:
        (Path(path) / "of-the-command").mkdir()
        (Path(path) / "of-the-command" / "file").write_text("x")
    assert list(tmp_path.iterdir()) == []


def test_it_is_gone_after_a_bug_too(tmp_path: Path) -> None:
    with suppress(ZeroDivisionError), private_directory((str(tmp_path),)):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_directory_that_is_gone_already_is_no_fault(tmp_path: Path) -> None:
    with private_directory((str(tmp_path),)) as path:
        Path(path).rmdir()


def test_abandoned_one_is_removed_by_the_next(tmp_path: Path) -> None:
    left = abandoned(tmp_path)
    with private_directory((str(tmp_path),)):
        assert not left.exists()


def test_one_in_use_is_left_alone_however_old(tmp_path: Path) -> None:
    with private_directory((str(tmp_path),)) as first:
        age(Path(first))
        with private_directory((str(tmp_path),)) as second:
            assert Path(first).exists()
            assert first != second


def test_young_one_is_left_alone_for_it_may_be_about_to_be_locked(tmp_path: Path) -> None:
    left = abandoned(tmp_path, age_seconds=1)
    with private_directory((str(tmp_path),)):
        assert left.exists()


def test_what_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "file").write_text("x")
    parent = tmp_path / "parent"
    parent.mkdir()
    (parent / "broker-exec-link").symlink_to(elsewhere)
    (parent / "broker-exec-file").write_text("x")
    (parent / "other").mkdir()
    age(parent / "other")
    age(elsewhere)
    with private_directory((str(parent),)):
        pass
    assert sorted(path.name for path in parent.iterdir()) == ["broker-exec-file", "broker-exec-link", "other"]
    assert (elsewhere / "file").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory to another user")
def test_another_users_is_left_alone(tmp_path: Path) -> None:
    left = abandoned(tmp_path)
    os.chown(left, 12345, -1)
    with private_directory((str(tmp_path),)):
        assert left.exists()
