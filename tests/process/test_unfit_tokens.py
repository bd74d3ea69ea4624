"""Unusable tokens are never sent and are logged once. The broker recovers with a usable token."""

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
class Expected:
    """Parts of the log line: reason, what was found, what was expected, what to change."""

    reason: str
    found: str
    expected: str
    change: str


MALFORMED = Expected(
    "token_malformed", "not a JWT", "three base64url parts", "(AWS_WEB_IDENTITY_TOKEN_FILE) to the file with the token"
)
EXPECTED: dict[Misbehaviour, Expected | None] = {
    Misbehaviour.ABSENT: Expected(
        "token_unavailable", "No such file or directory", "expected a readable file", "AWS_WEB_IDENTITY_TOKEN_FILE"
    ),
    Misbehaviour.EMPTY: Expected("token_unavailable", "is empty", "expected a JWT", "kubelet writes it"),
    Misbehaviour.TRUNCATED: MALFORMED,
    Misbehaviour.GARBLED: Expected(
        "token_malformed", "looks like UTF-16", "expected plain ASCII", "Write it as plain ASCII"
    ),
    Misbehaviour.WRONG_AUDIENCE: Expected(
        "token_audience_mismatch",
        "has audience https://kubernetes.default.svc",
        "expected sts.amazonaws.com",
        "Set audience: sts.amazonaws.com in the projected serviceAccountToken source",
    ),
    Misbehaviour.FUTURE_NBF: None,  # sent: the clock of STS decides
    Misbehaviour.STUCK: None,  # the old token stays valid until its expiry
}


def test_every_misbehaviour_of_the_kubelet_has_an_expectation() -> None:
    assert EXPECTED.keys() == set(Misbehaviour)


@pytest.mark.parametrize("mode", [mode for mode, expected in EXPECTED.items() if expected])
def test_unfit_token_is_logged_once_and_never_sent_until_a_fit_one_replaces_it(pod: Pod, mode: Misbehaviour) -> None:
    expected = EXPECTED[mode]
    assert expected is not None
    pod.misbehave(mode)
    program = pod.start()
    line = program.wait_for("token_unfit")
    assert line["reason"] == expected.reason
    for words in (str(pod.volume.path), expected.found, expected.expected, expected.change):
        assert words in line["message"]
    program.refresh()  # reads the token again, with the same result
    program.wait_for("refresh_requested")
    assert program.get("/readyz").status == 503
    assert pod.exchanges() == []
    pod.volume.heal()
    program.refresh()
    program.wait_for("refreshed")
    assert len(program.lines("token_unfit")) == 1
    assert program.get("/readyz").status == 200


def test_expired_token_is_logged_once_and_never_sent(pod: Pod) -> None:
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


def test_token_that_becomes_unfit_does_not_change_published_credentials(pod: Pod) -> None:
    program = pod.start_and_publish()
    before = pod.contents()
    for mode in (Misbehaviour.ABSENT, Misbehaviour.GARBLED, Misbehaviour.WRONG_AUDIENCE):
        pod.misbehave(mode)
        program.refresh()
        expected = EXPECTED[mode]
        assert expected is not None
        program.wait_for("token_unfit", reason=expected.reason)
    assert pod.contents() == before
    assert program.get("/readyz").status == 200
    assert len(pod.exchanges()) == 1


def test_token_that_is_not_valid_yet_is_rejected_until_a_valid_one_replaces_it(pod: Pod) -> None:
    pod.misbehave(Misbehaviour.FUTURE_NBF)
    program = pod.start()
    line = program.wait_for("exchange_failed")
    assert line["reason"] == "token_rejected"
    assert "not valid yet" in line["message"]
    pod.volume.heal()
    program.wait_for("refreshed", within=10)


def test_token_that_is_not_rotated_is_used_until_its_expiry(pod: Pod) -> None:
    pod.misbehave(Misbehaviour.STUCK)
    program = pod.start_and_publish()
    program.refresh()
    program.wait_for("refreshed", count=2)
    assert len(set(pod.exchanges())) == 1


def test_token_that_appears_later_is_found_without_a_request(pod: Pod) -> None:
    pod.misbehave(Misbehaviour.ABSENT)
    program = pod.start()
    program.wait_for("token_unfit")
    pod.volume.heal()
    program.wait_for("refreshed", within=5)
