"""Builds the broker's images from this work tree, offline, on the stand-in base.

The wheels are those of the locks. pip checks their hashes when it downloads them, and again in the build. They stay in
a temporary directory for later runs. If pip cannot download them, `NoContainers` gives the reason.
"""

from __future__ import annotations

import hashlib
import os
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
"""The Dockerfile's default SOURCE_DATE_EPOCH."""
_LOCKS = ("requirements/operator.txt", "requirements/build.txt")
"""Together they contain every package that a build installs; the sidecar's lock is a part of the operator's."""


def make_base(tools: Containers) -> str:
    """Create the stand-in base. Return its name. Raises NoContainers."""
    container = tools.buildah("from", "scratch").strip()
    try:
        lay_out_base(Path(tools.buildah("mount", container).strip()))
    except NotDebian as error:
        raise NoContainers(str(error)) from error
    tools.buildah("config", "--env", "PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", container)
    tools.buildah("commit", "--rm", "--quiet", container, BASE)
    return BASE


def fetch_wheels() -> Path:
    """Return a directory with the wheels that a build needs, and download them if necessary. Raises NoContainers."""
    text = "".join((REPOSITORY / lock).read_text() for lock in _LOCKS)
    name = hashlib.sha256(f"{sys.version} {os.geteuid()} {text}".encode()).hexdigest()[:16]
    wheels = Path(tempfile.gettempdir(), f"sts-federation-broker-wheels-{name}")
    if not wheels.exists():
        with tempfile.TemporaryDirectory(prefix="wheels-") as directory:
            downloads = Path(directory, "wheels")
            for lock in _LOCKS:
                _download(REPOSITORY / lock, downloads)
            try:
                shutil.move(str(downloads), wheels)
            except OSError:  # another process finished first
                assert wheels.is_dir()
    return wheels


def copy_tree(tree: Path, target: Path) -> Path:
    """Copy the files that the images are built from, so that later changes affect no build. Return `target`."""
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


def build(tools: Containers, tag: str, tree: Path, *, target: str) -> str:
    """Build an image of a tree on the base that `make_base` created. Return its name.

    `target` is a stage of the Dockerfile: "sidecar" or "operator". Without a target, old versions of buildah build
    every stage, which takes twice as long.
    """
    name = f"localhost/{target}:{tag}"
    arguments = {"PYTHON_IMAGE": BASE, "PIP_NO_INDEX": "1", "VERSION": __version__}
    tools.buildah(
        "bud",
        "--isolation=chroot",
        "--pull-never",
        f"--build-context=wheels={fetch_wheels()}",
        *(f"--build-arg={key}={value}" for key, value in arguments.items()),
        f"--target={target}",
        f"--timestamp={EPOCH}",
        f"--tag={name}",
        ".",
        directory=tree,
    )
    return name


def _download(lock: Path, directory: Path) -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--only-binary=:all:"]
    command += ["--require-hashes", "--no-deps", f"--requirement={lock}", f"--dest={directory}"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)
    if done.returncode != 0:
        raise NoContainers(f"pip cannot download the wheels: {done.stderr.strip().splitlines()[-1]}")
