"""`sts-broker token`: its output, its exit code, and that no part of the token is in the output."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from sandbox import Misbehaviour
from tests.process.pod import fingerprint

if TYPE_CHECKING:
    from tests.process.pod import Pod
    from tests.support.program import Ended

pytestmark = pytest.mark.process


def show(pod: Pod, *arguments: str, token: str = "", stdin: str = "", **changes: str) -> Ended:
    """Run the verb, with another token if one is given. The fixture checks that no output has a part of a token."""
    given = token or stdin
    if given.startswith("eyJ"):
        pod.tokens.append(given.strip())
    if token:
        file = pod.root / "token"
        file.write_text(token)
        changes["AWS_WEB_IDENTITY_TOKEN_FILE"] = str(file)
    return pod.run("token", *arguments, stdin=stdin, **changes)


def test_good_token_is_shown_to_people(pod: Pod) -> None:
    ended = show(pod)
    assert (ended.code, ended.err) == (0, "")
    shown = dict(line.split(None, 1) for line in ended.out.splitlines())
    assert shown["token"] == f"{fingerprint(pod.tokens[0])} from {pod.volume.path} (unverified)"
    assert shown["issuer"] == "https://oidc.process.example/cluster"
    assert shown["subject"] == "system:serviceaccount:demo:app"
    assert shown["audience"] == "sts.amazonaws.com"
    assert shown["session"] == "demo.app-7d9c5b6f8-x2x7k"
    assert shown["verdict"] == "can be sent to STS"


def test_good_token_is_shown_to_programs(pod: Pod) -> None:
    ended = show(pod, "--json")
    document = json.loads(ended.out)
    assert (ended.code, ended.err) == (0, "")
    assert (document["fit"], document["fault"]) == (True, None)
    assert document["fingerprint"] == fingerprint(pod.tokens[0])
    assert document["pod"] == "app-7d9c5b6f8-x2x7k"
    assert 3500 < document["expires_in_seconds"] <= 3600
    assert 2780 < document["rotation_in_seconds"] <= 2880


def test_no_settings_are_needed_with_a_file(pod: Pod) -> None:
    ended = show(pod, str(pod.volume.path), AWS_ROLE_ARN="", AWS_REGION="", AWS_WEB_IDENTITY_TOKEN_FILE="")
    assert ended.code == 0


def test_token_is_read_from_standard_input(pod: Pod) -> None:
    token = pod.box.issuer.mint(pod="from-a-pipe")
    ended = show(pod, "--json", "-", stdin=token + "\n")
    assert ended.code == 0
    assert json.loads(ended.out)["pod"] == "from-a-pipe"


@pytest.mark.parametrize("as_json", [False, True], ids=["human", "json"])
def test_expired_token_ends_with_3(pod: Pod, *, as_json: bool) -> None:
    token = pod.box.issuer.mint(issued_at=datetime.now(UTC) - timedelta(hours=2))
    ended = show(pod, *(["--json"] if as_json else []), token=token)
    assert ended.code == 3
    if as_json:
        assert json.loads(ended.out)["fault"]["reason"] == "token_expired"
    else:
        assert "[token_expired]" in ended.out


def test_token_that_is_not_yet_valid_ends_with_3(pod: Pod) -> None:
    token = pod.box.issuer.mint(not_before=datetime.now(UTC) + timedelta(minutes=30))
    ended = show(pod, "--json", token=token)
    assert ended.code == 3
    fault = json.loads(ended.out)["fault"]
    assert "is not valid before" in fault["message"]
    assert "Check this node's clock" in fault["remedy"]


def test_wrong_audience_ends_with_3_and_names_what_to_change(pod: Pod) -> None:
    ended = show(pod, "--json", "--audience", "vault")
    fault = json.loads(ended.out)["fault"]
    assert ended.code == 3
    assert fault["reason"] == "token_audience_mismatch"
    assert "has audience sts.amazonaws.com; expected vault" in fault["message"]
    assert "Set audience: vault" in fault["remedy"]
    assert show(pod, BROKER_AUDIENCE="vault").code == 3


@pytest.mark.parametrize(
    "mode", [Misbehaviour.ABSENT, Misbehaviour.EMPTY, Misbehaviour.GARBLED, Misbehaviour.TRUNCATED]
)
def test_file_without_a_token_ends_with_3_and_names_the_file(pod: Pod, mode: Misbehaviour) -> None:
    pod.misbehave(mode)
    for arguments in ([], ["--json"]):
        ended = show(pod, *arguments)
        assert (ended.code, ended.out) == (3, "")
        assert str(pod.volume.path) in ended.err
        assert "[token_" in ended.err


@pytest.mark.parametrize("stdin", ["", "  \n", "no token", "a.b.c"])
def test_standard_input_without_a_token_ends_with_3(pod: Pod, stdin: str) -> None:
    ended = show(pod, "-", stdin=stdin)
    assert (ended.code, ended.out) == (3, "")
    assert "standard input" in ended.err
