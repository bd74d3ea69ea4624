"""Operator commands where their packages are missing, as in the sidecar image: listed, and refused with one message."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from broker import __version__
from broker.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

PACKAGES = ("broker.inject", "broker.issuer", "broker.trust", "boto3", "cryptography")


class HidingFinder:
    """A meta path finder that makes packages and their submodules look uninstalled."""

    def __init__(self, packages: Sequence[str]) -> None:
        self._packages = packages

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        del path, target
        if is_in(fullname, self._packages):
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)
        return None


def is_in(module: str, packages: Sequence[str]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


@pytest.fixture
def hide(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def hide_packages(*packages: str) -> None:
        for name in [name for name in sys.modules if is_in(name, packages)]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setattr(sys, "meta_path", [HidingFinder(packages), *sys.meta_path])

    return hide_packages


def expected_message(command: str, module: str) -> str:
    return (
        f"sts-broker: {command} is an operator command, and this installation lacks the Python module {module}. "
        f"Use the operator image sts-federation-broker-operator:{__version__}, "
        "or run: pip install 'sts-federation-broker[operator]'\n"
    )


@pytest.mark.parametrize(
    ("arguments", "command", "module"),
    [
        (["trust"], "trust", "broker.trust"),
        (["trust", "--help"], "trust", "broker.trust"),
        (["trust", "lint", "--format", "sarif", "-"], "trust", "broker.trust"),
        (["trust", "explain", "--", "-x"], "trust", "broker.trust"),
        (["inject", "-f", "app.yaml", "--check"], "inject", "broker.inject"),
        (["issuer", "check", "https://oidc.example/c"], "issuer", "broker.issuer"),
        (["doctor", "--policy", "trust.json", "--json"], "doctor --policy", "broker.trust"),
        (["doctor", "--policy", "iam"], "doctor --policy iam", "broker.trust"),
    ],
)
def test_command_without_its_package_ends_with_2_and_one_message(
    hide: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    command: str,
    module: str,
) -> None:
    hide(*PACKAGES)
    assert main.main(arguments) == 2
    assert capsys.readouterr() == ("", expected_message(command, module))


@pytest.mark.parametrize(
    ("arguments", "command", "library"),
    [
        (["issuer", "render", "--issuer", "https://oidc.example/c", "--output", "site"], "issuer", "cryptography"),
        (["doctor", "--policy", "iam"], "doctor --policy iam", "boto3"),
        (["trust", "audit"], "trust audit", "boto3"),
        (["trust", "audit", "details.json"], "trust audit", "rich"),
        (["trust", "audit", "--html", "x.html"], "trust audit", "jinja2"),
    ],
)
def test_command_without_its_library_ends_with_2_and_one_message(
    hide: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    command: str,
    library: str,
) -> None:
    hide(library)
    assert main.main(arguments) == 2
    assert capsys.readouterr() == ("", expected_message(command, library))


@pytest.mark.parametrize("verb", ["trust", "inject"])
def test_command_that_needs_no_library_is_available_without_them(
    hide: Callable[..., None], capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    hide("boto3", "cryptography")
    with pytest.raises(SystemExit) as ended:
        main.main([verb, "--help"])
    assert ended.value.code == 0
    assert f"usage: sts-broker {verb}" in capsys.readouterr().out


def test_policy_is_linted_and_rendered_without_boto3_and_cryptography(
    hide: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    hide("boto3", "botocore", "cryptography", "broker.trust.iam_role")
    options = ["--account", "123456789012", "--issuer", "https://oidc.example/c"]
    identity = ["--namespace", "demo", "--service-account", "app"]
    assert main.main(["trust", "render", *options, *identity]) == 0
    assert "oidc.example/c:sub" in capsys.readouterr().out


@pytest.mark.parametrize("hidden", [PACKAGES, ()], ids=["sidecar", "operator"])
def test_help_lists_operator_commands_under_their_heading(
    hide: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    hidden: tuple[str, ...],
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    hide(*hidden)
    with pytest.raises(SystemExit) as ended:
        main.main(["--help"])
    assert ended.value.code == 0
    listed = capsys.readouterr().out.partition("Operator commands:\n")[2].partition("\n\n")[0]
    assert [line.split()[0] for line in listed.splitlines()] == ["trust", "issuer", "inject"]


def test_import_error_inside_a_package_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise ModuleNotFoundError("No module named 'other'", name="other")

    monkeypatch.setattr("broker.cli.trust_arguments.add_verbs", fail)
    with pytest.raises(ModuleNotFoundError, match="other"):
        main.main(["trust", "lint", "-"])


@pytest.mark.usefixtures("unmeasured")
def test_doctor_is_imported_without_the_trust_tools() -> None:
    script = "import sys, broker.doctor.examination; print([name for name in sys.modules if name == 'broker.trust'])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"
