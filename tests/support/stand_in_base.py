"""Creates a substitute for the Dockerfile's base image, `python:3…-slim`, from the machine's own files.

No registry is needed. The substitute has what the build stages use: Debian's shell, loader and package database, a CA
bundle, and in /usr/local a Python with pip, stripped like the official image's. As in the official image, the files
that a build copies belong to Debian packages. Only Debian machines are supported (`NotDebian`).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pip

if TYPE_CHECKING:
    from collections.abc import Iterable

_PROGRAMS = ("sh", "bash", "cat", "dpkg-query", "install", "ldconfig", "ldd", "ls", "mkdir", "rm", "touch")
_MORE_LIBRARIES = (
    *("libanl.so.1", "libdl.so.2", "libm.so.6", "libpthread.so.0", "libresolv.so.2", "librt.so.1", "libutil.so.1"),
    *("libgcc_s.so.1", "libnss_dns.so.2", "libnss_files.so.2"),
)
"""Libraries that wheels are linked to but Debian's own programs are not, and libraries that are opened by name."""
_CA_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
_DPKG = Path("/var/lib/dpkg")
_LIBRARY_LEFT_OUT = (
    "__pycache__",
    "site-packages",
    "dist-packages",
    "test",
    "tests",
    "idlelib",
    "config-*",
    "_tkinter*",
    "EXTERNALLY-MANAGED",
)
_PIP = "#!/usr/local/bin/python3\nimport sys\nfrom pip._internal.cli.main import main\nsys.exit(main())\n"


class NotDebian(Exception):
    """This machine lacks files for the base image. The message says which."""


def lay_out_base(root: Path) -> None:
    """Fill the empty directory `root` with the base image. Raises NotDebian."""
    for path in (_DPKG / "status", _CA_BUNDLE, Path("/etc/os-release")):
        if not path.exists():
            raise NotDebian(f"{path} is missing; the base image needs a Debian machine with ca-certificates")
    for name in _PROGRAMS:
        program = Path(shutil.which(name, path="/usr/bin:/usr/sbin:/bin:/sbin") or f"no {name}")
        lay_out_program(program.resolve(), root)
        if not (place := root / "usr/bin" / name).exists():
            place.symlink_to(program.resolve().name)
    _lay_out_python(root / "usr/local")
    _lay_out_records(root)
    for name in ("tmp", "proc", "dev", "root"):
        (root / name).mkdir(exist_ok=True)
    (root / "tmp").chmod(0o1777)
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (root / "etc/ld.so.conf").write_text(
        "/usr/local/lib\n" + "".join(f"{folder}\n" for folder in _library_folders(root))
    )
    subprocess.run(["ldconfig", "-r", str(root)], check=True, env={"PATH": "/usr/sbin:/sbin"})


def lay_out_program(program: Path, root: Path) -> None:
    """Copy a program and its libraries to the same paths below `root`."""
    _keep_merged_directories(root)
    _copy(program, root)
    for library in _find_libraries([program]):
        _copy(library, root)


def _lay_out_python(local: Path) -> None:
    """Copy the Python that runs this, and its pip, to `local` as if they had been installed there."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    prefix = Path(sys.base_prefix)
    library = local / "lib" / version
    shutil.copytree(
        prefix / "lib" / version, library, ignore=shutil.ignore_patterns(*_LIBRARY_LEFT_OUT), symlinks=False
    )
    (local / "bin").mkdir()
    shutil.copy(prefix / "bin" / version, local / "bin")
    for shared in prefix.glob(f"lib/lib{version}.so*"):
        shutil.copy(shared, local / "lib", follow_symlinks=False)
    for name in ("python3", "python"):
        (local / "bin" / name).symlink_to(version)
    _undo_debians_layout(library)
    (library / "site-packages").mkdir()
    shutil.copytree(
        Path(pip.__file__).parent, library / "site-packages/pip", ignore=shutil.ignore_patterns("__pycache__")
    )
    (local / "bin/pip").write_text(_PIP)
    (local / "bin/pip").chmod(0o755)
    objects = [path for path in local.rglob("*") if path.is_file() and not path.is_symlink() and _is_elf(path)]
    root = local.parents[1]
    # `ldd` reads the originals, because the copies cannot find each other yet.
    for needed in _find_libraries([prefix / "bin" / version, *prefix.glob(f"lib/{version}/lib-dynload/*.so")]):
        if not needed.is_relative_to(prefix / "lib") or prefix == Path("/usr"):
            _copy(needed, root)
    for path in objects:
        path.chmod(0o755)
        subprocess.run(["strip", "--strip-all", str(path)], check=True)


def _undo_debians_layout(library: Path) -> None:
    """Make Debian's Python install packages, and find them, in the directory that the official image uses.

    Debian compiles its own search path into the interpreter, so a `sitecustomize` module adds the directory.
    """
    for module in (library / "sysconfig.py", library / "sysconfig/__init__.py"):
        if module.exists() and "posix_local" in (text := module.read_text()):
            module.write_text(text.replace("prefix_scheme = 'posix_local'", "prefix_scheme = 'posix_prefix'"))
            directory = f"/usr/local/lib/{library.name}/site-packages"
            (library / "sitecustomize.py").write_text(f"import site\n\nsite.addsitedir({directory!r})\n")


def _lay_out_records(root: Path) -> None:
    """Copy dpkg's database, the packages' licenses, and the CA bundle."""
    (root / "var/lib/dpkg/info").mkdir(parents=True)
    for path in (_DPKG / "status", _DPKG / "info/format", *_DPKG.glob("info/*.list")):
        shutil.copy(path, root / path.relative_to("/"))
    for license_file in Path("/usr/share/doc").glob("*/copyright"):
        target = root / license_file.relative_to("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(license_file, target)
    _copy(_CA_BUNDLE, root)
    shutil.copyfile("/etc/os-release", root / "etc/os-release")


def _keep_merged_directories(root: Path) -> None:
    """Recreate the links from /bin, /sbin and /lib* into /usr."""
    for folder in (*Path("/").glob("lib*"), Path("/bin"), Path("/sbin")):
        if folder.is_symlink() and not (root / folder.name).is_symlink():
            (root / folder.resolve().relative_to("/")).mkdir(parents=True, exist_ok=True)
            (root / folder.name).symlink_to(folder.readlink())


def _copy(path: Path, root: Path) -> None:
    """Copy the file that `path` points to. The copy keeps the name of `path` and its real directory."""
    place = root / (path.parent.resolve() / path.name).relative_to("/")
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place)


def _find_libraries(objects: Iterable[Path]) -> list[Path]:
    """Return the libraries that these files need, according to one run of `ldd`, and `_MORE_LIBRARIES`."""
    answer = subprocess.run(["ldd", *map(str, objects)], check=False, capture_output=True, text=True).stdout
    found = sorted({Path(name) for name in re.findall(r"(?:=> |^\s+)(/\S+) \(0x", answer, re.MULTILINE)})
    folders = {path.parent for path in found}
    return [*found, *(path for folder in folders for name in _MORE_LIBRARIES if (path := folder / name).exists())]


def _library_folders(root: Path) -> list[str]:
    """Return the directories of `root` that contain libraries."""
    folders = {path.parent for path in (root / "usr/lib").rglob("*.so*")}
    return sorted(f"/{os.path.relpath(folder, root)}" for folder in folders)


def _is_elf(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"
