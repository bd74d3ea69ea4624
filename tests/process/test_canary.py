"""No secret leaves but by the published files: the broker is led through everything that can go wrong, and searched.

Searched for is any 20 characters in a row of any secret key and session token that STS issued, of any bound token that
stood in the file, and of the endpoint's token. Every other test of this folder ends with the same search of what its
brokers wrote.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sandbox import Misbehaviour
from sandbox.aws import faults
from tests.moto_backed.scripted_faults import SAMPLES
from tests.process.leaks import WINDOW_CHARACTERS, Canaries
from tests.process.pod import RUN_FILES
from tests.support.program import children_of, eventually
from tests.support.raw_http import request, sent

if TYPE_CHECKING:
    from tests.process.pod import Pod
    from tests.support.program import Program

pytestmark = pytest.mark.process

PLACES = ("/status", "/readyz", "/livez", "/metrics")


def told_by(program: Program, when: str) -> dict[str, str]:
    """Return what anybody can hear of the broker: all that the health listener says, and the endpoint to strangers."""
    address = program.wait_for("listening", listener="credentials")
    stranger = sent((address["host"], address["port"]), request(authorization="guess"))
    assert stranger.startswith(b"HTTP/1.1 401 ")
    texts = {f"{path} {when}": program.get(path).body for path in PLACES}
    return {**texts, f"endpoint {when}": stranger.decode()}


def proc_text(pid: int, name: str) -> str:
    return Path(f"/proc/{pid}/{name}").read_bytes().replace(b"\0", b"\n").decode(errors="replace")


def meet(program: Program, pod: Pod, fault: faults.Fault) -> None:
    """Request a refresh that meets this fault. Wait until that very exchange has ended and its outcome is logged.

    An exchange of an earlier request may end meanwhile, so counting log lines from here on is not enough. One profile
    has one exchange at a time, and each call to STS ends in one line.
    """
    before = len(pod.sts.calls)
    pod.sts.script(fault)
    program.refresh()
    name = faults.name_of(fault)
    eventually(lambda: any(call.fault == name for call in pod.sts.calls[before:]), what=f"a call that meets {fault}")
    reached = len(pod.sts.calls)
    eventually(
        lambda: len(program.lines("exchange_failed")) + len(program.lines("refreshed")) >= reached,
        what=f"the end of the exchange that meets {fault}",
    )


def quotes_of(token: str) -> list[faults.Fault]:
    """Return refusals that quote the token they refuse, whole or in pieces."""
    return [
        faults.Refuse(code="InvalidIdentityToken", message=f"The ID Token {quoted} is not a valid JWT")
        for quoted in (token, token[:250], *(part[:250] for part in token.split(".")), token[-100:])
    ]


def test_no_secret_is_told_through_successes_and_every_scripted_fault(pod: Pod) -> None:
    program = pod.start_and_publish(BROKER_LOG_LEVEL="debug", BROKER_LOG_FORMAT="json", BROKER_PUBLISH_ENV="true")
    texts = {"environ": proc_text(program.pid, "environ")}
    for name, fault in SAMPLES.items():
        if isinstance(fault, faults.Hang):
            continue  # comes last
        meet(program, pod, fault)
        texts |= told_by(program, f"after {name}")
    for number, fault in enumerate(quotes_of(pod.tokens[-1])):
        meet(program, pod, fault)
        texts |= told_by(program, f"after quote {number}")
    for mode in Misbehaviour:
        asked = len(program.lines("refresh_requested"))
        pod.misbehave(mode)
        program.refresh()
        program.wait_for("refresh_requested", count=asked + 1)
        texts |= told_by(program, f"after {mode.name}")
    pod.volume.heal()
    meet(program, pod, faults.Spoiled.NO_DATE)
    # SIGKILL in the middle of a write leaves the `.NAME.new` files of that write. While STS hangs, nothing is written.
    pod.sts.always(faults.Hang())
    program.refresh()
    eventually(lambda: pod.sts.calls[-1].outcome == "Hang", what="a call that hangs")
    texts |= told_by(program, "during Hang")
    texts["cmdline"] = proc_text(program.pid, "cmdline")
    assert children_of(program.pid) == []
    program.kill()
    texts["output"] = program.output()
    canaries = pod.canaries()
    assert canaries.found_in_any(texts) == {}
    assert pod.strays() == []
    assert sorted(pod.contents()) == sorted([*RUN_FILES, "default.env"])

    # The search can find: the secrets are those of this run, and one of them in the log would have been seen.
    assert len([name for name in canaries.names if name.startswith("session token")]) > len(SAMPLES) / 3
    published = pod.contents()["default.json"].decode()
    assert len(canaries.found_in(published)) == 2, "secret access key and session token"
    assert canaries.found_in(pod.volume.path.read_text())
    assert canaries.found_in(pod.contents()["endpoint-token"].decode()) == {"endpoint token 1"}
    signature = pod.tokens[0].rsplit(".", 1)[1]
    planted = texts["output"] + f'{{"event": "bug", "message": "sent {signature[100:125]}"}}\n'
    assert canaries.found_in_any({**texts, "output": planted}) == {"output": {"bound token 1"}}


def test_no_secret_is_told_to_people_at_a_console_either(pod: Pod) -> None:
    pod.sts.script(faults.Spoiled.ECHO, *quotes_of(pod.tokens[0])[:1], faults.Spoiled.TRUNCATED_XML)
    ended = pod.run("once", "--timeout", "20", BROKER_LOG_LEVEL="debug", BROKER_LOG_FORMAT="console")
    assert ended.code == 0
    assert "exchange_failed" in ended.err
    assert pod.canaries().found_in(ended.out + ended.err) == set()


def test_child_that_checks_the_settings_has_the_environment_and_arguments_of_its_parent(pod: Pod) -> None:
    fifo = pod.root / "broker.yaml"
    os.mkfifo(fifo)  # holds the child where it reads the settings
    program = pod.start(BROKER_CONFIG=str(fifo))
    (child,) = eventually(program.children, what="the child")
    for name in ("environ", "cmdline"):
        assert proc_text(child, name) == proc_text(program.pid, name)
        assert pod.canaries().found_in(proc_text(child, name)) == set()
    write_to(fifo, "log: {level: debug}\n")
    program.wait_for("refreshed")
    assert program.children() == []


def write_to(fifo: Path, text: str) -> None:
    """Write into a pipe once somebody reads it."""

    def opened() -> int | None:
        try:
            return os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            return None  # nobody reads yet

    descriptor = eventually(opened, what="a reader of the pipe")
    assert descriptor is not None
    with os.fdopen(descriptor, "w") as stream:
        stream.write(text)


@pytest.mark.parametrize(
    "wrap",
    ["{}", "WebIdentityToken={}&Version=2011-06-15", '{{"token": "{}"}}', "<SessionToken>{}"],
)
@pytest.mark.parametrize("part", ["whole", "start", "middle", "end"])
def test_search_finds_a_planted_piece_wherever_it_comes_from(wrap: str, part: str) -> None:
    canaries = Canaries()
    secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY/abcdefgh=="
    canaries.add("secret", secret)
    planted = {"whole": secret, "start": secret[:20], "middle": secret[11:31], "end": secret[-20:]}[part]
    assert canaries.found_in("nothing to see " + wrap.format(planted) + " here") == {"secret"}
    assert canaries.found_in(wrap.format(planted[:-1]) if len(planted) == WINDOW_CHARACTERS else "") == set()


def test_search_finds_a_percent_encoded_piece() -> None:
    canaries = Canaries()
    canaries.add("secret", "ab/cd+ef/gh+ij/kl+mn/op+qr")
    assert canaries.found_in("token=ab%2Fcd%2Bef%2Fgh%2Bij%2Fkl%2Bmn%2Fop%2Bqr&x=1") == {"secret"}


def test_secret_too_short_to_be_told_apart_is_no_canary() -> None:
    with pytest.raises(ValueError, match="19 characters"):
        Canaries().add("short", "x" * 19)
