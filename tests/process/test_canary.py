"""Secrets appear in published files only. The broker meets every scripted fault, and its output is searched.

The search is for any 20 consecutive characters of the secret keys and session tokens that STS issued, of the bound
tokens in the token file, and of the endpoint's token. Every other test in this directory ends with the same search of
its brokers' output.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from sandbox import Misbehaviour
from sandbox.aws import faults
from tests.moto_backed.scripted_faults import SAMPLES
from tests.process.leaks import WINDOW_CHARACTERS, Canaries
from tests.process.pod import RUN_FILES
from tests.support.program import eventually, read_proc_file
from tests.support.raw_http import request, sent

if TYPE_CHECKING:
    from tests.process.pod import Pod
    from tests.support.program import Program

pytestmark = pytest.mark.process

PAGES = ("/status", "/readyz", "/livez", "/metrics")


def collect_public_texts(program: Program, pod: Pod, when: str) -> dict[str, str]:
    """Return the health listener's pages, the termination message, and the endpoint's response to a stranger."""
    address = program.wait_for("listening", listener="credentials")
    stranger = sent((address["host"], address["port"]), request(authorization="guess"))
    assert stranger.startswith(b"HTTP/1.1 401 ")
    texts = {f"{path} {when}": program.get(path).body for path in PAGES}
    message = pod.termination_message.read_text()
    return {**texts, f"endpoint {when}": stranger.decode(), f"termination message {when}": message}


def meet_fault(program: Program, pod: Pod, fault: faults.Fault) -> None:
    """Request a refresh that meets this fault. Wait until that very exchange has ended and its outcome is logged.

    An exchange of an earlier request may end meanwhile, so counting log lines from here on is not enough. One profile
    has one exchange at a time, and each call to STS ends in one line.
    """
    before = len(pod.sts.calls)
    pod.sts.script(fault)
    program.refresh()
    name = faults.fault_name(fault)
    eventually(lambda: any(call.fault == name for call in pod.sts.calls[before:]), what=f"a call that meets {fault}")
    reached = len(pod.sts.calls)
    eventually(
        lambda: len(program.lines("exchange_failed")) + len(program.lines("refreshed")) >= reached,
        what=f"the end of the exchange that meets {fault}",
    )


def make_quoting_refusals(token: str) -> list[faults.Fault]:
    """Return refusals that quote the token, complete or in part."""
    return [
        faults.Refuse(code="InvalidIdentityToken", message=f"The ID Token {quoted} is not a valid JWT")
        for quoted in (token, token[:250], *(part[:250] for part in token.split(".")), token[-100:])
    ]


def test_no_secret_appears_after_success_and_every_scripted_fault(pod: Pod) -> None:
    program = pod.start_and_publish(BROKER_LOG_LEVEL="debug", BROKER_LOG_FORMAT="json", BROKER_PUBLISH_ENV="true")
    texts = {"environ": read_proc_file(program.pid, "environ")}
    for name, fault in SAMPLES.items():
        if isinstance(fault, faults.Hang):
            continue  # the last step below
        meet_fault(program, pod, fault)
        texts |= collect_public_texts(program, pod, f"after {name}")
    for number, fault in enumerate(make_quoting_refusals(pod.tokens[-1])):
        meet_fault(program, pod, fault)
        texts |= collect_public_texts(program, pod, f"after quote {number}")
    for mode in Misbehaviour:
        requested = len(program.lines("refresh_requested"))
        pod.misbehave(mode)
        program.refresh()
        program.wait_for("refresh_requested", count=requested + 1)
        texts |= collect_public_texts(program, pod, f"after {mode.name}")
    pod.volume.heal()
    meet_fault(program, pod, faults.Spoiled.NO_DATE)
    # SIGKILL in the middle of a write leaves the `.NAME.new` files of that write. While STS hangs, nothing is written.
    pod.sts.always(faults.Hang())
    program.refresh()
    eventually(lambda: pod.sts.calls[-1].outcome == "Hang", what="a call that hangs")
    texts |= collect_public_texts(program, pod, "during Hang")
    texts["cmdline"] = read_proc_file(program.pid, "cmdline")
    program.kill()
    texts["output"] = program.output()
    canaries = pod.canaries()
    assert canaries.found_in_any(texts) == {}
    assert pod.strays() == []
    assert sorted(pod.contents()) == sorted([*RUN_FILES, "default.env"])

    assert any(text for place, text in texts.items() if place.startswith("termination message"))

    # The search works: the secrets are those of this run, and it finds one that is added to the log.
    assert len([name for name in canaries.names if name.startswith("session token")]) > len(SAMPLES) / 3
    published = pod.contents()["default.json"].decode()
    assert len(canaries.found_in(published)) == 2, "secret access key and session token"
    assert canaries.found_in(pod.volume.path.read_text())
    assert canaries.found_in(pod.contents()["endpoint-token"].decode()) == {"endpoint token 1"}
    signature = pod.tokens[0].rsplit(".", 1)[1]
    planted = texts["output"] + f'{{"event": "bug", "message": "sent {signature[100:125]}"}}\n'
    assert canaries.found_in_any({**texts, "output": planted}) == {"output": {"bound token 1"}}


def test_no_secret_appears_in_console_log_lines(pod: Pod) -> None:
    pod.sts.script(faults.Spoiled.ECHO, *make_quoting_refusals(pod.tokens[0])[:1], faults.Spoiled.TRUNCATED_XML)
    ended = pod.run("once", "--timeout", "20", BROKER_LOG_LEVEL="debug", BROKER_LOG_FORMAT="console")
    assert ended.code == 0
    assert "exchange_failed" in ended.err
    assert pod.canaries().found_in(ended.out + ended.err) == set()


def test_workers_have_the_environment_of_their_parent_and_no_secret_in_their_arguments(pod: Pod) -> None:
    settings = pod.root / "broker.yaml"
    settings.write_text("#" * 900_000 + "\nlog: {level: debug}\n")  # a worker takes seconds to parse this
    program = pod.start(BROKER_CONFIG=str(settings))
    workers = eventually(lambda: found if len(found := program.children()) == 2 else [], what="the first workers")
    for name in ("environ", "cmdline"):
        for worker in workers:
            assert read_proc_file(worker, name) == read_proc_file(program.pid, name)
            assert pod.canaries().found_in(read_proc_file(worker, name)) == set()
    program.wait_for("refreshed", within=60)
    eventually(lambda: program.children() == [], what="no worker")
    pod.sts.script(faults.Hang())
    program.refresh()
    (worker,) = eventually(program.children, what="the worker of a refresh, which is a new program")
    eventually(lambda: len(pod.sts.calls) == 2, what="the call")
    environment = set(read_proc_file(worker, "environ").splitlines())
    assert f"BROKER_CONFIG={settings}" in environment or os.geteuid() != 0, "the kernel shows it to root only"
    assert environment - {"LC_CTYPE=C.UTF-8"} <= set(read_proc_file(program.pid, "environ").splitlines())
    for name in ("environ", "cmdline"):
        assert pod.canaries().found_in(read_proc_file(worker, name)) == set()


@pytest.mark.parametrize(
    "wrap",
    ["{}", "WebIdentityToken={}&Version=2011-06-15", '{{"token": "{}"}}', "<SessionToken>{}"],
)
@pytest.mark.parametrize("part", ["whole", "start", "middle", "end"])
def test_search_finds_any_part_of_a_secret(wrap: str, part: str) -> None:
    canaries = Canaries()
    secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY/abcdefgh=="
    canaries.add("secret", secret)
    planted = {"whole": secret, "start": secret[:20], "middle": secret[11:31], "end": secret[-20:]}[part]
    assert canaries.found_in("harmless text " + wrap.format(planted) + " more text") == {"secret"}
    assert canaries.found_in(wrap.format(planted[:-1]) if len(planted) == WINDOW_CHARACTERS else "") == set()


def test_search_finds_a_percent_encoded_part() -> None:
    canaries = Canaries()
    canaries.add("secret", "ab/cd+ef/gh+ij/kl+mn/op+qr")
    assert canaries.found_in("token=ab%2Fcd%2Bef%2Fgh%2Bij%2Fkl%2Bmn%2Fop%2Bqr&x=1") == {"secret"}


def test_secret_that_is_too_short_is_refused() -> None:
    with pytest.raises(ValueError, match="19 characters"):
        Canaries().add("short", "x" * 19)
