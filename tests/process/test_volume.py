"""Volume failures: a full disk, a deleted directory. The broker publishes its credentials once it can."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.process.pod import RUN_FILES
from tests.support.program import require_wrapper

if TYPE_CHECKING:
    from pathlib import Path

    from tests.process.pod import Pod

pytestmark = pytest.mark.process

TINY = 'mount -t tmpfs -o size=64k,mode=0755 tmpfs "$0" && exec "$@"'


def tiny_volume(pod: Pod) -> tuple[str, ...]:
    """Return a command that gives a program a private volume of 64 KiB. Skip the test if it cannot mount."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small tmpfs: the full disk is not tested")
    pod.published.mkdir()
    wrapper = ("unshare", "--mount", "sh", "-c", TINY, str(pod.published))
    return require_wrapper(wrapper, untested="the full disk")


def fill(file: Path) -> None:
    """Write until the volume is full."""
    with file.open("wb", buffering=0) as stream:
        try:
            while True:
                stream.write(b"\0" * 4096)
        except OSError:
            return


def test_full_disk_keeps_the_old_files_and_needs_no_further_exchange_once_there_is_space(pod: Pod) -> None:
    program = pod.start(wrapper=tiny_volume(pod))
    program.wait_for("refreshed")
    volume = pod.volume_of(program)
    before = {name: (volume / name).read_bytes() for name in RUN_FILES}
    filler = volume / "filler"
    fill(filler)
    program.refresh()
    failed = program.wait_for("publish_failed", count=2)
    assert "No space left on device. Raise sizeLimit of the emptyDir" in failed["message"]
    assert {name: (volume / name).read_bytes() for name in RUN_FILES} == before
    assert program.get("/readyz").status == 200
    assert program.get("/livez").status == 200
    assert program.status()["published_generation"] == 1
    filler.unlink()
    program.wait_for("refreshed", count=2)
    assert len(pod.sts.calls) == 2, "only the requested refresh"
    assert (volume / "default.json").read_bytes() != before["default.json"]
    assert sorted(file.name for file in volume.iterdir()) == sorted(RUN_FILES)
    assert "fault" not in program.status()


def test_deleted_publish_directory_is_created_again_with_every_file(pod: Pod) -> None:
    program = pod.start_and_publish(BROKER_PUBLISH_ENV="true")
    expected = sorted(pod.contents())
    shutil.rmtree(pod.published)
    program.refresh()
    program.wait_for("refreshed", count=3)  # the missing files, then the requested refresh
    assert sorted(pod.contents()) == expected


def test_publish_directory_that_cannot_be_created_is_used_once_it_can(pod: Pod) -> None:
    program = pod.start_and_publish()
    shutil.rmtree(pod.published)
    pod.published.write_text("a file")
    program.refresh()
    failed = program.wait_for("publish_failed")
    assert "Not a directory" in failed["message"]
    pod.published.unlink()
    program.wait_for("refreshed", count=2)
    assert sorted(pod.contents()) == sorted(RUN_FILES)
    assert len(pod.sts.calls) == 2


def test_symbolic_links_are_replaced_and_not_followed(pod: Pod) -> None:
    pod.published.mkdir()
    outside = pod.root / "outside"
    outside.write_text("untouched")
    for name in (*RUN_FILES, ".default.json.new", ".credentials.new"):
        (pod.published / name).symlink_to(outside)
    pod.start_and_publish()
    assert outside.read_text() == "untouched"
    assert sorted(pod.contents()) == sorted(RUN_FILES)
    assert not any(file.is_symlink() for file in pod.published.iterdir())
