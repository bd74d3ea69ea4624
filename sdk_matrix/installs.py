"""Installs the clients, each into its own folder below `.venv-sdk` from a lock with hashes, or from Debian's packages.

A client is installed once and kept until its lock changes. Only wheels are installed; nothing is built. Packages of the
system are installed only by root. If a client cannot be installed, `UnavailableError` gives the reason.
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
    """A client cannot be installed on this machine. The message gives the reason."""


class Install(Protocol):
    """How a client is installed. Equal values are prepared once."""

    def prepare(self) -> None:
        """Install the client if it isn't installed. Raises UnavailableError."""


@dataclass(frozen=True, slots=True)
class Venv:
    """The packages in `locks/<name>.txt`, in a virtual environment without pip."""

    name: str

    @property
    def directory(self) -> Path:
        """The directory of the environment."""
        return folder(self.name)

    @property
    def python(self) -> str:
        """The path of the interpreter."""
        return self.program("python")

    def program(self, name: str) -> str:
        """Return the path of a program in the environment."""
        return str(self.directory / "bin" / name)

    def prepare(self) -> None:
        """Install the packages, unless the same lock is already installed."""
        lock = lock_path(self.name)
        if is_ready(self.directory, lock):
            return
        venv.create(self.directory, clear=True, symlinks=True)
        run([*_PIP, "--python", self.python, "install", *_PINNED, "-r", str(lock)])
        set_ready(self.directory, lock)


@dataclass(frozen=True, slots=True)
class Npm:
    """The packages in `locks/<name>/package-lock.json`."""

    name: str

    @property
    def directory(self) -> Path:
        """The directory of the installation."""
        return folder(self.name)

    @property
    def modules(self) -> Path:
        """The directory of the modules, for NODE_PATH."""
        return self.directory / "node_modules"

    def prepare(self) -> None:
        """Install the packages, unless the same lock is already installed."""
        lock = _LOCKS / self.name / "package-lock.json"
        if not (shutil.which("node") and shutil.which("npm")):
            raise UnavailableError("node and npm are not installed")
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
        """Install the packages, unless they are installed."""
        with _apt_lock:
            missing = [package for package in self.packages if not _is_installed(package)]
            if not missing:
                return
            if not shutil.which("apt-get"):
                raise UnavailableError("this machine has no apt-get")
            if os.geteuid() != 0:
                raise UnavailableError(f"{', '.join(missing)} not installed, and apt-get needs root")
            install = [*_APT, "install", "-y", "-q", "--no-install-recommends", *missing]
            try:
                run(install)
            except UnavailableError:  # the package lists may be missing or old
                run([*_APT, "update", "-q"])
                run(install)


def folder(name: str) -> Path:
    """Return the directory of the client with this name."""
    return _HOME / name


def fetch_wheel(name: str) -> Path:
    """Download the wheel in `locks/<name>.txt` to the client's directory, which is emptied first. Return its path."""
    directory = folder(name)
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    run([*_PIP, "download", "--no-cache-dir", *_PINNED, "--dest", str(directory), "-r", str(lock_path(name))])
    return next(directory.glob("*.whl"))


def lock_path(name: str) -> Path:
    """Return the path of the lock with this name."""
    return _LOCKS / f"{name}.txt"


def is_ready(directory: Path, *sources: Path) -> bool:
    """Return whether the client in `directory` was installed from these files, with the same content."""
    ready = directory / ".ready"
    return ready.exists() and ready.read_text() == _hash_files(sources)


def set_ready(directory: Path, *sources: Path) -> None:
    """Record that the client in `directory` is installed from these files."""
    (directory / ".ready").write_text(_hash_files(sources))


def _hash_files(files: Sequence[Path]) -> str:
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def _is_installed(package: str) -> bool:
    if not shutil.which("dpkg-query"):
        return False
    query = ["dpkg-query", "--show", "--showformat=${db:Status-Status}", package]
    return subprocess.run(query, check=False, capture_output=True, text=True).stdout == "installed"


def run(command: Sequence[str], directory: Path = ROOT) -> None:
    """Run a command and wait for it. Raises UnavailableError with the last line of its output if it fails."""
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
