"""What is in the image: nothing that is not needed, the same every time, and all of it in the bill of materials."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
from email import message_from_string
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from broker import __version__
from image.sbom import SBOM
from tests.image.container_pod import USER

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.image.conftest import Built
    from tests.image.container_pod import ContainerPod
    from tests.support.containers import Containers

pytestmark = pytest.mark.process

REPOSITORY = Path(__file__).parents[2]
MAXIMUM_BYTES = 110_000_000
SHELLS = {"ash", "bash", "busybox", "csh", "dash", "fish", "ksh", "mksh", "sh", "toybox", "zsh"}
MANAGERS = {"apk", "apt", "apt-get", "conda", "dnf", "dpkg", "easy_install", "microdnf", "pip", "rpm", "uv", "yum"}
TOOLS = {"curl", "gdb", "nc", "perl", "su", "sudo", "wget"}


def described(tools: Containers, image: str) -> dict[str, Any]:
    """Return what podman tells of an image."""
    (description,) = json.loads(tools.podman("image", "inspect", image))
    assert isinstance(description, dict)
    return description


def files_below(files: Path) -> list[Path]:
    """Return every file of the image, links left out."""
    return [path for path in sorted(files.rglob("*")) if path.is_file() and not path.is_symlink()]


@pytest.fixture(scope="module")
def bill(built: Built) -> dict[str, Any]:
    bill = json.loads((built.files / SBOM.relative_to("/")).read_text())
    assert isinstance(bill, dict)
    return bill


@pytest.fixture(scope="module")
def versions(bill: dict[str, Any]) -> Callable[[str], dict[str, str]]:
    """Give the names and versions of the packages whose package URL begins so."""
    return lambda kind: {c["name"]: c["version"] for c in bill["components"] if c["purl"].startswith(f"pkg:{kind}/")}


def test_two_builds_of_one_tree_give_one_image(tools: Containers, built: Built) -> None:
    first, second = described(tools, built.image), described(tools, built.again)
    assert first["RootFS"]["Layers"] == second["RootFS"]["Layers"] != []
    assert first["Id"] == second["Id"]


def test_image_is_at_most_110_megabytes_uncompressed(tools: Containers, built: Built) -> None:
    in_files = sum(path.stat().st_size for path in files_below(built.files))
    told = described(tools, built.image)["Size"]
    assert in_files <= told <= MAXIMUM_BYTES


def test_labels_say_what_it_is(tools: Containers, built: Built) -> None:
    labels = described(tools, built.image)["Labels"]
    ours = {name.rpartition(".")[2]: text for name, text in labels.items() if name.startswith("org.opencontainers.")}
    assert set(ours) == {"title", "description", "licenses", "version"}
    assert (ours["version"], ours["licenses"]) == (__version__, "Apache-2.0")


def test_programs_are_the_interpreter_and_the_launcher(built: Built) -> None:
    assert {path.name for path in (built.files / "usr/local/bin").iterdir()} >= {"sts-broker", "python", "python3"}
    executable = [path for path in files_below(built.files) if path.stat().st_mode & 0o111]
    library = built.files / "usr/local/lib"
    programs = {path.name for path in executable if ".so" not in path.name and not path.is_relative_to(library)}
    assert {re.sub(r"[\d.]+$", "", name) for name in programs} == {"sts-broker", "python"}


def test_there_is_no_shell_no_package_manager_and_no_tool(built: Built) -> None:
    everything = {path.name for path in built.files.rglob("*") if not path.is_dir()}
    assert everything & (SHELLS | MANAGERS | TOOLS) == set()
    modules = {path.name for path in built.files.glob("usr/local/lib/python3.*/site-packages/*")}
    assert modules & {"pip", "setuptools", "wheel", "ensurepip", "sandbox", "boto3", "moto"} == set()


def test_no_file_lends_anybody_rights_or_can_be_changed(built: Built) -> None:
    modes = {path: path.lstat().st_mode for path in built.files.rglob("*") if not path.is_symlink()}
    assert [path for path, mode in modes.items() if mode & (stat.S_ISUID | stat.S_ISGID)] == []
    writable = {path for path, mode in modes.items() if mode & 0o022 or path.stat().st_uid != 0}
    assert writable == {built.files / "var/run/aws"}
    assert [path for path in files_below(built.files) if "security.capability" in os.listxattr(path)] == []


def test_tls_and_names_work_in_it(pod: ContainerPod) -> None:
    code = (
        "import socket, ssl; print(len(ssl.create_default_context().get_ca_certs()) > 50,"
        "socket.getaddrinfo('localhost', 443)[0][4][0])"
    )
    ended = pod.app("python3", "-c", code, user=USER, image=pod.image)
    assert (ended.code, ended.out) == (0, "True 127.0.0.1\n"), ended.err


class TestBillOfMaterials:
    """It is CycloneDX, and says of every package what auditors ask for."""

    def test_document_is_of_the_image(self, bill: dict[str, Any]) -> None:
        assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
        assert bill["metadata"]["component"]["version"] == __version__
        (contains,) = bill["dependencies"]
        assert contains["ref"] == bill["metadata"]["component"]["bom-ref"]
        assert contains["dependsOn"] == [component["bom-ref"] for component in bill["components"]]

    def test_every_package_has_version_licence_and_package_url(self, bill: dict[str, Any]) -> None:
        every = [part for component in bill["components"] for part in (component, *component.get("components", ()))]
        for component in every:
            assert component["version"] in component["purl"].replace("%2B", "+")
            assert re.match(r"pkg:(cargo|deb/debian|generic|pypi)/[^@]+@", component["purl"])
            assert component["licenses"]
        references = [component["bom-ref"] for component in every]
        assert len(set(references)) == len(references)

    def test_python_packages_are_those_of_the_lock(self, versions: Callable[[str], dict[str, str]]) -> None:
        lock = (REPOSITORY / "requirements/runtime.txt").read_text()
        assert versions("pypi") == dict(re.findall(r"^([a-z0-9-]+)==(\S+)", lock, re.MULTILINE))

    def test_python_packages_are_those_in_the_image(
        self, built: Built, versions: Callable[[str], dict[str, str]]
    ) -> None:
        notes = built.files.glob("usr/local/lib/python3.*/site-packages/*.dist-info/METADATA")
        found = {each["Name"]: each["Version"] for each in (message_from_string(note.read_text()) for note in notes)}
        listed = {**versions("pypi"), "sts-federation-broker": __version__}
        assert {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in found.items()} == listed
        places = {path.name for path in built.files.glob("usr/local/lib/python3.*/site-packages/*") if path.is_dir()}
        assert "pydantic_core" in places

    def test_python_c_library_and_openssl_are_those_that_run(
        self, pod: ContainerPod, versions: Callable[[str], dict[str, str]]
    ) -> None:
        code = "import platform as p, ssl; print(p.python_version(), p.libc_ver()[1], ssl.OPENSSL_VERSION.split()[1])"
        python, libc, openssl = pod.app("python3", "-c", code, user=USER, image=pod.image).out.split()
        assert versions("generic")["python"] == python
        debian = versions("deb")
        assert debian["libc6"].startswith(f"{libc}-")
        assert next(v for name, v in debian.items() if name.startswith("libssl")).startswith(f"{openssl}-")

    def test_every_library_of_debian_belongs_to_a_package_in_it(
        self, built: Built, versions: Callable[[str], dict[str, str]]
    ) -> None:
        libraries = {path.name for path in files_below(built.files / "usr/lib") if ".so" in path.name}
        assert len(libraries) > 8
        search = ["dpkg-query", "--search", *(f"*/{name}" for name in libraries)]
        answer = subprocess.run(search, check=True, capture_output=True, text=True).stdout
        owners = [line.split(": ", 1) for line in answer.splitlines()]
        listed = set(versions("deb"))
        owned = {Path(path).name for packages, path in owners if packages.partition(":")[0] in listed}
        assert owned == libraries
        assert "ca-certificates" in listed
