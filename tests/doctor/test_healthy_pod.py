"""A pod that is well is told to be, in every line."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from broker.doctor.checks import Outcome
from tests.doctor.faulty_pod import DISCOVERY, ISSUER, KEYS, House

if TYPE_CHECKING:
    import pytest

    from tests.doctor.faulty_pod import Ward


def test_well_configured_pod_is_ok_in_every_line(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    report = ward.report(monkeypatch)
    assert {line.label for line in report.lines if line.outcome is not Outcome.OK} == {"broker"}, report.text
    assert report.code == 0
    assert report.text.endswith("All is well.\n")


def test_policy_that_lets_the_token_in_is_ok(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = ward.disk / "trust.json"
    policy.write_text(json.dumps(ward.box.trust_policy()))
    ward.question = replace(ward.question, policy=str(policy))
    report = ward.report(monkeypatch)
    assert (report.failed, report.warned) == ({}, {})
    assert "TrustServiceAccounts lets it in" in report.of(Outcome.OK)["trust-policy"]


def test_issuer_that_the_pod_cannot_reach_is_no_fault(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    ward.go_direct()
    del ward.environ["HTTPS_PROXY"]
    report = ward.report(monkeypatch)
    assert (report.failed, report.warned, report.code) == ({}, {}, 0)
    for check in ("issuer-documents", "issuer-keys", "signature"):
        assert "cannot be fetched from here" in report.of(Outcome.NOT_CHECKED)[check]


def test_keys_that_sts_has_fetched_before_are_a_warning(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    """STS goes on taking tokens for a while when the documents are gone; here, it asks at another address."""
    ward.box.addresses[ISSUER] = ward.box.issuer.url
    ward.hospital.house.publish(KEYS, b"", status=404)
    try:
        report = ward.report(monkeypatch)
    finally:
        ward.box.addresses[ISSUER] = f"http://127.0.0.1:{ward.hospital.house.port}"
    assert (report.failed, list(report.warned), report.code) == ({}, ["issuer-documents"], 0)
    assert "STS takes the token all the same" in report.warned["issuer-documents"]


def test_issuer_of_another_sts_need_not_be_public(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    """What stands in for STS inside the cluster takes the cluster's own issuer."""
    issuer, box = "https://kubernetes.default.svc", ward.box
    ward.go_direct()
    discovery = {**ward.hospital.house.document(DISCOVERY), "issuer": issuer, "jwks_uri": f"{issuer}/openid/v1/jwks"}
    inner = House(box, issuer)
    inner.publish(DISCOVERY, discovery)
    provider = box.iam.create_open_id_connect_provider(Url=issuer, ClientIDList=["sts.amazonaws.com"])
    arn = provider["OpenIDConnectProviderArn"]
    try:
        policy = box.trust_policy()
        policy["Statement"][0] |= {"Principal": {"Federated": arn}, "Condition": {}}
        ward.trust("inner", trust_policy=policy)
        ward.token(box.issuer.mint(iss=issuer))
        report = ward.report(monkeypatch)
    finally:
        box.iam.delete_open_id_connect_provider(OpenIDConnectProviderArn=arn)
        inner.stop()
    assert (report.failed, list(report.warned), report.code) == ({}, ["issuer"], 0)
    assert "inside the cluster only" in report.warned["issuer"]
