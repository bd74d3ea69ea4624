"""`sts-broker doctor` as a user runs it: text, JSON, exit codes, standard input, a terminal, a running broker."""

from __future__ import annotations

import json
import os
import pty
import socket
import subprocess
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from broker.doctor.checks import CHECKS
from tests.process.pod import fingerprint
from tests.support.program import Program, command, eventually

if TYPE_CHECKING:
    from tests.doctor.faulty_pod import FaultyPod
    from tests.support.program import Ended

pytestmark = pytest.mark.process

_TWO = """
region: eu-west-1
profiles:
  - {name: one, role_arn: "arn:aws:iam::123456789012:role/doctor-app"}
  - {name: two, role_arn: "arn:aws:iam::123456789012:role/doctor-app", required: false}
  - {name: partner, role_arn: "arn:aws:iam::123456789012:role/doctor-nobody", source_profile: one}
"""

OUTBOUND = ("web-identity-token", "web-identity-file")
"""Checks of profiles with a web identity token."""


def document(ended: Ended) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(ended.out)
    return parsed


def verdicts(ended: Ended) -> dict[str, str]:
    return {
        each["check"] + (f" {each['of']}" if each["of"] else ""): each["verdict"] for each in document(ended)["checks"]
    }


def test_healthy_pod_exits_with_0_and_every_line_is_ok(pod: FaultyPod) -> None:
    ended = pod.run_doctor()
    assert (ended.code, ended.err) == (0, "")
    *lines, last = [line for line in ended.out.splitlines() if line]
    assert last == "No problems found. Not checked: broker."
    outcomes = [line.split()[:2] for line in lines if not line.startswith("not checked")]
    assert outcomes == [["ok", check] for check in CHECKS if check not in ("trust-policy", "broker", *OUTBOUND)]


def test_cause_is_printed_last_in_full_and_exits_with_1(pod: FaultyPod) -> None:
    ended = pod.run_doctor(BROKER_AUDIENCE="vault")
    assert (ended.code, ended.err) == (1, "")
    lines = ended.out.splitlines()
    (place,) = (number for number, line in enumerate(lines) if line.startswith("failed"))
    assert lines[place].split()[:2] == ["failed", "audience"]
    assert lines[place + 1].strip().startswith("-> Set audience: vault in the projected serviceAccountToken source")
    assert lines[place + 2].strip() == "docs/operations.md#doctor-audience"
    assert "not checked exchange, identity, session: because of audience." in lines
    assert lines[-4:] == [
        "",
        "Cause: The token has the wrong audience (token_audience_mismatch)",
        f"Found: The token in {pod.volume.path} has audience sts.amazonaws.com; expected vault.",
        "Fix: " + lines[place + 1].strip().removeprefix("-> "),
    ]


def test_json_is_one_object_with_causes_and_a_verdict_for_each_check(pod: FaultyPod) -> None:
    ended = pod.run_doctor("--json", BROKER_AUDIENCE="vault")
    report = document(ended)
    assert (ended.code, report["verdict"]) == (1, "failed")
    assert [each["check"] for each in report["checks"]] == [
        check for check in CHECKS if check not in ("trust-policy", *OUTBOUND)
    ]
    (audience,) = (each for each in report["checks"] if each["check"] == "audience")
    (cause,) = report["causes"]
    assert cause == {
        "check": "audience",
        "of": None,
        "cause": "The token has the wrong audience",
        "reason": "token_audience_mismatch",
        "error_code": None,
        "found": audience["found"],
        "fix": audience["fix"],
    }
    assert audience["link"] == "docs/operations.md#doctor-audience"
    assert "expected vault" in audience["found"]
    assert "Set audience: vault" in audience["fix"]
    (exchange,) = (each for each in report["checks"] if each["check"] == "exchange")
    assert (exchange["verdict"], exchange["because"], exchange["fix"]) == ("not checked", "audience", None)


def test_warnings_alone_exit_with_0(pod: FaultyPod) -> None:
    ended = pod.run_doctor("--json", BROKER_DURATION_SECONDS="900")
    assert (ended.code, document(ended)["verdict"], document(ended)["causes"]) == (0, "warning", [])


def test_invalid_settings_exit_with_2_and_list_every_fault(pod: FaultyPod) -> None:
    ended = pod.run_doctor("--json", AWS_REGION="", BROKER_ROLE="a", BROKER_PUBLISH_MODE="0777")
    report = document(ended)
    (cause,) = report["causes"]
    assert (ended.code, cause["check"], cause["reason"]) == (2, "settings", "configuration")
    for name in ("AWS_REGION", "BROKER_ROLE", "BROKER_PUBLISH_MODE"):
        assert name in cause["found"]
    assert {each["because"] for each in report["checks"][1:]} == {"settings"}


def test_invalid_settings_list_no_other_check(pod: FaultyPod) -> None:
    ended = pod.run_doctor(AWS_REGION="")
    assert ended.code == 2
    assert "not checked all other checks: because of settings." in ended.out.splitlines()


def test_copied_token_from_standard_input_is_checked_and_the_pod_is_not(pod: FaultyPod) -> None:
    token = pod.sandbox.issuer.mint(pod="from-elsewhere")
    ended = pod.run_doctor("--json", "--token", "-", stdin=token, AWS_WEB_IDENTITY_TOKEN_FILE="/nowhere")
    assert ended.code == 0
    found = verdicts(ended)
    assert found["exchange"] == "ok"
    for check in ("token-mount", "token-secrecy", "publish-directory", "hidden", "broker"):
        assert found[check] == "not checked"
    assert fingerprint(token) in document(ended)["checks"][2]["found"]
    assert "from-elsewhere" in ended.out


def test_expired_copied_token_is_the_cause(pod: FaultyPod) -> None:
    token = pod.sandbox.issuer.mint(issued_at=datetime.now(UTC) - timedelta(hours=2))
    ended = pod.run_doctor("--token", "-", stdin=token)
    assert ended.code == 1
    assert "-> Give --token the token that the pod has now." in ended.out
    assert "\nCause: The token is not valid now (token_expired)\n" in ended.out


@pytest.mark.parametrize("stdin", ["", "no token", "a.b.c"])
def test_standard_input_without_a_token_is_the_cause(pod: FaultyPod, stdin: str) -> None:
    ended = pod.run_doctor("--token", "-", stdin=stdin)
    assert ended.code == 1
    assert "\nCause: The broker has no usable token (token_" in ended.out


def test_unreadable_copied_token_names_the_option(pod: FaultyPod) -> None:
    ended = pod.run_doctor("--token", "/nowhere")
    assert ended.code == 1
    assert "No token in /nowhere" in ended.out
    assert "-> Give --token a file" in ended.out
    assert "AWS_WEB_IDENTITY_TOKEN_FILE" not in ended.out


def test_every_rival_variable_has_a_remedy(pod: FaultyPod) -> None:
    ended = pod.run_doctor(AWS_PROFILE="old", AWS_CONTAINER_CREDENTIALS_RELATIVE_URI="/v2")
    assert ended.code == 0
    assert "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI: Remove it" in ended.out
    assert "AWS_PROFILE: Remove it" in ended.out


def test_policy_comes_from_standard_input(pod: FaultyPod) -> None:
    policy = pod.sandbox.trust_policy(subjects=["system:serviceaccount:other:app"])
    pod.use_new_role("piped", trust_policy=policy)
    ended = pod.run_doctor("--policy", "-", stdin=json.dumps(policy))
    assert ended.code == 1
    assert "\nCause: The role does not trust this token (role_denied)\n" in ended.out
    assert "follows     exchange" in ended.out
    assert "system:serviceaccount:demo:app" in ended.out.split("trust-policy")[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--token", "-", "--policy", "-"), "standard input can hold only one of them: give one as a file"),
        (
            ("--profile", "three"),
            "--profile three: the settings have no profile of this name; known profiles: one, two, partner",
        ),
        (("--profile", "patner"), "no profile of this name (did you mean partner?)"),
        (("--policy", "/p"), "there are several profiles: add --profile NAME"),
        (("--policy", "/p", "--profile", "partner"), "profile partner sends none: it is chained"),
    ],
)
def test_contradictory_options_exit_with_2(pod: FaultyPod, arguments: tuple[str, ...], message: str) -> None:
    pod.write_settings(_TWO)
    ended = pod.run_doctor(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert message in ended.err


def test_one_token_for_several_audiences_exits_with_2(pod: FaultyPod) -> None:
    pod.write_settings(_TWO.replace("required: false", "audience: vault"))
    token = pod.sandbox.issuer.mint()
    ended = pod.run_doctor("--token", "-", stdin=token)
    assert (ended.code, ended.out) == (2, "")
    assert "several audiences: add --profile NAME" in ended.err
    assert verdicts(pod.run_doctor("--json", "--token", "-", "--profile", "one", stdin=token))["exchange"] == "ok"


def test_every_profile_has_results_and_one_can_be_selected(pod: FaultyPod) -> None:
    pod.write_settings(_TWO)
    found = verdicts(pod.run_doctor("--json"))
    assert found["exchange one"] == found["exchange two"] == found["session two"] == "ok"
    assert found["exchange partner"] == "failed"
    assert found["token-file"] == "ok", "the profiles share one token"
    assert "exchange one" not in verdicts(pod.run_doctor("--json", "--profile", "two"))
    ended = pod.run_doctor("--json", "--profile", "partner")
    assert [name for name in verdicts(ended) if name.startswith("exchange")] == ["exchange one", "exchange partner"]


def test_running_step_is_shown_on_a_terminal_and_not_on_a_pipe(pod: FaultyPod) -> None:
    master, slave = pty.openpty()
    try:
        done = subprocess.run(
            command("doctor"),
            env={"PATH": os.environ["PATH"], **pod.environ},
            stdout=subprocess.PIPE,
            stderr=slave,
            check=False,
            timeout=30,
        )
        shown = os.read(master, 65_536).decode()
    finally:
        os.close(slave)
        os.close(master)
    assert done.returncode == 0
    assert "checking the network path to STS in eu-west-1 ..." in shown
    assert "checking the exchange for arn:aws:iam::123456789012:role/doctor-app ..." in shown
    assert shown.endswith("\r\x1b[K"), "the last step is cleared"
    assert b"checking" not in done.stdout
    assert pod.run_doctor().err == ""


def test_runs_alongside_a_broker_and_disturbs_nothing(pod: FaultyPod) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    pod.environ |= {"BROKER_HEALTH_ADDRESS": f"127.0.0.1:{port}", "BROKER_ENDPOINT_ADDRESS": "127.0.0.1:0"}
    program = Program(
        "run",
        environment={"PATH": os.environ["PATH"], **pod.environ},
        directory=pod.disk,
        output=pod.disk / "broker",
    )
    try:
        program.wait_for("refreshed")
        before = {file.name: file.read_bytes() for file in pod.published.iterdir()}
        calls = len(pod.sandbox.sts.calls)
        ended = pod.run_doctor("--json")
        assert (ended.code, verdicts(ended)["broker"]) == (0, "ok")
        assert f"The broker at 127.0.0.1:{port} is ready." in ended.out
        assert {file.name: file.read_bytes() for file in pod.published.iterdir()} == before
        assert [call.action for call in pod.sandbox.sts.calls[calls:] if call.action] == [
            "AssumeRoleWithWebIdentity",
            "GetCallerIdentity",
        ]
        assert program.status()["generation"] == 1
        assert [line["event"] for line in program.lines() if line["level"] in ("warning", "error")] == []
    finally:
        program.kill()
    found = verdicts(pod.run_doctor("--json"))
    assert found["broker"] == "ok", "a missing broker is not a fault of the pod"


def test_publish_directory_is_left_unchanged(pod: FaultyPod) -> None:
    (pod.published / "credentials").write_text("[default]\n")
    assert pod.run_doctor().code == 0
    assert pod.run_doctor(BROKER_PUBLISH_GROUP=str(os.getegid())).code == 0
    assert [file.name for file in pod.published.iterdir()] == ["credentials"]


def test_closed_output_pipe_is_not_an_error(pod: FaultyPod) -> None:
    done = subprocess.run(
        ["sh", "-c", '"$@" | head -1', "sh", *command("doctor")],
        env={"PATH": os.environ["PATH"], **pod.environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert (done.returncode, done.stderr) == (0, "")
    eventually(lambda: done.stdout.startswith("ok "), what="the first line")


def test_help_names_every_option(pod: FaultyPod) -> None:
    ended = pod.run_doctor("--help")
    assert ended.code == 0
    for option in ("--token FILE", "--policy FILE", "--profile NAME", "--json"):
        assert option in ended.out
