"""The bill of materials of invented root file systems. test_contents checks that of the real images."""

from __future__ import annotations

import json
import platform
import sysconfig
from pathlib import Path
from typing import Any

import pytest

from image.sbom import describe_contents, sbom_path, write_sbom

IMAGE = "sts-federation-broker-operator"

STATUS = (
    "Package: libssl3\nStatus: install ok installed\nArchitecture: amd64\nSource: openssl (3.0.2)\nVersion: 1:3.0~a+b\n"
)
OS_RELEASE = 'PRETTY_NAME="Debian GNU/Linux 12"\nVERSION_ID="12"\nID=debian\n'


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Create a file system with only the broker."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/os-release").write_text(OS_RELEASE)
    (tmp_path / "var/lib/dpkg/status.d").mkdir(parents=True)
    install(tmp_path, "sts_federation_broker", "0.1.0", "License-Expression: Apache-2.0")
    return tmp_path


def install(root: Path, name: str, version: str, *lines: str) -> Path:
    """Create a package's metadata. Return its directory."""
    info = root / Path(sysconfig.get_path("purelib")).relative_to("/") / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    fields = ["Metadata-Version: 2.4", f"Name: {name}", f"Version: {version}", *lines]
    (info / "METADATA").write_text("\n".join(fields) + "\n\nA description: with colons.\n")
    return info


def install_debian(root: Path, copyright_text: str | None) -> None:
    """Create a Debian package's status, and its copyright file if there is a text."""
    (root / "var/lib/dpkg/status.d/libssl3").write_text(STATUS)
    if copyright_text is not None:
        directory = root / "usr/share/doc/libssl3"
        directory.mkdir(parents=True)
        (directory / "copyright").write_text(copyright_text)


def entry(root: Path, name: str) -> dict[str, Any]:
    """Return the entry of one package."""
    (found,) = (part for part in describe_contents(root, IMAGE)["components"] if part["name"] == name)
    assert isinstance(found, dict)
    return found


def test_bill_has_the_images_name_and_the_brokers_version(root: Path) -> None:
    bill = describe_contents(root, IMAGE)
    assert (bill["metadata"]["component"]["name"], bill["metadata"]["component"]["version"]) == (IMAGE, "0.1.0")
    assert [part["name"] for part in bill["components"]] == ["python", "sts-federation-broker"]
    assert entry(root, "sts-federation-broker")["purl"] == "pkg:generic/sts-federation-broker@0.1.0"


def test_interpreter_has_the_name_that_advisories_use(root: Path) -> None:
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
def test_license_is_the_most_precise_one_in_the_metadata(
    root: Path, lines: list[str], licenses: list[dict[str, Any]]
) -> None:
    install(root, "Some_Package", "1.0", *lines)
    assert entry(root, "some-package")["licenses"] == licenses
    assert entry(root, "some-package")["purl"] == "pkg:pypi/some-package@1.0"


def test_package_without_a_license_fails_the_build(root: Path) -> None:
    install(root, "bare", "1.0")
    with pytest.raises(SystemExit, match=r"bare 1\.0 names no license"):
        describe_contents(root, IMAGE)


def test_component_compiled_into_a_wheel_is_nested_without_its_build_path(root: Path) -> None:
    info = install(root, "compiled", "2.0", "License-Expression: MIT")
    (info / "sboms").mkdir()
    part = {"name": "memchr", "version": "2.7", "purl": "pkg:cargo/memchr@2.7", "licenses": [{"expression": "MIT"}]}
    built_at = {"bom-ref": "path+file:///home/somebody/memchr", "type": "library"}
    (info / "sboms/compiled.cyclonedx.json").write_text(json.dumps({"components": [{**part, **built_at}]}))
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
def test_debian_licenses_are_those_of_the_copyright_file(root: Path, text: str | None, names: list[str]) -> None:
    install_debian(root, text)
    assert [each["license"]["name"] for each in entry(root, "libssl3")["licenses"]] == names


def test_file_is_the_same_every_time(root: Path) -> None:
    install(root, "Zeta", "1.0", "License: MIT")
    install(root, "alpha", "1.0", "License: MIT")
    write_sbom(root, IMAGE)
    path = root / sbom_path(IMAGE).relative_to("/")
    first = path.read_bytes()
    write_sbom(root, IMAGE)
    assert path.read_bytes() == first
    purls = [part["purl"] for part in json.loads(first)["components"]]
    assert purls == sorted(purls)
