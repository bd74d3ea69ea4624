"""Where containers don't work, the tests are skipped with the reason, before any file is created."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING

import pytest

from tests.support.containers import NoContainers, containers

if TYPE_CHECKING:
    from pathlib import Path


def test_missing_programs_are_named_with_their_packages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "podman").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    with (
        pytest.raises(
            NoContainers, match=r"^not installed: buildah, runc, conmon, nsenter, strip \(on Debian: apt-get "
        ),
        containers(),
    ):
        pass


def test_kernel_that_refuses_containers_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("buildah", "podman", "runc", "conmon", "nsenter", "strip"):
        (tmp_path / name).write_text("#!/bin/sh\necho one >&2; echo 'unshare: operation not permitted' >&2; exit 1\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    with (
        pytest.raises(NoContainers, match=r"^a trivial container does not run here: unshare: operation not permitted$"),
        containers(),
    ):
        pass
