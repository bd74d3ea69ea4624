"""The bill of materials, written of invented root file systems; that of the real image is judged in test_contents."""

from __future__ import annotations

import json
import platform
import sysconfig
from pathlib import Path
from typing import Any

import pytest

from image.sbom import SBOM, bill_of_materials, write_sbom

STATUS = (
    "Package: libssl3\nStatus: install ok installed\nArchitecture: amd64\nSource: openssl (3.0.2)\nVersion: 1:3.0~a+b\n"
)
OS_RELEASE = 'PRETTY_NAME="Debian GNU/Linux 12"\nVERSION_ID="12"\nID=debian\n'


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Lay out a file system with the broker and nothing else."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/os-release").write_text(OS_RELEASE)
    (tmp_path / "var/lib/dpkg/status.d").mkdir(parents=True)
    install(tmp_path, "sts_federation_broker", "0.1.0", "License-Expression: Apache-2.0")
    return tmp_path


def install(root: Path, name: str, version: str, *lines: str) -> Path:
    """Put a package's notes in place. Return their directory."""
    notes = root / Path(sysconfig.get_path("purelib")).relative_to("/") / f"{name}-{version}.dist-info"
    notes.mkdir(parents=True)
    fields = ["Metadata-Version: 2.4", f"Name: {name}", f"Version: {version}", *lines]
    (notes / "METADATA").write_text("\n".join(fields) + "\n\nA description: with colons.\n")
    return notes


def install_debian(root: Path, copyright_text: str | None) -> None:
    """Put a Debian package's status, and its copyright file if it has one, in place."""
    (root / "var/lib/dpkg/status.d/libssl3").write_text(STATUS)
    if copyright_text is not None:
        place = root / "usr/share/doc/libssl3"
        place.mkdir(parents=True)
        (place / "copyright").write_text(copyright_text)


def entry(root: Path, name: str) -> dict[str, Any]:
    """Return the entry of one package."""
    (found,) = (part for part in bill_of_materials(root)["components"] if part["name"] == name)
    assert isinstance(found, dict)
    return found


def test_bill_is_of_the_image_in_the_brokers_version(root: Path) -> None:
    bill = bill_of_materials(root)
    assert bill["metadata"]["component"]["version"] == "0.1.0"
    assert [part["name"] for part in bill["components"]] == ["python", "sts-federation-broker"]
    assert entry(root, "sts-federation-broker")["purl"] == "pkg:generic/sts-federation-broker@0.1.0"


def test_interpreter_is_known_by_the_name_that_advisories_use(root: Path) -> None:
    version = platform.python_version()
    assert entry(root, "python")["cpe"] == f"cpe:2.3:a:python:python:{version}:*:*:*:*:*:*:*"


@pytest.mark.parametrize(
    ("lines", "licenses"),
    [
        (["License-Expression: MIT OR Apache-2.0", "License: MIT"], [{"expression": "MIT OR Apache-2.0"}]),
        (["License: ZPL 2.1", "Classifier: License :: OSI Approved :: Zope"], [{"license": {"name": "ZPL 2.1"}}]),
        (
            ["License: Dual", "Classifier: License :: B", "Classifier: License :: OSI Approved :: A"],
            [{"license": {"name": "A"}}, {"license": {"name": "B"}}],
        ),
        (["Classifier: Topic :: X", "Classifier: License :: B"], [{"license": {"name": "B"}}]),
        (
            ["License: Copyright by many", "        and a whole text", "Classifier: License :: B"],
            [{"license": {"name": "B"}}],
        ),
    ],
)
def test_licence_is_what_the_metadata_say_best(root: Path, lines: list[str], licenses: list[dict[str, Any]]) -> None:
    install(root, "Some_Package", "1.0", *lines)
    assert entry(root, "some-package")["licenses"] == licenses
    assert entry(root, "some-package")["purl"] == "pkg:pypi/some-package@1.0"


def test_package_without_any_licence_fails_the_build(root: Path) -> None:
    install(root, "bare", "1.0")
    with pytest.raises(SystemExit, match=r"bare 1\.0 names no licence"):
        bill_of_materials(root)


def test_what_is_compiled_into_a_wheel_is_nested_without_where_it_was_built(root: Path) -> None:
    notes = install(root, "compiled", "2.0", "License-Expression: MIT")
    (notes / "sboms").mkdir()
    part = {"name": "memchr", "version": "2.7", "purl": "pkg:cargo/memchr@2.7", "licenses": [{"expression": "MIT"}]}
    built_at = {"bom-ref": "path+file:///home/somebody/memchr", "type": "library"}
    (notes / "sboms/compiled.cyclonedx.json").write_text(json.dumps({"components": [{**part, **built_at}]}))
    (nested,) = entry(root, "compiled")["components"]
    assert nested == {**part, "type": "library", "bom-ref": "compiled#pkg:cargo/memchr@2.7"}


def test_debian_package_names_its_source_and_its_release(root: Path) -> None:
    install_debian(root, "License: Apache-2.0\n")
    purl = "pkg:deb/debian/libssl3@1:3.0~a%2Bb?arch=amd64&distro=debian-12&upstream=openssl"
    assert entry(root, "libssl3")["purl"] == purl
    assert entry(root, "libssl3")["version"] == "1:3.0~a+b"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Files: *\nLicense: GPL-2+\n\nLicense: Apache-2.0\nLicense: GPL-2+\n", ["Apache-2.0", "GPL-2+"]),
        ("It is in /usr/share/common-licenses/LGPL-2.1. And that is all.\n", ["LGPL-2.1"]),
        ("License: MIT\nSee /usr/share/common-licenses/GPL-3.\n", ["MIT"]),
        ("License:\n whatever\n", ["see /usr/share/doc/libssl3/copyright"]),
        (None, ["not in the base image"]),
    ],
)
def test_debian_licences_are_those_of_the_copyright_file(root: Path, text: str | None, names: list[str]) -> None:
    install_debian(root, text)
    assert [each["license"]["name"] for each in entry(root, "libssl3")["licenses"]] == names


def test_file_is_the_same_every_time(root: Path) -> None:
    install(root, "Zeta", "1.0", "License: MIT")
    install(root, "alpha", "1.0", "License: MIT")
    write_sbom(root)
    place = root / SBOM.relative_to("/")
    first = place.read_bytes()
    write_sbom(root)
    assert place.read_bytes() == first
    purls = [part["purl"] for part in json.loads(first)["components"]]
    assert purls == sorted(purls)
