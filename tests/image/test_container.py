"""The sidecar's image, run as a kubelet runs it: confined, as any user, with little CPU, and with other readers."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sandbox.aws import faults
from tests.image.container_pod import FS_GROUP, PUBLISH_DIRECTORY, USER
from tests.support.containers import SLOW
from tests.support.program import eventually

if TYPE_CHECKING:
    from sandbox import Sandbox
    from tests.image.container_pod import ContainerPod

pytestmark = pytest.mark.process

OPENSHIFT_USER = "1000700000:0"
FIRST_CREDENTIALS_SECONDS = 120
"""What the startup probe of deploy/ allows. How long it takes is measured by the benchmarks."""
ENDING_SECONDS = 2
CREDENTIAL_FILES = ("config", "credentials", "default.json")
SIDECAR_VERBS = ("run", "once", "exec", "credentials", "token", "doctor")
OPERATOR_VERBS = ("issuer", "trust", "inject")


def read_process_status(pid: int) -> dict[str, str]:
    """Return the fields of /proc/PID/status."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def terminate(pid: int) -> float:
    """Send SIGTERM to a container's first process, as a kubelet does. Return the seconds until it has ended."""
    assert read_process_status(pid)["NSpid"].split()[-1] == "1"
    began = time.monotonic()
    os.kill(pid, signal.SIGTERM)
    eventually(lambda: not Path(f"/proc/{pid}").exists(), what="its end")
    return time.monotonic() - began


@pytest.mark.parametrize("user", [USER, OPENSHIFT_USER])
def test_confined_broker_with_little_cpu_has_credentials_before_its_startup_probe_fails(
    pod: ContainerPod, user: str
) -> None:
    began = time.monotonic()
    program = pod.start(SLOW, user=user)
    program.wait_for("listening", listener="health", within=FIRST_CREDENTIALS_SECONDS)
    while program.get("/readyz").status != 200:  # every second, like a startup probe
        assert time.monotonic() - began < FIRST_CREDENTIALS_SECONDS, program.output()
        time.sleep(1)
    status = read_process_status(pod.tools.pid_of("broker"))
    assert status["Uid"].split() == [user.partition(":")[0]] * 4
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    assert [int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")] == [0] * 5
    assert {path.name for path in pod.published.iterdir()} == {*CREDENTIAL_FILES, "endpoint-token", ".state.json"}
    assert {path.stat().st_gid for path in pod.published.iterdir()} == {FS_GROUP}
    modes = {path.name: path.stat().st_mode & 0o777 for path in pod.published.iterdir()}
    assert modes.pop(".state.json") == 0o600
    assert set(modes.values()) == {0o640}
    terminate(pod.tools.pid_of("broker"))
    assert program.wait() == 0


def test_broker_whose_exchange_hangs_ends_in_2_seconds(pod: ContainerPod, simulator: Sandbox) -> None:
    simulator.sts.always(faults.Hang())
    program = pod.start()
    simulator.sts.wait_for_calls(1)
    assert terminate(pod.tools.pid_of("broker")) < ENDING_SECONDS
    assert program.wait() == 0


def test_app_of_another_user_reads_the_files_only_if_it_is_in_the_group(pod: ContainerPod) -> None:
    pod.start().wait_for("refreshed")
    for name in CREDENTIAL_FILES:
        path = f"{PUBLISH_DIRECTORY}/{name}"
        inside = pod.app("cat", path, user="1000:1000", groups=(FS_GROUP,))
        assert (inside.code, inside.out) == (0, (pod.published / name).read_text())
        outside = pod.app("cat", path, user="1000:1000")
        assert outside.code != 0
        assert outside.out == ""
        assert "Permission denied" in outside.err


def test_sighup_to_the_container_refreshes_the_credentials(pod: ContainerPod) -> None:
    program = pod.start(BROKER_MINIMUM_INTERVAL_SECONDS="1")
    program.wait_for("refreshed")
    before = (pod.published / "default.json").read_bytes()
    program.refresh()
    program.wait_for("refreshed", count=2)
    assert (pod.published / "default.json").read_bytes() != before


@pytest.mark.parametrize("user", [USER, OPENSHIFT_USER])
def test_broker_without_a_volume_publishes_in_the_container(pod: ContainerPod, user: str) -> None:
    code = "import os, sys; sys.stdout.write(' '.join(sorted(os.listdir('/var/run/aws'))))"
    options = [
        option for option in pod.options(user=user) if "/var/run/aws" not in option and "read-only" not in option
    ]
    name = "without-a-volume"
    pod.tools.podman("create", "--pull=never", f"--name={name}", *options, pod.image, "once")
    pod.tools.podman("start", "--attach", name)
    kept = pod.tools.podman("commit", "--quiet", name, "localhost/without-a-volume").strip()
    listing = ("--rm", "--network=none", f"--user={user}", "--entrypoint=/usr/local/bin/python3")
    assert pod.tools.podman("run", *listing, kept, "-c", code).split() == sorted([*CREDENTIAL_FILES, ".state.json"])
    pod.tools.podman("rm", name)


def test_nothing_is_imported_from_the_working_directory_or_the_environment(pod: ContainerPod, tmp_path: Path) -> None:
    planted = tmp_path / "planted"
    planted.mkdir()
    for name in ("botocore", "broker", "sitecustomize"):
        (planted / f"{name}.py").write_text("raise SystemExit('planted')\n")
    more = (f"--volume={planted}:/planted:ro", "--workdir=/planted", "--env=PYTHONPATH=/planted")
    ended = pod.run("once", more=more)
    assert (ended.code, ended.out) == (0, "")
    assert (pod.published / "default.json").exists()


class TestVerbs:
    """The verbs that the image contains, and those that it doesn't."""

    def test_help_lists_every_verb_and_each_verb_of_the_sidecar_has_help(self, pod: ContainerPod) -> None:
        ended = pod.run("--help")
        assert ended.code == 0, ended.err
        verbs = re.findall(r"^    (\w+) ", ended.out.partition("Settings:")[0], re.MULTILINE)
        assert set(verbs) == {*SIDECAR_VERBS, *OPERATOR_VERBS, "demo"}
        for verb in SIDECAR_VERBS:
            ended = pod.run(verb, "--help")
            assert ended.code == 0, ended.err
            assert ended.out.startswith(f"usage: sts-broker {verb} ")

    @pytest.mark.parametrize(
        "arguments",
        [
            ("trust", "lint", "trust.json"),
            ("trust", "render", "--account", "123456789012"),
            ("issuer", "check", "https://oidc.example.com"),
            ("inject", "-f", "app.yaml"),
        ],
        ids=" ".join,
    )
    def test_operator_verb_fails_and_names_the_image_that_has_it(
        self, pod: ContainerPod, arguments: tuple[str, ...]
    ) -> None:
        ended = pod.run(*arguments)
        assert (ended.code, ended.out) == (2, "")
        assert "sts-federation-broker-operator" in ended.err
        assert "Traceback" not in ended.err

    def test_token_prints_the_subject(self, pod: ContainerPod) -> None:
        ended = pod.run("token", "--json")
        assert ended.code == 0, ended.err
        assert "system:serviceaccount:demo:app" in ended.out

    def test_credentials_are_printed_for_a_reader_in_the_group(self, pod: ContainerPod) -> None:
        assert pod.run("once").code == 0
        ended = pod.run("credentials", user=f"1000:{FS_GROUP}")
        assert json.loads(ended.out) == json.loads((pod.published / "default.json").read_text())

    def test_command_of_exec_gets_credentials_that_are_removed_when_it_ends(self, pod: ContainerPod) -> None:
        code = (
            "import json, os, urllib.request as u; e = os.environ;"
            "t = open(e['AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE']).read();"
            "r = u.Request(e['AWS_CONTAINER_CREDENTIALS_FULL_URI'], headers={'Authorization': t});"
            "print(json.load(u.urlopen(r))['AccessKeyId'])"
        )
        ended = pod.run("exec", "--", "python3", "-c", code)
        assert ended.code == 0, ended.err
        assert re.fullmatch(r"ASIA\w{16}\n", ended.out)
        assert list(pod.published.iterdir()) == []

    def test_missing_setting_is_named(self, pod: ContainerPod) -> None:
        ended = pod.run("once", AWS_ROLE_ARN="")
        assert ended.code == 2
        assert "AWS_ROLE_ARN" in ended.err
