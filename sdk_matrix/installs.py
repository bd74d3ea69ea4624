"""Fetches the clients: each into a folder of its own under `.venv-sdk`, from a hash-pinned lock; Debian's by apt-get.

Rules: what a lock names is fetched once and kept until the lock changes; wheels only, nothing is built; packages of the
system are installed by root alone. Whatever cannot be had is `UnavailableError` with the reason, never a failure.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import threading
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parent.parent
DRIVERS = ROOT / "sdk_matrix" / "drivers"
_LOCKS = ROOT / "sdk_matrix" / "locks"
_HOME = ROOT / ".venv-sdk"
_PATIENCE_SECONDS = 300
_PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")
_PINNED = ("--quiet", "--no-deps", "--require-hashes", "--only-binary", ":all:")
_APT = ("apt-get", "-o", "DPkg::Lock::Timeout=60")
_apt_lock = threading.Lock()


class UnavailableError(Exception):
    """A client cannot be had here; the message says why."""


class Install(Protocol):
    """A way to have a client; equal ones are prepared once."""

    def prepare(self) -> None:
        """Make sure it is there, or raise UnavailableError."""


@dataclass(frozen=True, slots=True)
class Venv:
    """What `locks/<name>.txt` names, in a virtual environment without pip."""

    name: str

    @property
    def directory(self) -> Path:
        """Where it is."""
        return folder(self.name)

    @property
    def python(self) -> str:
        """Its interpreter."""
        return self.program("python")

    def program(self, name: str) -> str:
        """Return the path of one of its programs."""
        return str(self.directory / "bin" / name)

    def prepare(self) -> None:
        """Install it, unless this very lock was installed before."""
        lock = lock_of(self.name)
        if is_ready(self.directory, lock):
            return
        venv.create(self.directory, clear=True, symlinks=True)
        run([*_PIP, "--python", self.python, "install", *_PINNED, "-r", str(lock)])
        set_ready(self.directory, lock)


@dataclass(frozen=True, slots=True)
class Npm:
    """What `locks/<name>/package-lock.json` names."""

    name: str

    @property
    def directory(self) -> Path:
        """Where it is."""
        return folder(self.name)

    @property
    def modules(self) -> Path:
        """Where the modules are, for NODE_PATH."""
        return self.directory / "node_modules"

    def prepare(self) -> None:
        """Install it, unless this very lock was installed before."""
        lock = _LOCKS / self.name / "package-lock.json"
        if not (shutil.which("node") and shutil.which("npm")):
            raise UnavailableError("node and npm are not there")
        if is_ready(self.directory, lock):
            return
        shutil.rmtree(self.directory, ignore_errors=True)
        shutil.copytree(lock.parent, self.directory)
        run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], self.directory)
        set_ready(self.directory, lock)


@dataclass(frozen=True, slots=True)
class Debian:
    """Packages of the system."""

    packages: tuple[str, ...]

    def prepare(self) -> None:
        """Install the packages, unless they are there."""
        with _apt_lock:
            missing = [package for package in self.packages if not _is_installed(package)]
            if not missing:
                return
            if not shutil.which("apt-get"):
                raise UnavailableError("this is no Debian")
            if os.geteuid() != 0:
                raise UnavailableError(f"{', '.join(missing)} not installed, and apt-get needs root")
            install = [*_APT, "install", "-y", "-q", "--no-install-recommends", *missing]
            try:
                run(install)
            except UnavailableError:  # lists may never have been fetched, or be old
                run([*_APT, "update", "-q"])
                run(install)


def folder(name: str) -> Path:
    """Return where the client of this name is installed."""
    return _HOME / name


def fetch_wheel(name: str) -> Path:
    """Download the one wheel that `locks/<name>.txt` names into the client's folder, emptied before."""
    directory = folder(name)
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    lock = lock_of(name)
    run([*_PIP, "download", "--no-cache-dir", *_PINNED, "--dest", str(directory), "-r", str(lock)])
    return next(directory.glob("*.whl"))


def lock_of(name: str) -> Path:
    """Return the lock of this name."""
    return _LOCKS / f"{name}.txt"


def is_ready(directory: Path, *made_from: Path) -> bool:
    """Say whether all was installed here from just these files."""
    ready = directory / ".ready"
    return ready.exists() and ready.read_text() == _digest(made_from)


def set_ready(directory: Path, *made_from: Path) -> None:
    """Remember that all is installed."""
    (directory / ".ready").write_text(_digest(made_from))


def _digest(files: Sequence[Path]) -> str:
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def _is_installed(package: str) -> bool:
    if not shutil.which("dpkg-query"):
        return False
    query = ["dpkg-query", "--show", "--showformat=${db:Status-Status}", package]
    return subprocess.run(query, check=False, capture_output=True, text=True).stdout == "installed"


def run(command: Sequence[str], directory: Path = ROOT) -> None:
    """Run a command to its end; UnavailableError with its last line if it fails."""
    try:
        done = subprocess.run(
            command,
            check=False,
            cwd=directory,
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_PATIENCE_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnavailableError(f"{command[0]}: {type(error).__name__}") from error
    if done.returncode:
        last = next((line.strip() for line in reversed(done.stdout.splitlines()) if line.strip()), "no output")
        raise UnavailableError(f"{Path(command[0]).name} failed: {last[:200]}")
