"""`sts-broker doctor` as a user starts it: text, JSON, exit codes, standard input, a terminal, a running broker."""

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
    from tests.doctor.faulty_pod import Ward
    from tests.support.program import Ended

pytestmark = pytest.mark.process

_TWO = """
region: eu-west-1
profiles:
  - {name: one, role_arn: "arn:aws:iam::123456789012:role/doctor-app"}
  - {name: two, role_arn: "arn:aws:iam::123456789012:role/doctor-app", required: false}
  - {name: partner, role_arn: "arn:aws:iam::123456789012:role/doctor-nobody", source_profile: one}
"""


def document(ended: Ended) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(ended.out)
    return parsed


def verdicts(ended: Ended) -> dict[str, str]:
    return {
        each["id"] + (f" {each['of']}" if each["of"] else ""): each["verdict"] for each in document(ended)["checks"]
    }


def test_well_pod_ends_with_0_and_every_line_is_ok(ward: Ward) -> None:
    ended = ward.run()
    assert (ended.code, ended.err) == (0, "")
    *lines, last = [line for line in ended.out.splitlines() if line]
    assert last == "All is well."
    told = [line.split()[:2] for line in lines if not line.startswith("not checked")]
    assert told == [["ok", check] for check in CHECKS if check not in ("trust-policy", "broker")]


def test_cause_is_told_with_what_to_do_and_where_more_is_and_ends_with_1(ward: Ward) -> None:
    ended = ward.run(BROKER_AUDIENCE="vault")
    assert (ended.code, ended.err) == (1, "")
    lines = ended.out.splitlines()
    (place,) = (number for number, line in enumerate(lines) if line.startswith("failed"))
    assert lines[place].split()[:2] == ["failed", "audience"]
    assert lines[place + 1].strip().startswith("-> Set audience: vault in the projected serviceAccountToken source")
    assert lines[place + 2].strip() == "docs/operations.md#doctor-audience"
    assert "not checked exchange, identity, session: because of audience." in lines
    assert lines[-1] == "The cause is audience."


def test_json_is_one_object_with_a_verdict_for_each_check(ward: Ward) -> None:
    ended = ward.run("--json", BROKER_AUDIENCE="vault")
    told = document(ended)
    assert (ended.code, told["verdict"], told["causes"]) == (1, "failed", ["audience"])
    assert [each["id"] for each in told["checks"]] == [check for check in CHECKS if check != "trust-policy"]
    (audience,) = (each for each in told["checks"] if each["id"] == "audience")
    assert audience["link"] == "docs/operations.md#doctor-audience"
    assert "expected vault" in audience["found"]
    assert "Set audience: vault" in audience["do"]
    (exchange,) = (each for each in told["checks"] if each["id"] == "exchange")
    assert (exchange["verdict"], exchange["because"], exchange["do"]) == ("not checked", "audience", None)


def test_warnings_alone_end_with_0(ward: Ward) -> None:
    ended = ward.run("--json", BROKER_DURATION_SECONDS="900")
    assert (ended.code, document(ended)["verdict"], document(ended)["causes"]) == (0, "warning", [])


def test_settings_that_cannot_be_used_end_with_2_and_all_faults(ward: Ward) -> None:
    ended = ward.run("--json", AWS_REGION="", BROKER_ROLE="a", BROKER_PUBLISH_MODE="0777")
    told = document(ended)
    assert (ended.code, told["causes"]) == (2, ["settings"])
    for name in ("AWS_REGION", "BROKER_ROLE", "BROKER_PUBLISH_MODE"):
        assert name in told["checks"][0]["found"]
    assert {each["because"] for each in told["checks"][1:]} == {"settings"}


def test_text_does_not_list_what_waits_for_settings(ward: Ward) -> None:
    ended = ward.run(AWS_REGION="")
    assert ended.code == 2
    assert "not checked all else: because of settings." in ended.out.splitlines()


def test_copied_token_comes_from_standard_input_and_the_pod_is_left_alone(ward: Ward) -> None:
    token = ward.box.issuer.mint(pod="from-elsewhere")
    ended = ward.run("--json", "--token", "-", stdin=token, AWS_WEB_IDENTITY_TOKEN_FILE="/nowhere")
    assert ended.code == 0
    told = verdicts(ended)
    assert told["exchange"] == "ok"
    for check in ("token-mount", "token-secrecy", "publish-directory", "hidden", "broker"):
        assert told[check] == "not checked"
    assert fingerprint(token) in document(ended)["checks"][2]["found"]
    assert "from-elsewhere" in ended.out


def test_copied_token_that_expired_is_told_to_be_replaced(ward: Ward) -> None:
    token = ward.box.issuer.mint(issued_at=datetime.now(UTC) - timedelta(hours=2))
    ended = ward.run("--token", "-", stdin=token)
    assert ended.code == 1
    assert "-> Take the one that the pod has now." in ended.out
    assert ended.out.endswith("The cause is token-life.\n")


@pytest.mark.parametrize("stdin", ["", "no token", "a.b.c"])
def test_standard_input_without_a_token_is_told(ward: Ward, stdin: str) -> None:
    ended = ward.run("--token", "-", stdin=stdin)
    assert ended.code == 1
    assert ended.out.endswith("The cause is token-file.\n")


def test_copied_token_that_cannot_be_read_is_asked_for_by_its_option(ward: Ward) -> None:
    ended = ward.run("--token", "/nowhere")
    assert ended.code == 1
    assert "No token in /nowhere" in ended.out
    assert "-> Give --token a file" in ended.out
    assert "AWS_WEB_IDENTITY_TOKEN_FILE" not in ended.out


def test_several_variables_that_hide_it_have_each_what_to_do(ward: Ward) -> None:
    ended = ward.run(AWS_PROFILE="old", AWS_CONTAINER_CREDENTIALS_RELATIVE_URI="/v2")
    assert ended.code == 0
    assert "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI: Remove it" in ended.out
    assert "AWS_PROFILE: Remove it" in ended.out


def test_policy_comes_from_standard_input(ward: Ward) -> None:
    policy = ward.box.trust_policy(subjects=["system:serviceaccount:other:app"])
    ward.trust("piped", trust_policy=policy)
    ended = ward.run("--policy", "-", stdin=json.dumps(policy))
    assert ended.code == 1
    assert ended.out.endswith("The cause is trust-policy.\n")
    assert "follows     exchange" in ended.out
    assert "system:serviceaccount:demo:app" in ended.out.split("trust-policy")[1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--token", "-", "--policy", "-"), "standard input holds one of them"),
        (("--profile", "three"), "--profile three: there is none; known are one, two, partner"),
        (("--policy", "/p"), "there are several profiles: add --profile"),
        (("--policy", "/p", "--profile", "partner"), "for partner none is sent: it is chained"),
    ],
)
def test_question_without_sense_ends_with_2(ward: Ward, arguments: tuple[str, ...], said: str) -> None:
    ward.settings(_TWO)
    ended = ward.run(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert said in ended.err


def test_standard_input_holds_one_token_for_one_audience(ward: Ward) -> None:
    ward.settings(_TWO.replace("required: false", "audience: vault"))
    token = ward.box.issuer.mint()
    ended = ward.run("--token", "-", stdin=token)
    assert (ended.code, ended.out) == (2, "")
    assert "several audiences: add --profile" in ended.err
    assert verdicts(ward.run("--json", "--token", "-", "--profile", "one", stdin=token))["exchange"] == "ok"


def test_each_profile_has_its_lines_and_one_can_be_looked_at_alone(ward: Ward) -> None:
    ward.settings(_TWO)
    told = verdicts(ward.run("--json"))
    assert told["exchange one"] == told["exchange two"] == told["session two"] == "ok"
    assert told["exchange partner"] == "failed"
    assert told["token-file"] == "ok", "one token, one line"
    assert "exchange one" not in verdicts(ward.run("--json", "--profile", "two"))
    ended = ward.run("--json", "--profile", "partner")
    assert [name for name in verdicts(ended) if name.startswith("exchange")] == ["exchange one", "exchange partner"]


def test_terminal_is_told_what_is_waited_for_and_a_pipe_is_not(ward: Ward) -> None:
    master, slave = pty.openpty()
    try:
        done = subprocess.run(
            command("doctor"),
            env={"PATH": os.environ["PATH"], **ward.environ},
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
    assert "looking at the network path to STS in eu-west-1 ..." in shown
    assert "looking at the exchange for arn:aws:iam::123456789012:role/doctor-app ..." in shown
    assert shown.endswith("\r\x1b[K"), "it takes its line away again"
    assert b"looking" not in done.stdout
    assert ward.run().err == ""


def test_runs_beside_a_broker_and_disturbs_nothing(ward: Ward) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    ward.environ |= {"BROKER_HEALTH_ADDRESS": f"127.0.0.1:{port}", "BROKER_ENDPOINT_ADDRESS": "127.0.0.1:0"}
    program = Program(
        "run",
        environment={"PATH": os.environ["PATH"], **ward.environ},
        directory=ward.disk,
        output=ward.disk / "broker",
    )
    try:
        program.wait_for("refreshed")
        before = {file.name: file.read_bytes() for file in ward.published.iterdir()}
        calls = len(ward.box.sts.calls)
        ended = ward.run("--json")
        assert (ended.code, verdicts(ended)["broker"]) == (0, "ok")
        assert f"The broker at 127.0.0.1:{port} is ready." in ended.out
        assert {file.name: file.read_bytes() for file in ward.published.iterdir()} == before
        assert [call.action for call in ward.box.sts.calls[calls:] if call.action] == [
            "AssumeRoleWithWebIdentity",
            "GetCallerIdentity",
        ]
        assert program.status()["generation"] == 1
        assert [line["event"] for line in program.lines() if line["level"] in ("warning", "error")] == []
    finally:
        program.kill()
    told = verdicts(ward.run("--json"))
    assert told["broker"] == "ok", "no broker is no fault of the pod"


def test_directory_is_left_as_it_was_whatever_ends_it(ward: Ward) -> None:
    (ward.published / "credentials").write_text("[default]\n")
    assert ward.run().code == 0
    assert ward.run(BROKER_PUBLISH_GROUP="0").code == 0
    assert [file.name for file in ward.published.iterdir()] == ["credentials"]


def test_output_that_nobody_reads_is_no_fault(ward: Ward) -> None:
    done = subprocess.run(
        ["sh", "-c", '"$@" | head -1', "sh", *command("doctor")],
        env={"PATH": os.environ["PATH"], **ward.environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert (done.returncode, done.stderr) == (0, "")
    eventually(lambda: done.stdout.startswith("ok "), what="the first line")


def test_help_names_every_option(ward: Ward) -> None:
    ended = ward.run("--help")
    assert ended.code == 0
    for option in ("--token FILE", "--policy FILE", "--profile NAME", "--json"):
        assert option in ended.out
