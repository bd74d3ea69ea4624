"""Lay out the image's root file system: what the broker runs on, and nothing else.

Runs in the build stage, on the Python that goes into the image. `assemble(root, site)` copies, in this order:

1. the interpreter and the standard library, less what a service never imports (`wanted_from_standard_library`);
2. the packages that pip has installed in `site`, less pip's own notes, with a launcher `/usr/local/bin/sts-broker`;
3. the shared libraries that any of these needs, as `ldd` names them, and a loader cache that finds them;
4. the CA bundle, and the few files of `/etc` that the C library reads;
5. for each Debian package that a file came from, its status entry and its licence, where scanners look for them;
6. a bill of materials of all that (`image/sbom.py`);
7. bytecode, then fixed modes and times.

There is no shell, package manager or setuid file, because nothing copies one. Two builds from the same inputs give the
same bytes: bytecode is bound to nothing (`unchecked-hash`; a read-only image has no source that could change), every
time is SOURCE_DATE_EPOCH, and no file records a path or an hour of the build.

Knows Debian-based Python images with the interpreter in /usr/local; refuses to guess about any other.
"""

import compileall
import os
import py_compile
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from image.sbom import write_sbom

USER_ID: Final = 65532
LAUNCHER: Final = Path("/usr/local/bin/sts-broker")
CA_BUNDLE: Final = Path("/etc/ssl/certs/ca-certificates.crt")

# Installers, editors, test suites; and what drags in libraries that the broker has no use for: Tk, curses, SQLite, NIS.
UNWANTED_MODULES: Final = frozenset(
    {
        *("__phello__", "ensurepip", "idlelib", "lib2to3", "pydoc_data", "test", "turtledemo", "turtle", "venv"),
        *("curses", "dbm", "sqlite3", "tkinter"),
        *("_curses", "_curses_panel", "_dbm", "_gdbm", "_sqlite3", "_tkinter", "nis", "readline"),
    },
)
UNWANTED_PREFIXES: Final = ("_test", "_xx", "xx", "_ctypes_test", "config-")
# What pip writes about the installation. METADATA, entry points and licences stay: scanners and pydantic read them.
UNWANTED_NOTES: Final = frozenset({"INSTALLER", "RECORD", "REQUESTED", "direct_url.json"})

# The C library opens these by name, so `ldd` does not list them: one to end threads, the others to resolve host names
# (part of the C library itself since glibc 2.34).
OPENED_BY_NAME: Final = ("libgcc_s.so.1", "libnss_dns.so.2", "libnss_files.so.2")

ETC: Final = {
    "passwd": f"root:x:0:0:root:/:/nonexistent\nbroker:x:{USER_ID}:{USER_ID}:broker:/:/nonexistent\n",
    "group": f"root:x:0:\nbroker:x:{USER_ID}:\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}


def assemble(root: Path, site: Path) -> None:
    """Fill the empty directory `root` with the file system of the image."""
    copy_interpreter(root)
    copy_packages(site, root)
    libraries = copy_libraries(root)
    copy_file(CA_BUNDLE, root)
    for name, text in ETC.items():
        (root / "etc" / name).write_text(text, encoding="utf-8")
    copy_file(Path("/etc/os-release"), root)
    record_debian_packages([*libraries, CA_BUNDLE], root)
    write_sbom(root)
    precompile(root)
    fix_modes_and_times(root, int(os.environ["SOURCE_DATE_EPOCH"]))


# 1. interpreter and standard library


def copy_interpreter(root: Path) -> None:
    """Copy the running interpreter, and the standard library that it needs as a service."""
    interpreter = Path(sys.executable).resolve()
    copy_file(interpreter, root)
    for name in ("python3", "python"):
        within(root, interpreter.with_name(name)).symlink_to(interpreter.name)
    library = Path(sysconfig.get_path("stdlib"))

    def unwanted(folder: str, names: list[str]) -> set[str]:
        return {name for name in names if not wanted_from_standard_library((Path(folder) / name).relative_to(library))}

    shutil.copytree(library, within(root, library), ignore=unwanted)


def wanted_from_standard_library(path: Path) -> bool:
    """Say whether a file or directory, relative to the standard library, belongs into the image."""
    if path.name in ("__pycache__", "site-packages", "dist-packages") or path.suffix in (".pyc", ".a", ".exe"):
        return False
    top_level = path.parts[1] if path.parts[0] == "lib-dynload" and len(path.parts) > 1 else path.parts[0]
    module = top_level.partition(".")[0]
    return module not in UNWANTED_MODULES and not module.startswith(UNWANTED_PREFIXES)


# 2. packages


def copy_packages(site: Path, root: Path) -> None:
    """Copy what pip has installed, without its scripts, and write the one launcher that the image has."""

    def unwanted(folder: str, names: list[str]) -> set[str]:
        notes = UNWANTED_NOTES if folder.endswith(".dist-info") else frozenset()
        scripts = {"bin"} if Path(folder) == site else set()
        return {name for name in names if name in {*notes, *scripts, "__pycache__"}}

    shutil.copytree(site, within(root, Path(sysconfig.get_path("purelib"))), ignore=unwanted, dirs_exist_ok=True)
    launcher = within(root, LAUNCHER)
    launcher.write_text(launcher_text(Path(sys.executable).resolve()), encoding="utf-8")
    launcher.chmod(0o755)


def launcher_text(interpreter: Path) -> str:
    """Give the text of the launcher.

    `-I`: no import from the working directory, from the user's site or from PYTHON... variables, whoever sets them.
    `-u`: what a verb prints is out at once, also when the container is killed.
    """
    return f"#!{interpreter} -Iu\nimport sys\n\nfrom broker.__main__ import main\n\nsys.exit(main())\n"


# 3. shared libraries


def copy_libraries(root: Path) -> list[Path]:
    """Copy the shared libraries that anything in `root` needs; return where they came from."""
    keep_merged_directories(root)
    objects = sorted(path for path in root.rglob("*") if path.is_file() and not path.is_symlink() and is_elf(path))
    needed = {library for path in objects for library in libraries_of(path)}
    folders = {library.parent for library in needed}
    needed |= {path for folder in folders for name in OPENED_BY_NAME if (path := folder / name).exists()}
    for library in sorted(needed):
        copy_file(library, root)
    cached = sorted({str(library.parent.resolve()) for library in needed})
    (root / "etc").mkdir(exist_ok=True)
    (root / "etc/ld.so.conf").write_text("\n".join(cached) + "\n", encoding="utf-8")
    run("ldconfig", "-X", "-r", str(root))
    shutil.rmtree(root / "var", ignore_errors=True)  # ldconfig's own notes, with the times of this build
    return sorted(needed)


def keep_merged_directories(root: Path) -> None:
    """Repeat the links by which /lib and its like lead into /usr: programs name their loader by the short path."""
    for folder in sorted(Path("/").glob("lib*")):
        if folder.is_symlink():
            within(root, folder.resolve()).mkdir(parents=True, exist_ok=True)
            within(root, folder).symlink_to(folder.readlink())


def is_elf(path: Path) -> bool:
    """Say whether a file is a program or a shared library."""
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def libraries_of(path: Path) -> list[Path]:
    """Ask the loader which libraries a program or library needs."""
    return libraries_in(run("ldd", str(path)), path)


def libraries_in(answer: str, path: Path) -> list[Path]:
    """Read an answer of `ldd`; a library that is nowhere to be found fails the build."""
    missing = re.findall(r"^\s*(\S+) => not found", answer, flags=re.MULTILINE)
    if missing:
        raise SystemExit(f"{path} needs {', '.join(missing)}, which the base image does not have")
    return [Path(name) for name in re.findall(r"^\s*(?:\S+ => )?(/\S+) \(0x", answer, flags=re.MULTILINE)]


# 4. files


def within(root: Path, path: Path) -> Path:
    """Give the place of an absolute path below `root`."""
    return root / path.relative_to("/")


def copy_file(path: Path, root: Path) -> None:
    """Copy what `path` leads to, under its own name in its real directory."""
    place = within(root, path.parent.resolve() / path.name)
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(path, place)


# 5. provenance


def record_debian_packages(paths: Iterable[Path], root: Path) -> None:
    """Write the status of each package that a file came from, one file each, and copy its licence.

    `/var/lib/dpkg/status.d` is the convention of images without a package manager; without it, scanners would call an
    outdated OpenSSL no finding.
    """
    status = root / "var/lib/dpkg/status.d"
    status.mkdir(parents=True)
    for package in sorted({owner for path in paths if (owner := owner_of(path))}):
        name = package.partition(":")[0]
        (status / name).write_text(run("dpkg-query", "--status", package), encoding="utf-8")
        licence = Path("/usr/share/doc", name, "copyright")
        if licence.exists():  # by the name where scanners look, though it may be a link to another package's
            place = within(root, licence)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(licence, place)


def owner_of(path: Path) -> str | None:
    """Name the Debian package that a file belongs to; none for what was built in /usr/local."""
    if path == CA_BUNDLE:
        return "ca-certificates"  # which makes the file, so dpkg does not know it
    real = path.parent.resolve() / path.name
    if real.is_relative_to("/usr/local"):
        return None
    # dpkg knows a file by the path that its package names, with /usr or, from before the merge, without.
    for name in (str(real), str(real).removeprefix("/usr")):
        answer = subprocess.run(  # noqa: S603  (a fixed program on a path that the loader named)
            ["dpkg-query", "--search", name],  # noqa: S607  (the base image's own)
            check=False,
            capture_output=True,
            text=True,
        )
        if answer.returncode == 0:
            return answer.stdout.partition(": ")[0]
    raise SystemExit(f"{path} belongs to no Debian package, nor to /usr/local; where does it come from?")


# 7. the same bytes every time


def precompile(root: Path) -> None:
    """Write the bytecode that nobody can write at run time; in one process, as the order shows in the bytes."""
    library = within(root, Path(sysconfig.get_path("stdlib")))
    compiled = compileall.compile_dir(
        library,
        force=True,
        quiet=1,
        stripdir=str(root),
        prependdir="/",
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )
    if not compiled:
        raise SystemExit("a module does not compile; see above")


def fix_modes_and_times(root: Path, epoch: int) -> None:
    """Make everything readable by all and writable by root only, with no setuid bit, and of one age."""
    for path in (root, *sorted(root.rglob("*"))):
        if not path.is_symlink():
            is_executable = path.is_dir() or path.stat().st_mode & 0o111
            path.chmod(0o755 if is_executable else 0o644)
        os.utime(path, (epoch, epoch), follow_symlinks=False)


def run(*command: str) -> str:
    """Run a program of the base image and give what it prints; its failure is the build's failure."""
    answer = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603  (names come from above)
    return answer.stdout


if __name__ == "__main__":
    assemble(Path(sys.argv[1]), Path(sys.argv[2]))
