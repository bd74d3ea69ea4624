"""A pod that requests its tokens from the Kubernetes API: the doctor requests one too."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from broker.core.model import TokenRequestSpec
from broker.doctor.checks import Outcome
from sandbox.cluster.api_server import HOST, ApiServer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from broker.core.model import Configuration
    from tests.doctor.faulty_pod import FaultyPod


@pytest.fixture
def api(pod: FaultyPod) -> Iterator[ApiServer]:
    """Start an API server for the pod, and configure the pod to request tokens from it."""
    with ApiServer(pod.sandbox.issuer) as api:
        directory = pod.disk / "service-account"
        pod.canaries.add("the pod's own token", api.mount(directory))
        pod.environ |= {"BROKER_TOKEN_SOURCE": "token-request", **api.environment}
        del pod.environ["AWS_WEB_IDENTITY_TOKEN_FILE"]
        usual = pod.load

        def load(environ: Mapping[str, str]) -> Configuration:
            spec = TokenRequestSpec(host=HOST, port=api.port, directory=str(directory))
            return replace(usual(environ), token_request=spec)

        pod.load = load
        yield api


def test_token_from_the_api_passes_all_checks(pod: FaultyPod, api: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    report = pod.diagnose(monkeypatch)
    assert (report.failed, report.warned, report.code) == ({}, {}, 0)
    assert "from the Kubernetes API." in report.results_with(Outcome.OK)["token-file"]
    assert set(report.results_with(Outcome.NOT_CHECKED)) == {"token-mount", "token-secrecy", "broker"}
    assert len(api.calls) == 1


def test_missing_permission_is_the_cause_and_names_the_rule(
    pod: FaultyPod, api: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.cluster.allowed.clear()
    report = pod.diagnose(monkeypatch)
    assert list(report.failed) == ["token-file"]
    assert "serviceaccounts/token" in report.failed["token-file"]
    assert report.cause_of("exchange") == "token-file"


def test_copied_token_is_examined_instead(pod: FaultyPod, api: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    pod.options = replace(pod.options, token=str(pod.volume.path))
    report = pod.diagnose(monkeypatch)
    assert (report.failed, api.calls) == ({}, [])
    assert str(pod.volume.path) in report.results_with(Outcome.OK)["token-file"]
