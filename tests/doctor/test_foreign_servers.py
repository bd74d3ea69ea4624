"""Any content of the token file and any answer of a server ends in a report, not in a traceback."""

from __future__ import annotations

import base64
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker.doctor.checks import Outcome, Report
from broker.doctor.examiners.bound_token import TokenLocation, examine_claims, examine_file
from broker.doctor.report import as_text
from tests.doctor.cases import ALL
from tests.support.fakes import EPOCH
from tests.support.fronts import Sayer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.doctor.faulty_pod import FaultyPod

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
claims = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(("iss", "sub", "aud", "exp", "iat", "nbf", "kubernetes.io"), values),
)
numbers = st.integers(-(2**40), 2**40)
plausible = st.fixed_dictionaries(
    {"iss": st.text(max_size=20), "sub": st.text(max_size=20), "aud": st.lists(st.text(max_size=9)), "exp": numbers},
    optional={"iat": numbers, "nbf": numbers},
)


def part(value: object) -> bytes:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=")


tokens = st.one_of(
    st.binary(max_size=200),
    st.builds(
        lambda header, payload: b".".join((part(header), part(payload), b"c2lnbmF0dXJl")),
        st.one_of(values, st.just({"alg": "RS256", "kid": "a"})),
        st.one_of(values, claims, plausible),
    ),
)


@settings(max_examples=300)
@given(tokens)
def test_any_content_of_the_token_file_ends_in_results(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file, report = Path(folder, "token"), Report()
        file.write_bytes(content)
        location = TokenLocation(path=str(file), audience="sts.amazonaws.com", publish_directory="/nowhere")
        token = examine_file(location, report, proc="/nowhere")
        if token is not None:
            examine_claims(token, location, report, EPOCH)
    assert report.results
    assert all(line.isprintable() for line in as_text(report.results).splitlines())


@pytest.fixture
def sayer() -> Iterator[Sayer]:
    sayer = Sayer(b"")
    yield sayer
    sayer.__exit__()


HEAD = b"HTTP/1.1 200 OK\r\nDate: Tue, 24 Nov 2026 12:00:00 GMT\r\nx-amzn-requestid: a\r\n"
answers = st.one_of(
    st.binary(max_size=300),
    st.builds(lambda body: HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body, st.binary(max_size=200)),
    st.builds(lambda lines: HEAD + b"\r\n".join(lines) + b"\r\n\r\n", st.lists(st.binary(max_size=30), max_size=5)),
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(answers)
def test_any_answer_in_place_of_sts_ends_in_a_report(
    pod: FaultyPod, sayer: Sayer, monkeypatch: pytest.MonkeyPatch, answer: bytes
) -> None:
    sayer.said = answer
    pod.environ["AWS_ENDPOINT_URL_STS"] = f"http://127.0.0.1:{sayer.port}"
    report = pod.diagnose(monkeypatch)
    failed = set(report.failed)
    assert failed & {"sts-tls", "exchange"} or "clock" in failed, report.text
    assert report.code == 1


def test_two_independent_failures_are_two_causes_in_full(pod: FaultyPod, monkeypatch: pytest.MonkeyPatch) -> None:
    """A faulty token and an unusable directory are both reported."""
    cases = [case for case in ALL if case.check == "token-file"]
    cases[0].change(pod)
    pod.environ["BROKER_PUBLISH_DIRECTORY"] = "/nowhere/at/all"
    report = pod.diagnose(monkeypatch)
    assert list(report.failed) == ["token-file", "publish-directory"]
    first, second = report.text.rstrip("\n").split("\n\n")[-2:]
    assert first.startswith("Cause: The broker has no usable token (token_unavailable)\nFound: No token in ")
    assert second == (
        "Cause: The broker cannot publish files (publish_failed)\n"
        "Found: /nowhere/at/all does not exist, and can't be created.\n"
        "Fix: Mount an emptyDir volume (medium: Memory) at that path, in the broker's and the app's container."
    )
    assert Outcome.FOLLOWS not in {each.outcome for each in report.results}
