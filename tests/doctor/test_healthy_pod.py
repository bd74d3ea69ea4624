"""A pod that is well is told to be, in every line."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from broker.doctor.checks import Outcome
from tests.doctor.faulty_pod import DISCOVERY, ISSUER, KEYS, IssuerSite

if TYPE_CHECKING:
    import pytest

    from tests.doctor.faulty_pod import FaultyPod


def test_well_configured_pod_is_ok_in_every_line(pod: FaultyPod, monkeypatch: pytest.MonkeyPatch) -> None:
    report = pod.diagnose(monkeypatch)
    assert {line.label for line in report.lines if line.outcome is not Outcome.OK} == {"broker"}, report.text
    assert report.code == 0
    assert report.text.endswith("All is well.\n")


def test_policy_that_lets_the_token_in_is_ok(pod: FaultyPod, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = pod.disk / "trust.json"
    policy.write_text(json.dumps(pod.sandbox.trust_policy()))
    pod.options = replace(pod.options, policy=str(policy))
    report = pod.diagnose(monkeypatch)
    assert (report.failed, report.warned) == ({}, {})
    assert "TrustServiceAccounts lets it in" in report.results_with(Outcome.OK)["trust-policy"]


def test_issuer_that_the_pod_cannot_reach_is_no_fault(pod: FaultyPod, monkeypatch: pytest.MonkeyPatch) -> None:
    pod.use_plain_sts()
    del pod.environ["HTTPS_PROXY"]
    report = pod.diagnose(monkeypatch)
    assert (report.failed, report.warned, report.code) == ({}, {}, 0)
    for check in ("issuer-documents", "issuer-keys", "signature"):
        assert "cannot be fetched from here" in report.results_with(Outcome.NOT_CHECKED)[check]


def test_keys_that_sts_has_fetched_before_are_a_warning(pod: FaultyPod, monkeypatch: pytest.MonkeyPatch) -> None:
    """STS goes on taking tokens for a while when the documents are gone; here, it asks at another address."""
    pod.sandbox.addresses[ISSUER] = pod.sandbox.issuer.url
    pod.network.issuer_site.publish(KEYS, b"", status=404)
    try:
        report = pod.diagnose(monkeypatch)
    finally:
        pod.sandbox.addresses[ISSUER] = f"http://127.0.0.1:{pod.network.issuer_site.port}"
    assert (report.failed, list(report.warned), report.code) == ({}, ["issuer-documents"], 0)
    assert "STS takes the token all the same" in report.warned["issuer-documents"]


def test_issuer_of_another_sts_need_not_be_public(pod: FaultyPod, monkeypatch: pytest.MonkeyPatch) -> None:
    """What stands in for STS inside the cluster takes the cluster's own issuer."""
    issuer, box = "https://kubernetes.default.svc", pod.sandbox
    pod.use_plain_sts()
    discovery = {**pod.network.issuer_site.document(DISCOVERY), "issuer": issuer, "jwks_uri": f"{issuer}/keys.json"}
    inner = IssuerSite(box, issuer)
    inner.publish(DISCOVERY, discovery)
    provider = box.iam.create_open_id_connect_provider(Url=issuer, ClientIDList=["sts.amazonaws.com"])
    arn = provider["OpenIDConnectProviderArn"]
    try:
        policy = box.trust_policy()
        policy["Statement"][0] |= {"Principal": {"Federated": arn}, "Condition": {}}
        pod.use_new_role("inner", trust_policy=policy)
        pod.put_token(box.issuer.mint(iss=issuer))
        report = pod.diagnose(monkeypatch)
    finally:
        box.iam.delete_open_id_connect_provider(OpenIDConnectProviderArn=arn)
        inner.stop()
    assert (report.failed, list(report.warned), report.code) == ({}, ["issuer"], 0)
    assert "inside the cluster only" in report.warned["issuer"]
