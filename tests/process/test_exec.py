"""The verb `exec`: exit codes, the environment of the command, its files and its streams."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sandbox import Misbehaviour
from sandbox.aws import faults
from tests.process.commands import KEYS, RIVALS, find_sleep_process, run_exec
from tests.support.program import command, eventually, read_proc_file

if TYPE_CHECKING:
    from tests.process.pod import Pod
    from tests.support.program import Program

pytestmark = pytest.mark.process


def start_exec(pod: Pod, *arguments: str) -> tuple[Program, int]:
    """Start `sts-broker exec ARGUMENTS -- sleep 60`. Return the broker and the process ID of its command."""
    pod.published.mkdir()
    program = pod.start("exec", *arguments, "--", "sleep", "60")
    program.wait_for("refreshed")
    return program, eventually(lambda: find_sleep_process(program), what="the command")


def terminate(program: Program) -> None:
    """Terminate a broker and its command."""
    program.signal(signal.SIGTERM)
    assert program.wait() == 128 + signal.SIGTERM


def get_environment(pod: Pod, *arguments: str, **changes: str) -> dict[str, str]:
    """Return the environment of the command."""
    ended = run_exec(pod, *arguments, "--", "env", "-0", **changes)
    assert ended.code == 0, ended.err
    pod.outputs.remove(ended.out + ended.err)  # with --env it contains secrets
    entries = [entry.split("=", 1) for entry in ended.out.split("\0") if entry]
    return {name: value for name, value in entries if not name.startswith("COVERAGE_PROCESS")}


def test_endpoint_uses_any_free_port(pod: Pod) -> None:
    """The configured port is that of a sidecar, which may run in the same pod."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert run_exec(pod, "--", "true", BROKER_ENDPOINT_ADDRESS=address).code == 0


class TestExitCode:
    """The exit code of the command, or the cause why it was not started."""

    @pytest.mark.parametrize("code", [0, 3, 255])
    def test_exit_code_is_that_of_the_command(self, pod: Pod, code: int) -> None:
        assert run_exec(pod, "--", "sh", "-c", f"exit {code}").code == code

    @pytest.mark.parametrize("number", [9, 15, 11])
    def test_command_ended_by_a_signal_is_128_plus_its_number(self, pod: Pod, number: int) -> None:
        assert run_exec(pod, "--", "sh", "-c", f"kill -{number} $$").code == 128 + number

    def test_command_that_is_not_found_is_127(self, pod: Pod) -> None:
        ended = run_exec(pod, "--", "no-such-command")
        assert ended.code == 127
        assert ended.lines[-1]["event"] == "stopping"
        assert ended.lines[-1]["message"].startswith("Cannot run no-such-command: No such file or directory.")

    def test_command_that_cannot_be_executed_is_126(self, pod: Pod) -> None:
        ended = run_exec(pod, "--", "/etc/passwd")
        assert ended.code == 126
        assert "Cannot run /etc/passwd: Permission denied." in ended.lines[-1]["message"]

    def test_refused_exchange_ends_at_once_with_4_and_no_command(self, pod: Pod) -> None:
        pod.sts.always(faults.ACCESS_DENIED)
        ended = run_exec(pod, "--timeout", "60", "--", "touch", str(pod.published / "ran"))
        assert ended.code == 4
        assert ended.seconds < 30
        assert "trust policy" in ended.lines[-1]["message"]

    def test_hanging_sts_is_4_at_the_timeout(self, pod: Pod) -> None:
        pod.sts.always(faults.Hang())
        ended = run_exec(pod, "--timeout", "1", "--", "touch", str(pod.published / "ran"))
        assert ended.code == 4
        assert ended.seconds < 15
        assert ended.lines[-1]["message"].startswith("Gave up: STS did not answer within 1 s.")

    def test_missing_token_is_3(self, pod: Pod) -> None:
        pod.misbehave(Misbehaviour.ABSENT)
        ended = run_exec(pod, "--timeout", "1", "--", "touch", str(pod.published / "ran"))
        assert ended.code == 3
        assert ended.lines[-1]["message"].startswith("Gave up: No token in ")

    def test_unknown_profile_is_2_and_lists_the_profiles(self, pod: Pod) -> None:
        ended = run_exec(pod, "--profile", "reports", "--", "true")
        assert ended.code == 2
        assert "--profile: no profile is named reports. Set --profile to one of: default." in ended.err

    def test_missing_profile_without_a_default_is_2(self, pod: Pod) -> None:
        ended = run_exec(pod, "--", "true", **two_profiles(pod))
        assert ended.code == 2
        assert "--profile is not set, and no profile is named default. Set --profile to one of: good, bad." in ended.err

    def test_no_command_is_a_usage_error(self, pod: Pod) -> None:
        ended = run_exec(pod, "--")
        assert ended.code == 2
        assert "usage: sts-broker exec" in ended.err

    def test_directory_that_is_not_writable_is_5(self, pod: Pod) -> None:
        """The endpoint token must be written to a file."""
        pod.published.mkdir()
        no_coverage = (
            "unset $(env | grep -o '^COVERAGE_PROCESS[A-Z_]*')"  # because its file could not be written either
        )
        limited = ("sh", "-c", f'{no_coverage}; ulimit -f 0; exec "$@"', "-")
        ended = pod.run("exec", "--", "true", wrapper=limited)
        assert ended.code == 5
        assert "Cannot publish in" in ended.err
        assert list(pod.published.iterdir()) == []


def two_profiles(pod: Pod) -> dict[str, str]:
    """Return settings with one profile whose role trusts the pod and one whose role does not."""
    pod.box.create_role("process-untrusting", subjects=["system:serviceaccount:demo:other"])
    file = pod.root / "broker.yaml"
    file.write_text(
        "profiles:\n"
        f"  - {{name: good, role_arn: '{pod.role_arn}', region: us-west-2}}\n"
        "  - {name: bad, role_arn: 'arn:aws:iam::123456789012:role/process-untrusting'}\n"
    )
    return {"AWS_ROLE_ARN": "", "BROKER_CONFIG": str(file)}


def test_only_the_chosen_profile_is_waited_for(pod: Pod) -> None:
    seen = get_environment(pod, "--profile", "good", **two_profiles(pod))
    assert seen["AWS_CONTAINER_CREDENTIALS_FULL_URI"].endswith("/v1/credentials/good")
    assert seen["AWS_REGION"] == seen["AWS_DEFAULT_REGION"] == "us-west-2"


class TestEnvironment:
    """The environment of the command."""

    def test_environment_is_inherited_with_the_endpoint_and_without_rivals(self, pod: Pod) -> None:
        given = {
            "MINE": "kept",
            "AWS_MAX_ATTEMPTS": "2",
            "BROKER_SERVICE_HOST": "10.0.0.1",
            "BROKER_LOG_LEVEL": "debug",
        }
        seen = get_environment(pod, **RIVALS, **given)
        directory = seen["BROKER_PUBLISH_DIRECTORY"]
        port = seen["AWS_CONTAINER_CREDENTIALS_FULL_URI"].split(":")[2].split("/")[0]
        assert directory.startswith(f"{pod.published}/broker-exec-")
        inherited = {
            name: value
            for name, value in pod.environment(**given).items()
            if name not in {"AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE"}
            and (not name.startswith("BROKER_") or name == "BROKER_SERVICE_HOST")
        }
        assert seen == {
            **inherited,
            "AWS_REGION": "eu-west-1",
            "AWS_DEFAULT_REGION": "eu-west-1",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"http://127.0.0.1:{port}/v1/credentials/default",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": f"{directory}/endpoint-token",
            "BROKER_PUBLISH_DIRECTORY": directory,
        }

    def test_variable_without_a_name_is_dropped(self, pod: Pod) -> None:
        """A shell cannot pass on a variable without a name, but `env` can."""
        ended = pod.run("exec", "--", "sh", "-c", "exit 3", wrapper=("env", "=nameless"))
        assert ended.code == 3, ended.err

    def test_environment_has_access_keys_only_with_env(self, pod: Pod) -> None:
        seen = get_environment(pod, "--env", **KEYS)
        assert {name for name in KEYS if name in seen} == set(KEYS) - {"AWS_SECURITY_TOKEN"}
        assert {name for name, value in KEYS.items() if seen.get(name) == value} == set()
        assert len(pod.canaries().found_in(json.dumps(seen))) == 2, "secret access key and session token"

    def test_no_process_has_a_secret_in_its_environment_or_arguments(self, pod: Pod) -> None:
        program, child = start_exec(pod)
        for pid in (program.pid, child):
            for name in ("environ", "cmdline"):
                assert pod.canaries().found_in(read_proc_file(pid, name)) == set()
        terminate(program)

    def test_access_keys_are_in_the_environment_of_the_command_only(self, pod: Pod) -> None:
        program, child = start_exec(pod, "--env")
        assert len(pod.canaries().found_in(read_proc_file(child, "environ"))) == 2
        for pid, name in ((program.pid, "environ"), (program.pid, "cmdline"), (child, "cmdline")):
            assert pod.canaries().found_in(read_proc_file(pid, name)) == set()
        terminate(program)

    def test_rival_file_is_replaced_and_a_harmless_file_is_kept(self, pod: Pod) -> None:
        home = pod.root / "old-home"
        (home / ".aws").mkdir(parents=True)
        (home / ".aws" / "credentials").write_text("[default]\naws_access_key_id = AKIDOFOLD\n")
        (home / ".aws" / "config").write_text("[default]\nretry_mode = standard\n")
        seen = get_environment(pod, HOME=str(home))
        assert seen["AWS_SHARED_CREDENTIALS_FILE"] == "/dev/null"
        assert "AWS_CONFIG_FILE" not in seen
        (warned,) = [line for line in run_exec(pod, "--", "true", HOME=str(home)).lines if line["event"] == "warning"]
        assert warned["credential_source"] == "AWS_SHARED_CREDENTIALS_FILE"
        assert (
            f"{home}/.aws/credentials configures credentials (aws_access_key_id in section [default])"
            in warned["message"]
        )


def test_files_exist_while_the_command_runs_and_are_private_to_its_user(pod: Pod) -> None:
    script = "cd $BROKER_PUBLISH_DIRECTORY; stat -c '%a %n' . *; $0 -m broker credentials >/dev/null || echo none"
    ended = run_exec(pod, "--", "sh", "-c", script, sys.executable, PYTHONPATH=str(Path.cwd()))
    assert ended.out.splitlines() == ["700 .", *(f"600 {name}" for name in FILES)]


FILES = ("config", "credentials", "default.json", "endpoint-token")


class TestStreams:
    """Standard input, output and error belong to the command. The broker writes log lines to standard error only."""

    def test_standard_input_reaches_the_command(self, pod: Pod) -> None:
        assert run_exec(pod, "--", "tr", "a-z", "A-Z", stdin="through and through\n").out == "THROUGH AND THROUGH\n"

    def test_binary_output_is_untouched(self, pod: Pod) -> None:
        content = bytes(range(256)) * 4096
        done = subprocess.run(
            command("exec", "--", "cat"),
            env=pod.environment(),
            input=content,
            capture_output=True,
            check=False,
            timeout=30,
        )
        assert (done.returncode, done.stdout) == (0, content)

    @pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
    def test_command_runs_with_closed_streams(self, pod: Pod, closed: str) -> None:
        ended = pod.run("exec", "--", "sh", "-c", "exit 3", wrapper=("sh", "-c", f'exec "$@" {closed}', "sh"))
        assert ended.code == 3, ended.err

    def test_standard_output_has_only_the_output_of_the_command(self, pod: Pod) -> None:
        ended = run_exec(pod, "--", "sh", "-c", "echo output; echo error >&2", BROKER_LOG_LEVEL="warning")
        assert (ended.out, ended.err) == ("output\n", "error\n")
