"""The files of the images: only what is needed, the same in every build, and all of it in the bill of materials."""

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
from image.contents import OPERATOR_PACKAGES, SIDECAR_PACKAGES
from image.sbom import sbom_path
from tests.image.container_pod import USER

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.image.conftest import Built
    from tests.image.container_pod import ContainerPod
    from tests.support.containers import Containers

pytestmark = pytest.mark.process

REPOSITORY = Path(__file__).parents[2]
MAXIMUM_BYTES = {"sidecar": 110_000_000, "operator": 130_000_000}
LOCKS = {"sidecar": "requirements/runtime.txt", "operator": "requirements/operator.txt"}
NAMES = {"sidecar": "sts-federation-broker", "operator": "sts-federation-broker-operator"}
SHELLS = {"ash", "bash", "busybox", "csh", "dash", "fish", "ksh", "mksh", "sh", "toybox", "zsh"}
MANAGERS = {"apk", "apt", "apt-get", "conda", "dnf", "dpkg", "easy_install", "microdnf", "pip", "rpm", "uv", "yum"}
TOOLS = {"curl", "gdb", "nc", "perl", "su", "sudo", "wget"}


def inspect(tools: Containers, image: str) -> dict[str, Any]:
    """Return podman's description of an image."""
    (description,) = json.loads(tools.podman("image", "inspect", image))
    assert isinstance(description, dict)
    return description


def files_below(files: Path) -> list[Path]:
    """Return every file in a directory tree, without links."""
    return [path for path in sorted(files.rglob("*")) if path.is_file() and not path.is_symlink()]


@pytest.fixture(scope="module", params=["sidecar", "operator"])
def target(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def image(built: Built, target: str) -> str:
    return built.sidecar if target == "sidecar" else built.operator


@pytest.fixture(scope="module")
def files(built: Built, target: str) -> Path:
    return built.sidecar_files if target == "sidecar" else built.operator_files


@pytest.fixture(scope="module")
def bill(files: Path, target: str) -> dict[str, Any]:
    bill = json.loads((files / sbom_path(NAMES[target]).relative_to("/")).read_text())
    assert isinstance(bill, dict)
    return bill


@pytest.fixture(scope="module")
def versions(bill: dict[str, Any]) -> Callable[[str], dict[str, str]]:
    """Return a function that gives names and versions of the packages whose package URL has a certain type."""
    return lambda kind: {c["name"]: c["version"] for c in bill["components"] if c["purl"].startswith(f"pkg:{kind}/")}


def test_two_builds_of_one_tree_give_one_image(tools: Containers, built: Built) -> None:
    first, second = inspect(tools, built.sidecar), inspect(tools, built.again)
    assert first["RootFS"]["Layers"] == second["RootFS"]["Layers"] != []
    assert first["Id"] == second["Id"]


def test_image_size_is_within_its_limit(tools: Containers, image: str, files: Path, target: str) -> None:
    in_files = sum(path.stat().st_size for path in files_below(files))
    assert in_files <= inspect(tools, image)["Size"] <= MAXIMUM_BYTES[target]


def test_labels_describe_the_image(tools: Containers, image: str) -> None:
    labels = inspect(tools, image)["Labels"]
    ours = {name.rpartition(".")[2]: text for name, text in labels.items() if name.startswith("org.opencontainers.")}
    assert set(ours) == {"title", "description", "licenses", "version"}
    assert (ours["version"], ours["licenses"]) == (__version__, "Apache-2.0")


def test_image_runs_the_launcher_as_an_unprivileged_user(tools: Containers, image: str, target: str) -> None:
    config = inspect(tools, image)["Config"]
    assert (config["User"], config["Entrypoint"]) == (USER, ["/usr/local/bin/sts-broker"])
    assert config["Cmd"] == (["run"] if target == "sidecar" else ["--help"])


def test_programs_are_the_interpreter_and_the_launcher(files: Path) -> None:
    assert {path.name for path in (files / "usr/local/bin").iterdir()} >= {"sts-broker", "python", "python3"}
    executable = [path for path in files_below(files) if path.stat().st_mode & 0o111]
    library = files / "usr/local/lib"
    programs = {path.name for path in executable if ".so" not in path.name and not path.is_relative_to(library)}
    assert {re.sub(r"[\d.]+$", "", name) for name in programs} == {"sts-broker", "python"}


def test_image_has_no_shell_no_package_manager_and_no_tool(files: Path) -> None:
    everything = {path.name for path in files.rglob("*") if not path.is_dir()}
    assert everything & (SHELLS | MANAGERS | TOOLS) == set()
    modules = {path.name for path in files.glob("usr/local/lib/python3.*/site-packages/*")}
    assert modules & {"pip", "setuptools", "wheel", "ensurepip", "sandbox", "moto"} == set()


def test_sidecar_contains_neither_the_operator_tools_nor_their_dependencies(built: Built) -> None:
    (site,) = built.sidecar_files.glob("usr/local/lib/python3.*/site-packages")
    packages = {path.name for path in (site / "broker").iterdir() if path.is_dir()} - {"__pycache__"}
    assert packages == SIDECAR_PACKAGES
    assert {path.name for path in site.iterdir()} & {"boto3", "s3transfer", "cryptography", "cffi"} == set()
    assert {path.name for path in (site / "botocore/data").iterdir() if path.is_dir()} == {"sts"}


def test_operator_image_contains_the_whole_package_and_all_of_botocores_data(built: Built) -> None:
    (site,) = built.operator_files.glob("usr/local/lib/python3.*/site-packages")
    packages = {path.name for path in (site / "broker").iterdir() if path.is_dir()} - {"__pycache__"}
    assert packages == SIDECAR_PACKAGES | OPERATOR_PACKAGES
    assert {path.name for path in site.iterdir()} >= {"boto3", "cryptography"}
    assert (site / "botocore/data/iam").is_dir()
    policies = {path.relative_to(REPOSITORY / "iam-policies") for path in files_below(REPOSITORY / "iam-policies")}
    assert {path.relative_to(site / "broker/iam_policies") for path in files_below(site / "broker/iam_policies")} == (
        policies
    )


def test_no_file_has_special_rights_or_is_writable(files: Path, target: str) -> None:
    modes = {path: path.lstat().st_mode for path in files.rglob("*") if not path.is_symlink()}
    assert [path for path, mode in modes.items() if mode & (stat.S_ISUID | stat.S_ISGID)] == []
    writable = {path for path, mode in modes.items() if mode & 0o022 or path.stat().st_uid != 0}
    assert writable == ({files / "var/run/aws"} if target == "sidecar" else set())
    assert [path for path in files_below(files) if "security.capability" in os.listxattr(path)] == []


def test_tls_and_name_resolution_work(pod: ContainerPod) -> None:
    code = (
        "import socket, ssl; print(len(ssl.create_default_context().get_ca_certs()) > 50,"
        "socket.getaddrinfo('localhost', 443)[0][4][0])"
    )
    ended = pod.app("python3", "-c", code, user=USER, image=pod.image)
    assert (ended.code, ended.out) == (0, "True 127.0.0.1\n"), ended.err


class TestBillOfMaterials:
    """The bill of materials is CycloneDX, and has every package with the fields that auditors need."""

    def test_document_describes_the_image(self, bill: dict[str, Any], target: str) -> None:
        assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
        assert bill["metadata"]["component"]["name"] == NAMES[target]
        assert bill["metadata"]["component"]["version"] == __version__
        (contains,) = bill["dependencies"]
        assert contains["ref"] == bill["metadata"]["component"]["bom-ref"]
        assert contains["dependsOn"] == [component["bom-ref"] for component in bill["components"]]

    def test_every_package_has_version_license_and_package_url(self, bill: dict[str, Any]) -> None:
        every = [part for component in bill["components"] for part in (component, *component.get("components", ()))]
        for component in every:
            assert component["version"] in component["purl"].replace("%2B", "+")
            assert re.match(r"pkg:(cargo|deb/debian|generic|pypi)/[^@]+@", component["purl"])
            assert component["licenses"]
        references = [component["bom-ref"] for component in every]
        assert len(set(references)) == len(references)

    def test_python_packages_are_those_of_the_lock(
        self, versions: Callable[[str], dict[str, str]], target: str
    ) -> None:
        lock = (REPOSITORY / LOCKS[target]).read_text()
        assert versions("pypi") == dict(re.findall(r"^([a-z0-9-]+)==(\S+)", lock, re.MULTILINE))

    def test_python_packages_are_those_in_the_image(
        self, files: Path, versions: Callable[[str], dict[str, str]]
    ) -> None:
        texts = [path.read_text() for path in files.glob("usr/local/lib/python3.*/site-packages/*.dist-info/METADATA")]
        found = {each["Name"]: each["Version"] for each in map(message_from_string, texts)}
        listed = {**versions("pypi"), "sts-federation-broker": __version__}
        assert {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in found.items()} == listed
        packages = {path.name for path in files.glob("usr/local/lib/python3.*/site-packages/*") if path.is_dir()}
        assert "pydantic_core" in packages

    def test_versions_of_python_c_library_and_openssl_are_those_that_run(
        self, pod: ContainerPod, image: str, versions: Callable[[str], dict[str, str]]
    ) -> None:
        code = "import platform as p, ssl; print(p.python_version(), p.libc_ver()[1], ssl.OPENSSL_VERSION.split()[1])"
        python, libc, openssl = pod.app("python3", "-c", code, user=USER, image=image).out.split()
        assert versions("generic")["python"] == python
        debian = versions("deb")
        assert debian["libc6"].startswith(f"{libc}-")
        assert next(v for name, v in debian.items() if name.startswith("libssl")).startswith(f"{openssl}-")

    def test_every_library_of_debian_belongs_to_a_listed_package(
        self, files: Path, versions: Callable[[str], dict[str, str]]
    ) -> None:
        libraries = {path.name for path in files_below(files / "usr/lib") if ".so" in path.name}
        assert len(libraries) > 8
        search = ["dpkg-query", "--search", *(f"*/{name}" for name in libraries)]
        output = subprocess.run(search, check=True, capture_output=True, text=True).stdout
        owners = [line.split(": ", 1) for line in output.splitlines()]
        listed = set(versions("deb"))
        owned = {Path(path).name for packages, path in owners if packages.partition(":")[0] in listed}
        assert owned == libraries
        assert "ca-certificates" in listed
