"""What only a kernel can do: mounts of single files, volumes that are full or read-only, and another user than root."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, TypeAlias

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.doctor.faulty_pod import Ward
    from tests.support.program import Ended

pytestmark = pytest.mark.process

_USER = "65533"
Another: TypeAlias = "Callable[..., tuple[str, ...]]"


def mounting(script: str, *arguments: object) -> tuple[str, ...]:
    """Return the command that runs a program with mounts of its own, made by the script; or skip."""
    if os.geteuid() != 0:
        pytest.skip("not root: nothing can be mounted, so the kernel's part is not tested")
    shell = ("sh", "-c", f'{script} && shift {len(arguments)} && exec "$@"', "sh")
    wrapper = ("unshare", "--mount", *shell, *map(str, arguments))
    try:
        probe = subprocess.run([*wrapper, "true"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("no unshare(1) on this machine: the kernel's part is not tested")
    if probe.returncode != 0:
        pytest.skip(f"root without the right to mount: the kernel's part is not tested ({probe.stderr.strip()})")
    return wrapper


@pytest.fixture
def as_another(monkeypatch: pytest.MonkeyPatch) -> Another:
    """Return what gives the command that runs a program as another user, with these groups; or skip."""
    for name in ("COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG"):
        monkeypatch.delenv(name, raising=False)  # what is measured is written to a file of root's

    def wrapper(*groups: str) -> tuple[str, ...]:
        if os.geteuid() != 0:
            pytest.skip("not root: nobody else can be, so what another user meets is not tested")
        started = ("setpriv", f"--reuid={_USER}", f"--regid={_USER}", "--groups", ",".join((_USER, *groups)))
        try:
            probe = subprocess.run([*started, sys.executable, "-c", ""], capture_output=True, text=True, check=False)
        except FileNotFoundError:
            pytest.skip("no setpriv(1) on this machine: what another user meets is not tested")
        if probe.returncode != 0:
            pytest.skip(f"another user cannot start Python here: what they meet is not tested ({probe.stderr.strip()})")
        return started

    return wrapper


def causes(ended: Ended) -> dict[str, str]:
    assert ended.out, ended.err
    checks = json.loads(ended.out)["checks"]
    return {each["id"]: f"{each['found']} -> {each['do']}" for each in checks if each["verdict"] == "failed"}


def warnings(ended: Ended) -> dict[str, str]:
    assert ended.out, ended.err
    checks = json.loads(ended.out)["checks"]
    return {each["id"]: f"{each['found']} -> {each['do']}" for each in checks if each["verdict"] == "warning"}


def open_to_others(ward: Ward) -> None:
    """Let another user reach the pod's directories, as the kubelet's modes do."""
    for folder in (ward.disk, *ward.disk.parents):
        if str(folder).startswith("/tmp/"):
            folder.chmod(folder.stat().st_mode | 0o011)
    ward.memory.chmod(0o755)
    bundle = ward.hospital.authority.bundle
    for folder in bundle.parents:
        if str(folder).startswith("/tmp/"):
            folder.chmod(folder.stat().st_mode | 0o011)


def test_file_that_is_mounted_by_itself_is_told(ward: Ward) -> None:
    alone = ward.disk / "alone"
    alone.write_text("")
    wrapper = mounting('mount --bind "$(readlink -f "$1")" "$2"', ward.volume.path, alone)
    ended = ward.run("--json", wrapper=wrapper, AWS_WEB_IDENTITY_TOKEN_FILE=str(alone))
    assert list(causes(ended)) == ["token-mount"]
    assert "(subPath)" in causes(ended)["token-mount"]


def test_volume_of_the_webhook_is_a_warning(ward: Ward) -> None:
    where = "/run/secrets/eks.amazonaws.com/serviceaccount"
    wrapper = mounting(f'mount -t tmpfs none /run && mkdir -p {where} && cp -a "$1/." {where}', ward.volume.directory)
    ended = ward.run("--json", wrapper=wrapper, AWS_WEB_IDENTITY_TOKEN_FILE=f"/var{where}/token")
    assert (ended.code, causes(ended)) == (0, {})
    assert "which every container of the pod gets" in warnings(ended)["token-secrecy"]
    assert "skip-containers" in warnings(ended)["token-secrecy"]
    assert "eks.amazonaws.com/skip-containers" in warnings(ended)["hidden"], "SDKs in the app would use it too"


def test_read_only_volume_is_told(ward: Ward) -> None:
    wrapper = mounting('mount -t tmpfs -o ro none "$1"', ward.published)
    ended = ward.run("--json", wrapper=wrapper)
    assert list(causes(ended)) == ["publish-directory"]
    assert "Read-only file system. -> Mount the volume without readOnly" in causes(ended)["publish-directory"]


def test_full_volume_is_told(ward: Ward) -> None:
    wrapper = mounting('mount -t tmpfs -o size=8k none "$1"', ward.published)
    ended = ward.run("--json", wrapper=wrapper)
    assert list(causes(ended)) == ["publish-directory"]
    assert "No space left on device. -> Raise sizeLimit" in causes(ended)["publish-directory"]


def test_read_only_root_without_a_volume_is_told(ward: Ward) -> None:
    wrapper = mounting('mount -t tmpfs -o ro none "$1"', ward.memory)
    ended = ward.run("--json", wrapper=wrapper)
    assert list(causes(ended)) == ["publish-directory"]
    assert "is not there, and cannot be made. -> Mount an emptyDir" in causes(ended)["publish-directory"]


def test_another_user_of_the_group_is_well(ward: Ward, as_another: Another) -> None:
    open_to_others(ward)
    os.chown(ward.published, 0, 65532)
    ward.published.chmod(0o2775)
    ended = ward.run("--json", wrapper=as_another("65532"))
    assert (ended.code, causes(ended), warnings(ended)) == (0, {}, {})
    assert f"user {_USER} and group 65532 can read, mode 0640" in ended.out


def test_token_that_another_user_cannot_read_names_fsgroup(ward: Ward, as_another: Another) -> None:
    open_to_others(ward)
    ward.published.chmod(0o777)
    (ward.volume.directory / "..data/token").chmod(0o600)
    ended = ward.run("--json", wrapper=as_another())
    assert list(causes(ended)) == ["token-file"]
    assert "Permission denied" in causes(ended)["token-file"]
    assert "-> Set fsGroup" in causes(ended)["token-file"]


def test_directory_of_another_user_names_fsgroup(ward: Ward, as_another: Another) -> None:
    open_to_others(ward)
    ended = ward.run("--json", wrapper=as_another())
    assert list(causes(ended)) == ["publish-directory"]
    assert "Permission denied. -> Set fsGroup" in causes(ended)["publish-directory"]


def test_group_that_is_not_the_brokers_is_told(ward: Ward, as_another: Another) -> None:
    open_to_others(ward)
    ward.published.chmod(0o777)
    ended = ward.run("--json", wrapper=as_another(), BROKER_PUBLISH_GROUP="12345")
    assert list(causes(ended)) == ["publish-directory"]
    assert "mode 0640 and group 12345 cannot be put" in causes(ended)["publish-directory"]
    assert "add that group to supplementalGroups" in causes(ended)["publish-directory"]
    assert list(ward.published.iterdir()) == []
