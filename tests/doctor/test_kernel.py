"""What only a kernel can show: mounts of single files, full or read-only volumes, and an unprivileged user."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.program import require_wrapper
from tests.support.unprivileged_user import UnprivilegedUser, find_unprivileged_user

if TYPE_CHECKING:
    from tests.doctor.faulty_pod import FaultyPod
    from tests.support.program import Ended

pytestmark = pytest.mark.process


def mounting(script: str, *arguments: object) -> tuple[str, ...]:
    """Return the command that runs a program with its own mounts, made by the script; or skip the test.

    An ordinary user gets the right to mount from a user namespace.
    """
    namespaces = ("--mount",) if os.geteuid() == 0 else ("--user", "--map-root-user", "--mount")
    shell = ("sh", "-c", f'{script} && shift {len(arguments)} && exec "$@"', "sh")
    wrapper = ("unshare", *namespaces, *shell, *map(str, arguments))
    return require_wrapper(wrapper, untested="a mount")


@pytest.fixture
def user(monkeypatch: pytest.MonkeyPatch) -> UnprivilegedUser:
    return find_unprivileged_user(monkeypatch)


def results(ended: Ended, verdict: str) -> dict[str, str]:
    """Return the results with this verdict: their checks, and `FOUND -> FIX`."""
    assert ended.out, ended.err
    checks = json.loads(ended.out)["checks"]
    return {each["check"]: f"{each['found']} -> {each['fix']}" for each in checks if each["verdict"] == verdict}


def causes(ended: Ended) -> dict[str, str]:
    return results(ended, "failed")


def warnings(ended: Ended) -> dict[str, str]:
    return results(ended, "warning")


def open_to_others(pod: FaultyPod) -> None:
    """Move the pod's files to a directory that another user can read, with the modes that the kubelet sets.

    pytest keeps its own directories private, also against a change of their mode.
    """
    pod.memory.chmod(0o755)
    bundle = Path(shutil.copyfile(pod.network.authority.bundle, pod.memory / "ca.pem"))
    pod.volume = pod.sandbox.projected_token(pod.memory / "token-volume")
    pod.environ |= {"AWS_CA_BUNDLE": str(bundle), "AWS_WEB_IDENTITY_TOKEN_FILE": str(pod.volume.path)}


def test_file_mounted_by_itself_is_the_cause(pod: FaultyPod) -> None:
    alone = pod.disk / "alone"
    alone.write_text("")
    wrapper = mounting('mount --bind "$(readlink -f "$1")" "$2"', pod.volume.path, alone)
    ended = pod.run_doctor("--json", wrapper=wrapper, AWS_WEB_IDENTITY_TOKEN_FILE=str(alone))
    assert list(causes(ended)) == ["token-mount"]
    assert "(subPath)" in causes(ended)["token-mount"]


def test_volume_of_the_eks_webhook_is_a_warning(pod: FaultyPod) -> None:
    where = "/run/secrets/eks.amazonaws.com/serviceaccount"
    wrapper = mounting(f'mount -t tmpfs none /run && mkdir -p {where} && cp -a "$1/." {where}', pod.volume.directory)
    ended = pod.run_doctor("--json", wrapper=wrapper, AWS_WEB_IDENTITY_TOKEN_FILE=f"/var{where}/token")
    assert (ended.code, causes(ended)) == (0, {})
    assert "which every container of the pod gets" in warnings(ended)["token-secrecy"]
    assert "skip-containers" in warnings(ended)["token-secrecy"]
    assert "eks.amazonaws.com/skip-containers" in warnings(ended)["hidden"], "SDKs in the app would use the token too"


def test_read_only_volume_is_the_cause(pod: FaultyPod) -> None:
    wrapper = mounting('mount -t tmpfs -o ro none "$1"', pod.published)
    ended = pod.run_doctor("--json", wrapper=wrapper)
    assert list(causes(ended)) == ["publish-directory"]
    assert "Read-only file system. -> Mount the volume without readOnly" in causes(ended)["publish-directory"]


def test_full_volume_is_the_cause(pod: FaultyPod) -> None:
    wrapper = mounting('mount -t tmpfs -o size=8k none "$1"', pod.published)
    ended = pod.run_doctor("--json", wrapper=wrapper)
    assert list(causes(ended)) == ["publish-directory"]
    assert "No space left on device. -> Raise sizeLimit" in causes(ended)["publish-directory"]


def test_read_only_root_without_a_volume_is_the_cause(pod: FaultyPod) -> None:
    wrapper = mounting('mount -t tmpfs -o ro none "$1"', pod.memory)
    ended = pod.run_doctor("--json", wrapper=wrapper)
    assert list(causes(ended)) == ["publish-directory"]
    assert "does not exist, and can't be created. -> Mount an emptyDir" in causes(ended)["publish-directory"]


def test_unprivileged_user_in_the_directory_group_passes(pod: FaultyPod, user: UnprivilegedUser) -> None:
    open_to_others(pod)
    os.chown(pod.published, -1, user.group)
    pod.published.chmod(0o2775)
    ended = pod.run_doctor("--json", wrapper=user.wrapper)
    assert (ended.code, causes(ended), warnings(ended)) == (0, {}, {})
    assert f"user {user.uid} and group {user.group} can read, mode 0640" in ended.out


def test_unreadable_token_names_fsgroup(pod: FaultyPod, user: UnprivilegedUser) -> None:
    open_to_others(pod)
    pod.published.chmod(0o777)
    pod.canaries.add("the unreadable token", pod.volume.path.read_text())
    (pod.volume.directory / "..data/token").chmod(0)
    ended = pod.run_doctor("--json", wrapper=user.wrapper)
    assert list(causes(ended)) == ["token-file"]
    assert "Permission denied" in causes(ended)["token-file"]
    assert "-> Set fsGroup" in causes(ended)["token-file"]


def test_unwritable_directory_names_fsgroup(pod: FaultyPod, user: UnprivilegedUser) -> None:
    open_to_others(pod)
    pod.published.chmod(0o555)
    ended = pod.run_doctor("--json", wrapper=user.wrapper)
    assert list(causes(ended)) == ["publish-directory"]
    assert "Permission denied. -> Set fsGroup" in causes(ended)["publish-directory"]


def test_foreign_group_names_supplemental_groups(pod: FaultyPod, user: UnprivilegedUser) -> None:
    open_to_others(pod)
    pod.published.chmod(0o777)
    ended = pod.run_doctor("--json", wrapper=user.wrapper, BROKER_PUBLISH_GROUP="12345")
    assert list(causes(ended)) == ["publish-directory"]
    assert "can't write a file with mode 0640 and group 12345" in causes(ended)["publish-directory"]
    assert "add that group to supplementalGroups" in causes(ended)["publish-directory"]
    assert list(pod.published.iterdir()) == []
