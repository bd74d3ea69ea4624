"""Lay out the root file system of an image: what the broker needs to run, and nothing else.

Runs in the build stage, with the Python that the image will contain. `assemble(contents, root, site)` copies, in order:

1. the interpreter and the standard library without modules that a service never imports (`is_wanted_module`);
2. the packages that pip installed in `site`, without pip's own records, and a launcher `/usr/local/bin/sts-broker`;
   the sidecar's image gets no operator tools (`Contents`);
3. the shared libraries that these files need, as `ldd` lists them, and a loader cache that finds them;
4. the CA bundle, and the few files in `/etc` that the C library reads;
5. for each Debian package that a file came from, its status entry and its license, where scanners look for them;
6. a bill of materials (`image/sbom.py`);
7. bytecode, then fixed modes and times.

The image has no shell, package manager or setuid file, because nothing copies one. Two builds from the same inputs give
the same bytes: bytecode does not depend on source times (`unchecked-hash`), every file time is SOURCE_DATE_EPOCH, and
no file records a path or a time of the build.

Supports Debian-based Python images with the interpreter in /usr/local. Other layouts fail the build.
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

from image.contents import IMAGES, Contents, check_packages
from image.sbom import write_sbom

USER_ID: Final = 65532
LAUNCHER: Final = Path("/usr/local/bin/sts-broker")
CA_BUNDLE: Final = Path("/etc/ssl/certs/ca-certificates.crt")

# Installers, editors and test suites; and modules that need libraries which the broker doesn't use: Tk, curses, SQLite,
# NIS.
UNWANTED_MODULES: Final = frozenset(
    {
        *("__phello__", "ensurepip", "idlelib", "lib2to3", "pydoc_data", "test", "turtledemo", "turtle", "venv"),
        *("curses", "dbm", "sqlite3", "tkinter"),
        *("_curses", "_curses_panel", "_dbm", "_gdbm", "_sqlite3", "_tkinter", "nis", "readline"),
    },
)
UNWANTED_PREFIXES: Final = ("_test", "_xx", "xx", "_ctypes_test", "config-")
# pip's records of the installation. METADATA, entry points and licenses stay, because scanners and pydantic read them.
UNWANTED_RECORDS: Final = frozenset({"INSTALLER", "RECORD", "REQUESTED", "direct_url.json"})

# The C library opens these by name, so `ldd` does not list them. The first ends threads. The others resolve host names;
# since glibc 2.34 they are part of the C library itself.
OPENED_BY_NAME: Final = ("libgcc_s.so.1", "libnss_dns.so.2", "libnss_files.so.2")

ETC: Final = {
    "passwd": f"root:x:0:0:root:/:/nonexistent\nbroker:x:{USER_ID}:{USER_ID}:broker:/:/nonexistent\n",
    "group": f"root:x:0:\nbroker:x:{USER_ID}:\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}


def assemble(contents: Contents, root: Path, site: Path) -> None:
    """Fill the empty directory `root` with the image's file system. `site` is where pip installed the packages."""
    check_packages(site / "broker")
    copy_interpreter(root)
    copy_packages(site, root, contents.left_out)
    libraries = copy_libraries(root)
    copy_file(CA_BUNDLE, root)
    for name, text in ETC.items():
        (root / "etc" / name).write_text(text, encoding="utf-8")
    copy_file(Path("/etc/os-release"), root)
    record_debian_packages([*libraries, CA_BUNDLE], root)
    write_sbom(root, contents.name)
    precompile(root)
    fix_modes_and_times(root, int(os.environ["SOURCE_DATE_EPOCH"]))


# 1. interpreter and standard library


def copy_interpreter(root: Path) -> None:
    """Copy the running interpreter, and the part of the standard library that a service needs."""
    interpreter = Path(sys.executable).resolve()
    copy_file(interpreter, root)
    for name in ("python3", "python"):
        within(root, interpreter.with_name(name)).symlink_to(interpreter.name)
    library = Path(sysconfig.get_path("stdlib"))

    def unwanted(folder: str, names: list[str]) -> set[str]:
        return {name for name in names if not is_wanted_module((Path(folder) / name).relative_to(library))}

    shutil.copytree(library, within(root, library), ignore=unwanted)


def is_wanted_module(path: Path) -> bool:
    """Return whether a file or directory belongs in the image. `path` is relative to the standard library."""
    if path.name in ("__pycache__", "site-packages", "dist-packages") or path.suffix in (".pyc", ".a", ".exe"):
        return False
    top_level = path.parts[1] if path.parts[0] == "lib-dynload" and len(path.parts) > 1 else path.parts[0]
    module = top_level.partition(".")[0]
    return module not in UNWANTED_MODULES and not module.startswith(UNWANTED_PREFIXES)


# 2. packages


def copy_packages(site: Path, root: Path, left_out: frozenset[str]) -> None:
    """Copy what pip installed, except scripts, man pages and the packages in `left_out`. Write the launcher."""

    def unwanted(folder: str, names: list[str]) -> set[str]:
        records = UNWANTED_RECORDS if folder.endswith(".dist-info") else frozenset()
        scripts = {"bin", "share"} if Path(folder) == site else set()
        packages = left_out if Path(folder) == site / "broker" else frozenset()
        return {name for name in names if name in {*records, *scripts, *packages, "__pycache__"}}

    shutil.copytree(site, within(root, Path(sysconfig.get_path("purelib"))), ignore=unwanted, dirs_exist_ok=True)
    launcher = within(root, LAUNCHER)
    launcher.write_text(launcher_text(Path(sys.executable).resolve()), encoding="utf-8")
    launcher.chmod(0o755)


def launcher_text(interpreter: Path) -> str:
    """Return the text of the launcher.

    `-I` prevents imports from the working directory, the user's site directory and PYTHON... variables.
    `-u` writes output at once, so that it isn't lost when the container is killed.
    """
    return f"#!{interpreter} -Iu\nimport sys\n\nfrom broker.__main__ import main\n\nsys.exit(main())\n"


# 3. shared libraries


def copy_libraries(root: Path) -> list[Path]:
    """Copy the shared libraries that any file in `root` needs. Return their original paths."""
    keep_merged_directories(root)
    objects = sorted(path for path in root.rglob("*") if path.is_file() and not path.is_symlink() and is_elf(path))
    needed = {library for path in objects for library in find_libraries(path)}
    folders = {library.parent for library in needed}
    needed |= {path for folder in folders for name in OPENED_BY_NAME if (path := folder / name).exists()}
    for library in sorted(needed):
        copy_file(library, root)
    cached = sorted({str(library.parent.resolve()) for library in needed})
    (root / "etc").mkdir(exist_ok=True)
    (root / "etc/ld.so.conf").write_text("\n".join(cached) + "\n", encoding="utf-8")
    run("ldconfig", "-X", "-r", str(root))
    shutil.rmtree(root / "var", ignore_errors=True)  # ldconfig's auxiliary cache, which records times of this build
    return sorted(needed)


def keep_merged_directories(root: Path) -> None:
    """Recreate the links from /lib* into /usr. Programs name their loader by the short path."""
    for folder in sorted(Path("/").glob("lib*")):
        if folder.is_symlink():
            within(root, folder.resolve()).mkdir(parents=True, exist_ok=True)
            within(root, folder).symlink_to(folder.readlink())


def is_elf(path: Path) -> bool:
    """Return whether a file is a program or a shared library."""
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def find_libraries(path: Path) -> list[Path]:
    """Return the libraries that a program or library needs, according to the loader."""
    return parse_ldd(run("ldd", str(path)), path)


def parse_ldd(output: str, path: Path) -> list[Path]:
    """Return the libraries in the output of `ldd` for `path`. A missing library fails the build."""
    missing = re.findall(r"^\s*(\S+) => not found", output, flags=re.MULTILINE)
    if missing:
        raise SystemExit(f"{path} needs {', '.join(missing)}, which the base image does not have")
    return [Path(name) for name in re.findall(r"^\s*(?:\S+ => )?(/\S+) \(0x", output, flags=re.MULTILINE)]


# 4. files


def within(root: Path, path: Path) -> Path:
    """Return the path below `root` that corresponds to an absolute path."""
    return root / path.relative_to("/")


def copy_file(path: Path, root: Path) -> None:
    """Copy the file that `path` points to. The copy keeps the name of `path` and its real directory."""
    place = within(root, path.parent.resolve() / path.name)
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(path, place)


# 5. provenance


def record_debian_packages(paths: Iterable[Path], root: Path) -> None:
    """Write the dpkg status of each package that a file came from, one file each, and copy the package's license.

    `/var/lib/dpkg/status.d` is the convention for images without a package manager. Without it, scanners would not
    report an outdated OpenSSL.
    """
    status = root / "var/lib/dpkg/status.d"
    status.mkdir(parents=True)
    for package in sorted({owner for path in paths if (owner := find_owner(path))}):
        name = package.partition(":")[0]
        (status / name).write_text(run("dpkg-query", "--status", package), encoding="utf-8")
        license_file = Path("/usr/share/doc", name, "copyright")
        if license_file.exists():  # it may be a link to another package's file; scanners look for this name
            target = within(root, license_file)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(license_file, target)


def find_owner(path: Path) -> str | None:
    """Return the Debian package that owns a file; None for files built in /usr/local."""
    if path == CA_BUNDLE:
        return "ca-certificates"  # the package generates this file, so dpkg does not list it
    real = path.parent.resolve() / path.name
    if real.is_relative_to("/usr/local"):
        return None
    # dpkg lists a file by the path in its package: with /usr, or without it in packages older than the /usr merge.
    for name in (str(real), str(real).removeprefix("/usr")):
        found = subprocess.run(  # noqa: S603  (a fixed program on a path that the loader reported)
            ["dpkg-query", "--search", name],  # noqa: S607  (the one in the base image)
            check=False,
            capture_output=True,
            text=True,
        )
        if found.returncode == 0:
            return found.stdout.partition(": ")[0]
    raise SystemExit(f"{path} belongs to no Debian package and is not in /usr/local. Its origin is unknown.")


# 7. reproducible bytes


def precompile(root: Path) -> None:
    """Compile every module, because the image is read-only at run time.

    One process does it all: the order of compilation affects the bytes.
    """
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
        raise SystemExit("A module does not compile. See the messages above.")


def fix_modes_and_times(root: Path, epoch: int) -> None:
    """Make every file readable by all and writable by root only, without setuid bits, and set its time to `epoch`."""
    for path in (root, *sorted(root.rglob("*"))):
        if not path.is_symlink():
            is_executable = path.is_dir() or path.stat().st_mode & 0o111
            path.chmod(0o755 if is_executable else 0o644)
        os.utime(path, (epoch, epoch), follow_symlinks=False)


def run(*command: str) -> str:
    """Run a program of the base image and return its output. If it fails, the build fails."""
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603  (callers pass fixed names)
    return done.stdout


if __name__ == "__main__":
    assemble(IMAGES[sys.argv[1]], Path(sys.argv[2]), Path(sys.argv[3]))
