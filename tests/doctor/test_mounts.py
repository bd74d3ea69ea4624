"""The mount table: which mount holds a path, and whether a file is mounted by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from broker.doctor.examiners.mounts import find_mount, is_mounted_alone

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    (tmp_path / "proc/self").mkdir(parents=True)
    return tmp_path / "proc"


def write(proc: Path, *lines: str) -> None:
    (proc / "self/mountinfo").write_text("\n".join(lines) + "\n")


def test_longest_mount_point_holds_the_path_and_the_last_of_two_mounts_counts(proc: Path) -> None:
    write(
        proc,
        "20 1 0:1 / / rw - overlay none rw",
        "21 20 0:2 / /nowhere rw shared:1 master:2 - ext4 /dev/x rw",
        "22 20 0:3 / /nowhere rw - tmpfs none rw",
        "23 20 0:4 / /nowhere/aws-other rw - ext4 none rw",
    )
    mount = find_mount("/nowhere/aws", str(proc))
    assert mount is not None
    assert (mount.point, mount.kind, mount.is_in_memory, mount.is_container_root) == (
        "/nowhere",
        "tmpfs",
        True,
        False,
    )


def test_escaped_space_in_a_mount_point_is_decoded(proc: Path) -> None:
    write(proc, r"20 1 0:1 / /no\040where rw - tmpfs none rw")
    mount = find_mount("/no where/aws", str(proc))
    assert mount is not None
    assert mount.point == "/no where"


def test_symbolic_link_is_resolved_to_its_mount(proc: Path, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write(proc, "20 1 0:1 / / rw - overlay none rw", f"21 20 0:2 / {tmp_path}/real rw - tmpfs none rw")
    mount = find_mount(str(tmp_path / "link"), str(proc))
    assert mount is not None
    assert mount.is_in_memory


@pytest.mark.parametrize("line", ["", "nonsense", "20 1 0:1 / /", "- tmpfs", "20 1 0:1 / /x rw - "])
def test_malformed_line_is_ignored(proc: Path, line: str) -> None:
    write(proc, line)
    assert find_mount("/x", str(proc)) is None


def test_missing_mount_table_gives_no_mount(tmp_path: Path) -> None:
    assert find_mount("/x", str(tmp_path)) is None
    assert not is_mounted_alone("/x", str(tmp_path))


def test_directory_mount_is_not_a_file_mounted_alone(proc: Path, tmp_path: Path) -> None:
    write(proc, f"21 20 0:2 / {tmp_path} rw - tmpfs none rw")
    assert not is_mounted_alone(str(tmp_path), str(proc))
