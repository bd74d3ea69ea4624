"""A healthy pod: every check is ok, and what only looks wrong is not a failure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from msgspec.structs import replace

from broker.doctor.checks import Outcome
from tests.doctor.faulty_pod import DISCOVERY, ISSUER, KEYS, IssuerSite

if TYPE_CHECKING:
    import pytest

    from tests.doctor.faulty_pod import FaultyPod


def test_healthy_pod_is_ok_in_every_check(pod: FaultyPod, monkeypatch: pytest.MonkeyPatch) -> None:
    report = pod.diagnose(monkeypatch)
    assert {each.label for each in report.results if each.outcome is not Outcome.OK} == {"broker"}, report.text
    assert report.code == 0
    assert report.text.endswith("\nNo problems found. Not checked: broker.\n")


def test_trust_policy_that_allows_the_token_is_ok(pod: FaultyPod, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = pod.disk / "trust.json"
    policy.write_text(json.dumps(pod.sandbox.trust_policy()))
    pod.options = replace(pod.options, policy=str(policy))
    report = pod.diagnose(monkeypatch)
    assert (report.failed, report.warned) == ({}, {})
    assert "TrustServiceAccounts allows this token" in report.results_with(Outcome.OK)["trust-policy"]


def test_issuer_out_of_reach_for_the_pod_is_not_a_failure(pod: FaultyPod, monkeypatch: pytest.MonkeyPatch) -> None:
    pod.use_plain_sts()
    del pod.environ["HTTPS_PROXY"]
    report = pod.diagnose(monkeypatch)
    assert (report.failed, report.warned, report.code) == ({}, {}, 0)
    for check in ("issuer-documents", "issuer-keys", "signature"):
        assert "cannot be fetched from this pod" in report.results_with(Outcome.NOT_CHECKED)[check]


def test_missing_keys_that_sts_has_cached_are_a_warning(pod: FaultyPod, monkeypatch: pytest.MonkeyPatch) -> None:
    """STS caches keys and accepts tokens for a while. Here, it fetches them from another address."""
    pod.sandbox.addresses[ISSUER] = pod.sandbox.issuer.url
    pod.network.issuer_site.publish(KEYS, b"", status=404)
    try:
        report = pod.diagnose(monkeypatch)
    finally:
        pod.sandbox.addresses[ISSUER] = f"http://127.0.0.1:{pod.network.issuer_site.port}"
    assert (report.failed, list(report.warned), report.code) == ({}, ["issuer-documents"], 0)
    assert "STS accepts the token anyway" in report.warned["issuer-documents"]


def test_cluster_internal_issuer_with_another_sts_is_a_warning(pod: FaultyPod, monkeypatch: pytest.MonkeyPatch) -> None:
    """An STS implementation inside the cluster accepts the cluster's own issuer."""
    issuer, sandbox = "https://kubernetes.default.svc", pod.sandbox
    pod.use_plain_sts()
    discovery = {
        **pod.network.issuer_site.document(DISCOVERY),
        "issuer": issuer,
        "jwks_uri": f"{issuer}/openid/v1/jwks",
    }
    inner = IssuerSite(sandbox, issuer)
    inner.publish(DISCOVERY, discovery)
    provider = sandbox.iam.create_open_id_connect_provider(Url=issuer, ClientIDList=["sts.amazonaws.com"])
    arn = provider["OpenIDConnectProviderArn"]
    try:
        policy = sandbox.trust_policy()
        policy["Statement"][0] |= {"Principal": {"Federated": arn}, "Condition": {}}
        pod.use_new_role("inner", trust_policy=policy)
        pod.put_token(sandbox.issuer.mint(iss=issuer))
        report = pod.diagnose(monkeypatch)
    finally:
        sandbox.iam.delete_open_id_connect_provider(OpenIDConnectProviderArn=arn)
        inner.stop()
    assert (report.failed, list(report.warned), report.code) == ({}, ["issuer"], 0)
    assert "exists only inside the cluster" in report.warned["issuer"]
