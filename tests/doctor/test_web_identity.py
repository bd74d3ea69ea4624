"""The doctor's checks of web identity tokens: the call, and the published file."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from broker.doctor.checks import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.doctor.faulty_pod import FaultyPod

CALL, FILE = "web-identity-token", "web-identity-file"
STATEMENT = {"Effect": "Allow", "Action": "sts:GetWebIdentityToken", "Resource": "*"}


@pytest.fixture
def issuing_pod(pod: FaultyPod) -> Iterator[FaultyPod]:
    """Return a pod with a token for `vault`, which the role may request."""
    pod.environ["BROKER_WEB_IDENTITY_TOKEN_AUDIENCE"] = "vault"
    sandbox = pod.sandbox
    role = pod.environ["AWS_ROLE_ARN"].rpartition("/")[2]
    sandbox.sts.outbound.enable(sandbox.account_id)
    document = json.dumps({"Version": "2012-10-17", "Statement": [STATEMENT]})
    sandbox.iam.put_role_policy(RoleName=role, PolicyName="tokens", PolicyDocument=document)
    yield pod
    sandbox.iam.delete_role_policy(RoleName=role, PolicyName="tokens")
    sandbox.sts.outbound.disable(sandbox.account_id)


def publish(pod: FaultyPod, text: str) -> None:
    """Put a file in place of the broker's token."""
    (pod.published / "default.jwt").write_text(text)


def mint(pod: FaultyPod, audience: str = "vault", lifetime: timedelta = timedelta(minutes=5)) -> str:
    """Return a token with these claims. Nobody verifies its signature here."""
    return pod.sandbox.issuer.mint(audience=audience, lifetime=lifetime)


def test_token_that_sts_issues_is_ok_without_a_file_yet(
    issuing_pod: FaultyPod, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = issuing_pod.diagnose(monkeypatch)
    assert (report.failed, report.code) == ({}, 0)
    assert "STS issues web identity tokens for vault" in report.results_with(Outcome.OK)[CALL]
    assert "There is no default.jwt" in report.results_with(Outcome.NOT_CHECKED)[FILE]
    assert [text for text in issuing_pod.sandbox.sts.outbound.issued if text in report.text] == []


def test_fresh_file_is_ok(issuing_pod: FaultyPod, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(issuing_pod, mint(issuing_pod))
    report = issuing_pod.diagnose(monkeypatch)
    assert report.failed == {}
    assert "default.jwt is valid for" in report.results_with(Outcome.OK)[FILE]


@pytest.mark.parametrize(
    ("audience", "minutes", "found"),
    [
        ("vault", -1, "default.jwt expired at"),
        ("other", 5, "default.jwt is for other; the settings have vault."),
    ],
)
def test_expired_file_and_other_audience_fail(
    issuing_pod: FaultyPod, monkeypatch: pytest.MonkeyPatch, audience: str, minutes: int, found: str
) -> None:
    publish(issuing_pod, mint(issuing_pod, audience, timedelta(minutes=minutes)))
    report = issuing_pod.diagnose(monkeypatch)
    assert list(report.failed) == [FILE]
    assert found in report.failed[FILE]
    assert "web_identity_token_failed" in report.text


@pytest.mark.parametrize("text", ["", "not a token"])
def test_file_that_is_no_token_fails(issuing_pod: FaultyPod, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    publish(issuing_pod, text)
    report = issuing_pod.diagnose(monkeypatch)
    assert list(report.failed) == [FILE]
    assert "default.jwt is not a token of the broker" in report.failed[FILE]


def test_account_that_has_not_enabled_tokens_is_the_cause(
    issuing_pod: FaultyPod, monkeypatch: pytest.MonkeyPatch
) -> None:
    issuing_pod.sandbox.sts.outbound.disable(issuing_pod.sandbox.account_id)
    publish(issuing_pod, mint(issuing_pod, lifetime=timedelta(minutes=-1)))
    report = issuing_pod.diagnose(monkeypatch)
    assert list(report.failed) == [CALL]
    assert "aws iam enable-outbound-web-identity-federation" in report.text
    assert FILE in report.results_with(Outcome.FOLLOWS)


def test_refused_exchange_leaves_the_token_unchecked(issuing_pod: FaultyPod, monkeypatch: pytest.MonkeyPatch) -> None:
    issuing_pod.use_new_role("strangers", subjects=["system:serviceaccount:other:other"])
    report = issuing_pod.diagnose(monkeypatch)
    assert list(report.failed) == ["exchange"]
    assert CALL in report.results_with(Outcome.NOT_CHECKED)


def test_container_without_memory_for_it_leaves_the_call_unchecked(
    issuing_pod: FaultyPod, monkeypatch: pytest.MonkeyPatch
) -> None:
    issuing_pod.limit_memory(10)
    report = issuing_pod.diagnose(monkeypatch)
    assert CALL in report.results_with(Outcome.NOT_CHECKED)
