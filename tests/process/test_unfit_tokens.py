"""A token that is not fit is never sent, is told about in one line, and the broker recovers when it is mended."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from sandbox import Misbehaviour

if TYPE_CHECKING:
    from tests.process.pod import Pod

pytestmark = pytest.mark.process


@dataclass(frozen=True, slots=True)
class Told:
    """What the one log line has to say: reason, what was found, what was expected, what to change."""

    reason: str
    found: str
    expected: str
    change: str


MALFORMED = Told(
    "token_malformed", "not a JWT", "three base64url parts", "(AWS_WEB_IDENTITY_TOKEN_FILE) to the projected token"
)
EXPECTED: dict[Misbehaviour, Told | None] = {
    Misbehaviour.ABSENT: Told(
        "token_unavailable", "No such file or directory", "expected a readable file", "AWS_WEB_IDENTITY_TOKEN_FILE"
    ),
    Misbehaviour.EMPTY: Told("token_unavailable", "is empty", "expected a JWT", "kubelet writes it"),
    Misbehaviour.TRUNCATED: MALFORMED,
    Misbehaviour.GARBLED: MALFORMED,
    Misbehaviour.WRONG_AUDIENCE: Told(
        "token_audience_mismatch",
        "has audience https://kubernetes.default.svc",
        "expected sts.amazonaws.com",
        "Set audience: sts.amazonaws.com in the projected serviceAccountToken source",
    ),
    Misbehaviour.FUTURE_NBF: None,  # sent: only STS's clock can tell
    Misbehaviour.STUCK: None,  # the old token stays, and is good for as long as it lives
}


def test_every_misbehaviour_of_the_kubelet_has_an_expectation() -> None:
    assert EXPECTED.keys() == set(Misbehaviour)


@pytest.mark.parametrize("mode", [mode for mode, told in EXPECTED.items() if told])
def test_unfit_token_is_told_once_and_never_sent_and_healing_recovers(pod: Pod, mode: Misbehaviour) -> None:
    told = EXPECTED[mode]
    assert told is not None
    pod.misbehave(mode)
    program = pod.start()
    line = program.wait_for("token_unfit")
    assert line["reason"] == told.reason
    for words in (str(pod.volume.path), told.found, told.expected, told.change):
        assert words in line["message"]
    program.refresh()  # looks again, and finds the same
    program.wait_for("refresh_requested")
    assert program.get("/readyz").status == 503
    assert pod.exchanges() == []
    pod.volume.heal()
    program.refresh()
    program.wait_for("refreshed")
    assert len(program.lines("token_unfit")) == 1
    assert program.get("/readyz").status == 200


def test_expired_token_is_told_once_and_never_sent(pod: Pod) -> None:
    file = pod.root / "token"
    token = pod.box.issuer.mint(issued_at=datetime.now(UTC) - timedelta(hours=2))
    pod.tokens.append(token)
    file.write_text(token)
    program = pod.start(AWS_WEB_IDENTITY_TOKEN_FILE=str(file))
    line = program.wait_for("token_unfit")
    assert line["reason"] == "token_expired"
    for words in (str(file), "ago by this node's clock", "expected one that is valid", "kubelet should have rotated"):
        assert words in line["message"]
    program.refresh()
    program.wait_for("refresh_requested")
    assert program.get("/readyz").status == 503
    assert pod.exchanges() == []


def test_token_that_goes_bad_later_leaves_what_is_published(pod: Pod) -> None:
    program = pod.start_and_publish()
    before = pod.contents()
    for mode in (Misbehaviour.ABSENT, Misbehaviour.GARBLED, Misbehaviour.WRONG_AUDIENCE):
        pod.misbehave(mode)
        program.refresh()
        told = EXPECTED[mode]
        assert told is not None
        program.wait_for("token_unfit", reason=told.reason)
    assert pod.contents() == before
    assert program.get("/readyz").status == 200
    assert len(pod.exchanges()) == 1


def test_token_that_sts_finds_not_valid_yet_is_rejected_and_healing_recovers(pod: Pod) -> None:
    pod.misbehave(Misbehaviour.FUTURE_NBF)
    program = pod.start()
    line = program.wait_for("exchange_failed")
    assert line["reason"] == "token_rejected"
    assert "not valid yet" in line["message"]
    pod.volume.heal()
    program.wait_for("refreshed", within=10)


def test_token_that_is_stuck_is_used_while_it_lives(pod: Pod) -> None:
    pod.misbehave(Misbehaviour.STUCK)
    program = pod.start_and_publish()
    program.refresh()
    program.wait_for("refreshed", count=2)
    assert len(set(pod.exchanges())) == 1


def test_absent_token_that_appears_is_found_without_being_asked(pod: Pod) -> None:
    pod.misbehave(Misbehaviour.ABSENT)
    program = pod.start()
    program.wait_for("token_unfit")
    pod.volume.heal()
    program.wait_for("refreshed", within=5)
