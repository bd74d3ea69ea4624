"""Builds the broker's image from this work tree, offline: from wheels that pip has checked, on the stand-in base.

Rules: wheels are those of the locks, hashes and all, kept in a temporary directory from one run to the next; pip in the
build checks them again. Where pip cannot get them, `NoContainers` says so.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from broker import __version__
from tests.support.containers import NoContainers
from tests.support.stand_in_base import NotDebian, lay_out_base

if TYPE_CHECKING:
    from tests.support.containers import Containers

REPOSITORY = Path(__file__).parents[2]
BASE = f"localhost/stand-in-python:{sys.version_info.major}.{sys.version_info.minor}"
EPOCH = 1580601600
"""The Dockerfile's own SOURCE_DATE_EPOCH."""
_LOCKS = ("requirements/runtime.txt", "requirements/dev.txt")


def make_base(tools: Containers) -> str:
    """Make the stand-in base. Return its name. Raises NoContainers."""
    container = tools.buildah("from", "scratch").strip()
    try:
        lay_out_base(Path(tools.buildah("mount", container).strip()))
    except NotDebian as error:
        raise NoContainers(str(error)) from error
    tools.buildah("config", "--env", "PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", container)
    tools.buildah("commit", "--rm", "--quiet", container, BASE)
    return BASE


def wheels() -> Path:
    """Return a directory with the wheels that a build needs, downloaded where they are not there yet.

    Raises NoContainers.
    """
    text = "".join((REPOSITORY / lock).read_text() for lock in _LOCKS)
    name = hashlib.sha256(f"{sys.version} {os.geteuid()} {text}".encode()).hexdigest()[:16]
    place = Path(tempfile.gettempdir(), f"sts-federation-broker-wheels-{name}")
    if not place.exists():
        with tempfile.TemporaryDirectory(prefix="wheels-") as beside:
            backend = Path(beside, "backend.txt")
            backend.write_text(build_backend((REPOSITORY / _LOCKS[1]).read_text()))
            for lock in (REPOSITORY / _LOCKS[0], backend):
                _download(lock, Path(beside, "wheels"))
            try:
                shutil.move(str(Path(beside, "wheels")), place)
            except OSError:  # another process was quicker
                assert place.is_dir()
    return place


def build_backend(lock: str) -> str:
    """Give the part of a lock that the Dockerfile installs to build the broker's own wheel."""
    (names,) = re.findall(r"keep = /\^\(([a-z|-]+)\)==/", (REPOSITORY / "Dockerfile").read_text())
    blocks = re.findall(rf"^(?:{names})==.*(?:\n    .*)*", lock, re.MULTILINE)
    return "\n".join(blocks) + "\n"


def copy_tree(tree: Path, target: Path) -> Path:
    """Copy what the image is built of, so that no change made meanwhile tells two builds apart. Return `target`."""
    patterns = (tree / ".dockerignore").read_text().splitlines()
    for name in ["Dockerfile", ".dockerignore", *(pattern[1:] for pattern in patterns if pattern.startswith("!"))]:
        source = tree / name
        if source.is_dir():
            shutil.copytree(
                source, target / name, ignore=shutil.ignore_patterns("__pycache__"), copy_function=shutil.copyfile
            )
        else:
            target.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target / name)
    return target


def build(tools: Containers, tag: str, tree: Path) -> str:
    """Build the image of a tree on the base that `make_base` made. Return its name."""
    name = f"localhost/sts-federation-broker:{tag}"
    arguments = {"PYTHON_IMAGE": BASE, "PIP_NO_INDEX": "1", "VERSION": __version__}
    tools.buildah(
        "bud",
        "--isolation=chroot",
        "--pull-never",
        f"--build-context=wheels={wheels()}",
        *(f"--build-arg={key}={value}" for key, value in arguments.items()),
        f"--timestamp={EPOCH}",
        f"--tag={name}",
        ".",
        directory=tree,
    )
    return name


def _download(lock: Path, directory: Path) -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--only-binary=:all:"]
    command += ["--require-hashes", f"--requirement={lock}", f"--dest={directory}"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)
    if done.returncode != 0:
        raise NoContainers(f"pip gets no wheels for the image: {done.stderr.strip().splitlines()[-1]}")
