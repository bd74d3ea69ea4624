"""The sidecar's image for arm64: built from the same Dockerfile, and run, under emulation.

The base is a stand-in, as in the other tests of the image: Debian's own packages for arm64. The build and its programs
are real. Where the emulation does not work, the tests are skipped with the reason.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pip
import pytest

from broker import __version__
from sandbox import Sandbox
from tests.support import stand_in_base
from tests.support.broker_image import EPOCH, REPOSITORY, copy_tree
from tests.support.containers import NoContainers
from tests.support.emulation import Emulation, find_emulation

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.process, pytest.mark.xdist_group("arm64")]

SUITE, PYTHON = "bookworm", "3.11"
"""The Debian of the base, and its Python."""
BASE = f"localhost/stand-in-python-arm64:{PYTHON}"
ARM64 = 0xB7
"""The machine in the head of a program. Source: elf.h (EM_AARCH64)."""
TAGS = [f"manylinux{each}_aarch64" for each in ("_2_17", "2014", "_2_28", "_2_34")]
BUILD_SECONDS = 1800
LOCKS = ("runtime", "operator", "build")

# Lays out the base as the other tests do, in a tree in which Debian's Python for arm64 runs.
LAY_OUT = "from pathlib import Path; import stand_in_base as s; b = Path('/base'); b.mkdir(); s.lay_out_base(b)"
# $1: the base's files, $2: its name, then the build. All in one namespace, because mounts end with it.
BUILD = """
base=$(buildah from --arch arm64 scratch)
cp -a "$1/." "$(buildah mount "$base")/"
buildah config --arch arm64 --env PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$base"
buildah commit --rm --quiet "$base" "$2"
cd "$3"
shift 3
buildah bud --quiet "$@" .
image=$(buildah from --arch arm64 --pull-never localhost/sidecar:arm64)
cp -a "$(buildah mount "$image")/." "$FILES/"
buildah inspect --type image localhost/sidecar:arm64 > "$FILES.json"
"""
# $1: the image's files. Devices and processes are those of the machine.
ENTER = """
for name in dev proc; do mkdir -p "$1/$name"; mount --rbind "/$name" "$1/$name"; done
root=$1
shift
exec chroot --userspec=65532:65532 "$root" /usr/local/bin/sts-broker "$@"
"""


def download_wheels(lock: str, directory: Path) -> subprocess.CompletedProcess[str]:
    """Download the wheels of a lock for arm64. pip checks their hashes."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--only-binary=:all:"]
    command += ["--no-deps", "--require-hashes", f"--python-version={PYTHON}", "--implementation=cp"]
    command += [f"--platform={tag}" for tag in TAGS] + [f"--dest={directory}"]
    return subprocess.run(
        [*command, f"--requirement={REPOSITORY}/requirements/{lock}.txt"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Download all wheels for arm64."""
    directory = tmp_path_factory.mktemp("wheels")
    for lock in LOCKS:
        done = download_wheels(lock, directory)
        lines = done.stderr.strip().splitlines()
        if done.returncode and not any("No matching distribution" in line for line in lines):
            pytest.skip(f"SKIPPED: pip cannot download the wheels for arm64: {lines[-1]}")
        assert done.returncode == 0, done.stderr
    return directory


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """The files of the image, its configuration, and what runs its programs."""

    files: Path
    configuration: dict[str, object]
    emulation: Emulation

    def run(self, *arguments: str, **environment: str) -> str:
        """Run the broker in the image's files, as its user. Return its output."""
        return self.emulation.run("sh", "-ec", ENTER, "sh", str(self.files), *arguments, environment=environment)


@pytest.fixture(scope="session")
def image(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    root = Path(tempfile.mkdtemp(prefix="stsb-arm64-"))
    try:
        yield build(find_emulation(), root, wheels, copy_tree(REPOSITORY, tmp_path_factory.mktemp("tree")))
    except (NoContainers, subprocess.TimeoutExpired) as error:
        pytest.skip(f"THE IMAGE FOR ARM64 IS NOT TESTED: {error}")
    finally:
        shutil.rmtree(root, ignore_errors=True)


def build(emulation: Emulation, root: Path, wheels: Path, tree: Path) -> Image:
    """Build the image below `root`. Raises NoContainers."""
    debian, files = root / "debian", root / "files"
    emulation.run(
        *("mmdebstrap", "--quiet", "--mode=root", "--variant=essential", "--architectures=arm64"),
        *("--skip=check/qemu,chroot/mount/dev,chroot/mount/sys", "--include=python3,binutils,ca-certificates"),
        *(SUITE, str(debian)),
        timeout=BUILD_SECONDS,
    )
    shutil.copytree(Path(pip.__file__).parent, debian / "opt/pip", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(stand_in_base.__file__, debian / "opt")
    variables = ("env", "PYTHONPATH=/opt", "PATH=/usr/sbin:/usr/bin:/sbin:/bin")
    emulation.run("chroot", str(debian), *variables, "python3", "-c", LAY_OUT, timeout=BUILD_SECONDS)
    files.mkdir()
    (root / "storage.conf").write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{root}/store"\nrunroot = "{root}/run"\n'
    )
    arguments = {"PYTHON_IMAGE": BASE, "PIP_NO_INDEX": "1", "VERSION": __version__}
    command = (
        *("sh", "-ec", BUILD, "sh", str(debian / "base"), BASE, str(tree)),
        *("--isolation=chroot", "--pull-never", "--platform=linux/arm64", f"--build-context=wheels={wheels}"),
        *(f"--build-arg={key}={value}" for key, value in arguments.items()),
        *(
            "--target=sidecar",
            f"--timestamp={EPOCH}",
            "--manifest=localhost/sidecar:list",
            "--tag=localhost/sidecar:arm64",
        ),
    )
    environment = {"CONTAINERS_STORAGE_CONF": str(root / "storage.conf"), "FILES": str(files)}
    try:
        emulation.run(*command, timeout=BUILD_SECONDS, environment=environment)
    except NoContainers as error:  # the base was built, so it is not for lack of tools
        pytest.fail(str(error))
    configuration = json.loads((root / "files.json").read_text())
    return Image(files=files, configuration=configuration, emulation=emulation)


def read_machine(path: Path) -> int:
    """Return the machine in the head of a program or library; 0 for any other file."""
    with path.open("rb") as file:
        head = file.read(20)
    return int.from_bytes(head[18:20], "little") if head.startswith(b"\x7fELF") else 0


@pytest.mark.parametrize("lock", LOCKS)
def test_every_locked_package_has_a_wheel_for_arm64(lock: str, wheels: Path) -> None:
    names = {
        line.partition("==")[0]
        for line in (REPOSITORY / f"requirements/{lock}.txt").read_text().splitlines()
        if "==" in line
    }
    found = {path.name.partition("-")[0].replace("_", "-").lower() for path in wheels.iterdir()}
    assert {name for name in names if name not in {"colorama", "tzdata"}} <= found
    assert not [path.name for path in wheels.iterdir() if "x86_64" in path.name]


def test_image_is_for_arm64(image: Image) -> None:
    assert image.configuration["OCIv1"]["architecture"] == "arm64"  # type: ignore[index]


def test_every_program_and_library_is_for_arm64(image: Image) -> None:
    paths = (path for path in image.files.rglob("*") if path.is_file() and not path.is_symlink())
    machines = {str(path.relative_to(image.files)): found for path in paths if (found := read_machine(path))}
    assert "usr/local/bin/python3.11" in machines
    assert any(path.endswith(".so") and "/httptools/" in path for path in machines)
    assert {path: machine for path, machine in machines.items() if machine != ARM64} == {}


def test_broker_gets_credentials(image: Image) -> None:
    """The broker of the image exchanges a token at the simulator and publishes: parsers, TLS, workers, files."""
    published = image.files / "var/run/aws"
    with Sandbox(issuer="https://oidc.arm64.example/cluster") as simulator:
        token = simulator.projected_token(image.files / "token")
        for path in (image.files / "token", *(image.files / "token").rglob("*")):
            os.chown(path, 65532, 65532, follow_symlinks=False)
        settings = simulator.environment(token)
        settings["AWS_WEB_IDENTITY_TOKEN_FILE"] = "/token/token"
        assert image.run("--version") == f"sts-federation-broker {__version__}\n"
        image.run("once", "--timeout", "120", **settings)
    credentials = json.loads((published / "default.json").read_text())
    assert credentials["AccessKeyId"].startswith("ASIA")
